"""Vaults: archives, uploads in parts, jobs, the inventory that lags behind.

Operations have the names of the model and are called under the state's lock. Tree hashes are
botocore's.
"""
import io
import json
import secrets

import botocore.utils

from emulator_model import ServiceError, utc
from emulator_request import Answer, byte_range

ACCOUNT = "111122223333"
MIB = 1 << 20
MAX_PARTS = 10000


class Pieces(io.RawIOBase):
    """Bytes of several files as one file to read, for botocore's tree hash."""

    def __init__(self, chunks):
        self.chunks, self.rest = chunks, b""

    def read(self, size=-1):
        while len(self.rest) < size:
            more = next(self.chunks, None)
            if more is None:
                break
            self.rest += more
        data, self.rest = self.rest[:size], self.rest[size:]
        return data


def tree_hash(chunks):
    return botocore.utils.calculate_tree_hash(Pieces(iter(chunks)))


def date(seconds):
    return utc(seconds).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(seconds * 1000) % 1000:03d}Z"


def invalid(message):
    return ServiceError(400, "InvalidParameterValueException", message)


def missing(message):
    return ServiceError(404, "ResourceNotFoundException", message)


def is_node(start, end, size):
    """Do the bytes [start, end) of an archive stand under one node of its tree?"""
    if start % MIB or (end % MIB and end != size) or end <= start:
        return False
    leaves = -(-(end - start) // MIB)
    span = 1 << (leaves - 1).bit_length()
    return (start // MIB) % span == 0 and (leaves == span or end == size)


class Glacier:
    def __init__(self, state):
        self.state = state

    def region_of(self, _):
        return self.state.settings["region"]

    # -- vaults --

    def before(self, r):
        """What holds for every operation."""
        if r.headers.get("x-amz-glacier-version") != "2012-06-01":
            raise ServiceError(400, "MissingParameterValueException",
                               "Required parameter missing: API version")
        if r.params["accountId"] not in ("-", ACCOUNT):
            raise ServiceError(403, "AccessDeniedException", "the account is another one")
        if self.state.settings["no_vaults"]:
            raise ServiceError(400, "NoLongerSupportedException",
                               "Amazon Glacier no longer supports new customers.")

    def arn(self, vault):
        return f"arn:aws:glacier:{self.state.settings['region']}:{ACCOUNT}:vaults/{vault}"

    def vault(self, r):
        found = self.state.get("vault", "", r.params["vaultName"])
        if found is None:
            raise missing(f"Vault not found for ARN: {self.arn(r.params['vaultName'])}")
        return found

    def inventory_time(self, vault):
        """When the inventory of a vault was last made; None before the first time."""
        every = self.state.settings["inventory_every"]
        if not every:
            return self.state.now()
        times = int((self.state.now() - vault["created"]) // every)
        return vault["created"] + times * every if times else None

    def inventory(self, name, vault):
        """(time, archives) of the last inventory: what there was at that time."""
        when = self.inventory_time(vault)
        if when is None:
            return None, []
        return when, [(i, a) for i, a in self.state.scan("archive", name)
                      if a["created"] <= when and not (a.get("deleted") and a["deleted"] <= when)]

    def CreateVault(self, r):
        name = r.params["vaultName"]
        if not self.state.get("vault", "", name):
            self.state.put("vault", "", name, {"created": self.state.now()})
        return Answer({"location": f"/{ACCOUNT}/vaults/{name}"})

    def describe(self, name, vault):
        when, archives = self.inventory(name, vault)
        answer = {"VaultARN": self.arn(name), "VaultName": name, "CreationDate": date(vault["created"]),
                  "NumberOfArchives": len(archives), "SizeInBytes": sum(a["size"] for _, a in archives)}
        if when is not None:
            answer["LastInventoryDate"] = date(when)
        return answer

    def DescribeVault(self, r):
        return Answer(self.describe(r.params["vaultName"], self.vault(r)))

    def ListVaults(self, _):
        return Answer({"VaultList": [self.describe(n, v) for n, v in self.state.scan("vault", "")]})

    def DeleteVault(self, r):
        if self.inventory(r.params["vaultName"], self.vault(r))[1]:
            raise invalid("Vault not empty or recently written to")
        self.state.delete("vault", "", r.params["vaultName"])
        return Answer({})

    # -- archives --

    def check_description(self, text):
        if len(text) > 1024 or any(not " " <= c <= "~" for c in text):
            raise invalid("Invalid archive description")
        return text.strip()

    def add_archive(self, r, pieces, size, hashed, description):
        archive_id = secrets.token_urlsafe(103)
        self.state.put("archive", r.params["vaultName"], archive_id, {
            "created": self.state.now(), "pieces": pieces, "size": size, "tree_hash": hashed,
            "description": description})
        return archive_id

    def place_of(self, r, archive_id):
        return f"/{ACCOUNT}/vaults/{r.params['vaultName']}/archives/{archive_id}"

    def UploadArchive(self, r):
        self.vault(r)
        hashed = tree_hash([r.body])
        if r.params.get("checksum") != hashed:
            raise invalid("Checksum mismatch: expected " + hashed)
        made = self.add_archive(r, [self.state.save(r.body)], len(r.body), hashed,
                                self.check_description(r.params.get("archiveDescription", "")))
        return Answer({"archiveId": made, "checksum": hashed, "location": self.place_of(r, made)})

    def archive(self, r, archive_id):
        found = self.state.get("archive", r.params["vaultName"], archive_id)
        if found is None or found.get("deleted"):
            raise missing(f"The archive ID was not found: {archive_id}")
        return found

    def DeleteArchive(self, r):
        self.vault(r)
        found = self.state.get("archive", r.params["vaultName"], r.params["archiveId"])
        if found is None:
            raise missing(f"The archive ID was not found: {r.params['archiveId']}")
        if not found.get("deleted"):
            self.state.drop(found["pieces"])
            found.update(deleted=self.state.now(), pieces=[])
            self.state.put("archive", r.params["vaultName"], r.params["archiveId"], found)
        return Answer({})

    # -- uploads in parts --

    def upload(self, r, upload_id):
        found = self.state.get("upload", r.params["vaultName"], upload_id)
        if found and self.state.now() - found["touched"] > self.state.settings["upload_idle"]:
            self.forget(r, upload_id, drop=True)
            found = None
        if found is None:
            raise missing(f"The upload ID was not found: {upload_id}")
        return found

    def forget(self, r, upload_id, drop):
        for name, part in self.state.scan("part", upload_id):
            if drop:
                self.state.drop([part["piece"]])
            self.state.delete("part", upload_id, name)
        self.state.delete("upload", r.params["vaultName"], upload_id)

    def InitiateMultipartUpload(self, r):
        self.vault(r)
        size = int(r.params.get("partSize", "0"))
        if size < MIB or size > 4096 * MIB or size % MIB or (size // MIB) & (size // MIB - 1):
            raise invalid(f"Part size must be a power of two of MiB, at most 4 GiB: {size}")
        made = secrets.token_urlsafe(69)
        self.state.put("upload", r.params["vaultName"], made, {
            "part_size": size, "created": self.state.now(), "touched": self.state.now(),
            "description": self.check_description(r.params.get("archiveDescription", ""))})
        return Answer({"uploadId": made,
                       "location": f"/{ACCOUNT}/vaults/{r.params['vaultName']}/multipart-uploads/{made}"})

    def content_range(self, r, upload):
        """The offset of a part, whose range must fit its bytes and the upload's part size."""
        kind, _, span = r.params.get("range", "").partition(" ")
        numbers, _, total = span.partition("/")
        first, _, last = numbers.partition("-")
        if kind != "bytes" or total != "*" or not first.isdigit() or not last.isdigit():
            raise invalid(f"Invalid Content-Range: {r.params.get('range')}")
        start, length = int(first), int(last) - int(first) + 1
        if length != len(r.body) or start % upload["part_size"] or not 0 < length <= upload["part_size"]:
            raise invalid(f"Content-Range {span} does not fit a part of {len(r.body)} bytes")
        if start // upload["part_size"] >= MAX_PARTS:
            raise invalid(f"an upload has at most {MAX_PARTS} parts")
        return start

    def UploadMultipartPart(self, r):
        self.vault(r)
        upload = self.upload(r, r.params["uploadId"])
        start, hashed = self.content_range(r, upload), tree_hash([r.body])
        if r.params.get("checksum") != hashed:
            raise invalid("Checksum mismatch: expected " + hashed)
        name = f"{start:016d}"
        old = self.state.get("part", r.params["uploadId"], name)
        if old:
            self.state.drop([old["piece"]])
        self.state.put("part", r.params["uploadId"], name,
                       {"piece": self.state.save(r.body), "tree_hash": hashed, "start": start})
        upload["touched"] = self.state.now()
        self.state.put("upload", r.params["vaultName"], r.params["uploadId"], upload)
        return Answer({"checksum": hashed})

    def page(self, r, kind, parent, most):
        """One page of documents and the Marker of the next."""
        limit = min(self.state.settings["page"], most, int(r.params.get("limit", most)))
        after = "" if self.state.settings["stuck_pages"] else r.params.get("marker", "")
        found = self.state.scan(kind, parent, after, limit + 1)
        more, found = len(found) > limit, found[:limit]
        return found, found[-1][0] if more else None

    def described_upload(self, r, upload_id, upload):
        return {"MultipartUploadId": upload_id, "VaultARN": self.arn(r.params["vaultName"]),
                "ArchiveDescription": upload["description"], "PartSizeInBytes": upload["part_size"],
                "CreationDate": date(upload["created"])}

    def ListParts(self, r):
        self.vault(r)
        upload = self.upload(r, r.params["uploadId"])
        found, marker = self.page(r, "part", r.params["uploadId"], 50)
        parts = [{"RangeInBytes": f"{p['start']}-{p['start'] + p['piece']['size'] - 1}",
                  "SHA256TreeHash": p["tree_hash"]} for _, p in found]
        return Answer(dict(self.described_upload(r, r.params["uploadId"], upload), Parts=parts,
                           Marker=marker))

    def ListMultipartUploads(self, r):
        self.vault(r)
        for upload_id, _ in self.state.scan("upload", r.params["vaultName"]):
            try:
                self.upload(r, upload_id)
            except ServiceError:
                continue  # gone by its age
        found, marker = self.page(r, "upload", r.params["vaultName"], 50)
        return Answer({"UploadsList": [self.described_upload(r, i, u) for i, u in found],
                       "Marker": marker})

    def AbortMultipartUpload(self, r):
        self.vault(r)
        self.upload(r, r.params["uploadId"])
        self.forget(r, r.params["uploadId"], drop=True)
        return Answer({})

    def CompleteMultipartUpload(self, r):
        self.vault(r)
        done = self.state.get("completed", r.params["vaultName"], r.params["uploadId"])
        if done and (done["size"], done["tree_hash"]) == (int(r.params.get("archiveSize", -1)),
                                                          r.params.get("checksum")):
            return Answer(dict(archiveId=done["archive"], checksum=done["tree_hash"],
                               location=self.place_of(r, done["archive"])))
        upload, size = self.upload(r, r.params["uploadId"]), int(r.params.get("archiveSize", -1))
        parts = [p for _, p in self.state.scan("part", r.params["uploadId"])]
        pieces, at = [p["piece"] for p in parts], 0
        for part in parts:
            if part["start"] != at or (part["piece"]["size"] != upload["part_size"] and part is not parts[-1]):
                raise invalid("the parts leave a gap")
            at += part["piece"]["size"]
        if at != size or not parts:
            raise invalid(f"the parts have {at} bytes, not {size}")
        hashed = tree_hash(self.state.read(pieces))
        if r.params.get("checksum") != hashed:
            raise invalid("Checksum mismatch: expected " + hashed)
        made = self.add_archive(r, pieces, size, hashed, upload["description"])
        self.forget(r, r.params["uploadId"], drop=False)
        self.state.put("completed", r.params["vaultName"], r.params["uploadId"],
                       {"archive": made, "size": size, "tree_hash": hashed})
        return Answer({"archiveId": made, "checksum": hashed, "location": self.place_of(r, made)})

    # -- jobs --

    def InitiateJob(self, r):
        vault, wanted = self.vault(r), r.params.get("jobParameters") or {}
        if wanted.get("Tier", "Standard") not in ("Expedited", "Standard", "Bulk"):
            raise invalid("Invalid tier: " + wanted["Tier"])
        job = {"created": self.state.now(), "tier": wanted.get("Tier", "Standard"),
               "ready": self.state.now() + self.state.settings["job_seconds"],
               "description": wanted.get("Description")}
        if wanted.get("Type") == "archive-retrieval":
            job.update(self.archive_job(r, wanted))
        elif wanted.get("Type") == "inventory-retrieval":
            job.update(self.inventory_job(r, wanted, vault))
        else:
            raise invalid(f"Invalid job type: {wanted.get('Type')}")
        job["until"] = job["ready"] + self.state.settings["output_life"]
        made = secrets.token_urlsafe(69)
        self.state.put("job", r.params["vaultName"], made, job)
        return Answer({"jobId": made,
                       "location": f"/{ACCOUNT}/vaults/{r.params['vaultName']}/jobs/{made}"})

    def archive_job(self, r, wanted):
        archive = self.archive(r, wanted.get("ArchiveId", ""))
        start, end = 0, archive["size"]
        if wanted.get("RetrievalByteRange"):
            first, _, last = wanted["RetrievalByteRange"].partition("-")
            if not first.isdigit() or not last.isdigit():
                raise invalid("Invalid retrieval range")
            start, end = int(first), int(last) + 1
            if start % MIB or (end % MIB and end != archive["size"]) or not start < end <= archive["size"]:
                raise invalid("RetrievalByteRange must be megabyte aligned: " + wanted["RetrievalByteRange"])
        return {"action": "ArchiveRetrieval", "archive": wanted["ArchiveId"], "start": start, "end": end,
                "size": archive["size"], "tree_hash": archive["tree_hash"]}

    def inventory_job(self, r, wanted, vault):
        when, archives = self.inventory(r.params["vaultName"], vault)
        if when is None:
            raise missing("Inventory is not yet available for this vault")
        if wanted.get("Format", "JSON") != "JSON":
            raise invalid("the emulator writes its inventory as JSON only")
        body = json.dumps({"VaultARN": self.arn(r.params["vaultName"]), "InventoryDate": date(when),
                           "ArchiveList": [{
                               "ArchiveId": i, "ArchiveDescription": a["description"],
                               "CreationDate": date(a["created"]), "Size": a["size"],
                               "SHA256TreeHash": a["tree_hash"]} for i, a in archives]}).encode()
        return {"action": "InventoryRetrieval", "piece": self.state.save(body)}

    def job(self, r):
        self.vault(r)
        found = self.state.get("job", r.params["vaultName"], r.params["jobId"])
        if found is None or self.state.now() > found["until"]:
            raise missing(f"The job ID was not found: {r.params['jobId']}")
        return found

    def described_job(self, r, job_id, job):
        done = self.state.now() >= job["ready"]
        answer = {"JobId": job_id, "JobDescription": job["description"], "Action": job["action"],
                  "VaultARN": self.arn(r.params["vaultName"]), "CreationDate": date(job["created"]),
                  "Completed": done, "StatusCode": "Succeeded" if done else "InProgress",
                  "StatusMessage": "Succeeded" if done else None, "Tier": job["tier"],
                  "CompletionDate": date(job["ready"]) if done else None}
        if job["action"] == "InventoryRetrieval":
            answer.update(InventoryRetrievalParameters={"Format": "JSON"},
                          InventorySizeInBytes=job["piece"]["size"] if done else None)
        else:
            answer.update(ArchiveId=job["archive"], ArchiveSizeInBytes=job["size"],
                          RetrievalByteRange=f"{job['start']}-{job['end'] - 1}",
                          ArchiveSHA256TreeHash=job["tree_hash"],
                          SHA256TreeHash=self.node_hash(r, job, job["start"], job["end"]))
        return answer

    def node_hash(self, r, job, start, end):
        """The tree hash of archive bytes that stand under one node; None of others."""
        if not is_node(start, end, job["size"]):
            return None
        if (start, end) == (0, job["size"]):
            return job["tree_hash"]
        archive = self.state.get("archive", r.params["vaultName"], job["archive"])
        return tree_hash(self.state.read(archive["pieces"], start, end - start))

    def DescribeJob(self, r):
        return Answer(self.described_job(r, r.params["jobId"], self.job(r)))

    def ListJobs(self, r):
        self.vault(r)
        for job_id, job in self.state.scan("job", r.params["vaultName"]):
            if self.state.now() > job["until"]:
                self.state.delete("job", r.params["vaultName"], job_id)
        found, marker = self.page(r, "job", r.params["vaultName"], 50)
        jobs = [self.described_job(r, i, j) for i, j in found]
        if "completed" in r.params:
            jobs = [j for j in jobs if str(j["Completed"]).lower() == r.params["completed"]]
        if "statuscode" in r.params:
            jobs = [j for j in jobs if j["StatusCode"] == r.params["statuscode"]]
        return Answer({"JobList": jobs, "Marker": marker})

    def GetJobOutput(self, r):
        job = self.job(r)
        if self.state.now() < job["ready"]:
            raise invalid(f"The job is not currently available for download: {r.params['jobId']}")
        if job["action"] == "InventoryRetrieval":
            pieces, base, size, kind = [job["piece"]], 0, job["piece"]["size"], "application/json"
        else:
            pieces = self.archive(r, job["archive"])["pieces"]
            base, size, kind = job["start"], job["end"] - job["start"], "application/octet-stream"
        start, length = byte_range(r.params.get("range"), size)
        answer = {"contentType": kind, "acceptRanges": "bytes"}
        if r.params.get("range"):
            answer["contentRange"] = f"bytes {start}-{start + length - 1}/{size}"
        if job["action"] == "ArchiveRetrieval" and is_node(job["start"], job["end"], job["size"]):
            answer["checksum"] = self.node_hash(r, job, base + start, base + start + length)
        return Answer(answer, status=206 if r.params.get("range") else 200, length=length,
                      stream=self.state.read(pieces, base + start, length))
