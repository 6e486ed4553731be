"""Uploads in parts of the emulated S3."""
import base64
import hashlib
import secrets

from emulator_model import ServiceError, utc
from emulator_request import Answer, page
from emulator_s3 import S3, check_body, encoded

ALGORITHMS = ("CRC32", "CRC32C", "SHA1", "SHA256")


def number_name(number):
    return f"{number:05d}"


class S3Uploads(S3):
    def upload(self, params):
        self.bucket(params["Bucket"])
        found = self.state.get("s3upload", params["Bucket"], params["UploadId"])
        if found is None or found["key"] != params["Key"]:
            raise ServiceError(404, "NoSuchUpload", "The specified upload does not exist. The upload ID "
                               "may be invalid, or the upload may have been aborted or completed.")
        return found

    def parts(self, upload_id, after=0, limit=-1):
        return [(int(name), part) for name, part in
                self.state.scan("s3part", upload_id, number_name(after), limit)]

    def CreateMultipartUpload(self, r):
        bucket, upload_id = self.bucket(r.params["Bucket"]), secrets.token_urlsafe(48)
        self.state.put("s3upload", r.params["Bucket"], upload_id, dict(
            self.new_version(r, bucket), key=r.params["Key"], started=self.state.now(),
            algorithm=r.params.get("ChecksumAlgorithm")))
        return Answer({"Bucket": r.params["Bucket"], "Key": r.params["Key"], "UploadId": upload_id,
                       "ChecksumAlgorithm": r.params.get("ChecksumAlgorithm")})

    def UploadPart(self, r):
        upload, number = self.upload(r.params), r.params["PartNumber"]
        if not 1 <= number <= 10000:
            raise ServiceError(400, "InvalidArgument", "Part number must be an integer between 1 and "
                               "10000, inclusive")
        sums = check_body(r.params, r.headers, r.body)
        if upload["algorithm"] and "Checksum" + upload["algorithm"] not in sums:
            raise ServiceError(400, "InvalidRequest", "Checksum Type mismatch occurred, expected checksum "
                               f"Type: {upload['algorithm'].lower()}, actual checksum Type: null")
        old = self.state.get("s3part", r.params["UploadId"], number_name(number))
        if old:
            self.state.drop([old["piece"]])
        etag = f'"{hashlib.md5(r.body).hexdigest()}"'
        self.state.put("s3part", r.params["UploadId"], number_name(number), {
            "piece": self.state.save(r.body), "etag": etag, "sums": sums, "size": len(r.body),
            "modified": self.state.now()})
        return Answer({"ETag": etag, **sums})

    def ListParts(self, r):
        upload, after = self.upload(r.params), r.params.get("PartNumberMarker", 0)
        limit = page(self.state, r.params.get("MaxParts"))
        found = self.parts(r.params["UploadId"], int(after), limit + 1)
        more, found = len(found) > limit, found[:limit]
        return Answer({
            "Bucket": r.params["Bucket"], "Key": r.params["Key"], "UploadId": r.params["UploadId"],
            "PartNumberMarker": int(after), "MaxParts": limit, "IsTruncated": more,
            "NextPartNumberMarker": found[-1][0] if found else 0, "StorageClass": upload["class"],
            "ChecksumAlgorithm": upload["algorithm"],
            "Parts": [{"PartNumber": n, "ETag": p["etag"], "Size": p["size"],
                       "LastModified": utc(p["modified"]), **p["sums"]} for n, p in found]})

    def ListMultipartUploads(self, r):
        self.bucket(r.params["Bucket"])
        marker = (r.params.get("KeyMarker", ""), r.params.get("UploadIdMarker", ""))
        limit = page(self.state, r.params.get("MaxUploads"))
        found = sorted((u["key"], upload_id, u) for upload_id, u in
                       self.state.scan("s3upload", r.params["Bucket"]))
        found = [u for u in found if u[0].startswith(r.params.get("Prefix", ""))
                 and (u[:2] > marker if marker[1] else u[0] > marker[0])]
        more, found = len(found) > limit, found[:limit]
        name = encoded if r.params.get("EncodingType") == "url" else str
        return Answer({
            "Bucket": r.params["Bucket"], "Prefix": r.params.get("Prefix"), "IsTruncated": more,
            "EncodingType": r.params.get("EncodingType"),
            "MaxUploads": limit, "KeyMarker": marker[0], "UploadIdMarker": marker[1],
            "NextKeyMarker": name(found[-1][0]) if more else None,
            "NextUploadIdMarker": found[-1][1] if more else None,
            "Uploads": [{"Key": name(key), "UploadId": upload_id, "Initiated": utc(u["started"]),
                         "StorageClass": u["class"]} for key, upload_id, u in found]})

    def AbortMultipartUpload(self, r):
        self.upload(r.params)
        self.state.drop([p["piece"] for _, p in self.parts(r.params["UploadId"])])
        self.forget(r.params)
        return Answer({}, status=204)

    def forget(self, params):
        for number, _ in self.parts(params["UploadId"]):
            self.state.delete("s3part", params["UploadId"], number_name(number))
        self.state.delete("s3upload", params["Bucket"], params["UploadId"])

    def chosen_parts(self, r, upload):
        """The parts that Complete names, each checked against what was sent."""
        wanted = r.params.get("MultipartUpload", {}).get("Parts", [])
        there, chosen, algorithm = dict(self.parts(r.params["UploadId"])), [], upload["algorithm"]
        if not wanted:
            raise ServiceError(400, "MalformedXML", "You must specify at least one part")
        numbers = [p.get("PartNumber", 0) for p in wanted]
        if numbers != sorted(set(numbers)):
            raise ServiceError(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
        for named in wanted:
            part = there.get(named.get("PartNumber"))
            if not part or named.get("ETag", "").strip('"') != part["etag"].strip('"') or any(
                    "Checksum" + a in named and named["Checksum" + a] != part["sums"].get("Checksum" + a)
                    for a in ALGORITHMS):
                raise ServiceError(400, "InvalidPart", "One or more of the specified parts could not be "
                                   "found. The part may not have been uploaded, or the specified entity "
                                   "tag may not match the part's entity tag.")
            if algorithm and "Checksum" + algorithm not in named:
                raise ServiceError(400, "InvalidRequest", f"The upload was created using a "
                                   f"{algorithm.lower()} checksum. The complete request must include "
                                   f"the checksum for each part. It was missing for part "
                                   f"{named['PartNumber']} in the request.")
            chosen.append(part)
        if any(p["size"] < self.state.settings["min_part"] for p in chosen[:-1]):
            raise ServiceError(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum "
                               "allowed object size.")
        return chosen

    def CompleteMultipartUpload(self, r):
        upload = self.upload(r.params)
        self.check_condition(r)
        chosen = self.chosen_parts(r, upload)
        md5 = hashlib.md5(b"".join(bytes.fromhex(p["etag"].strip('"')) for p in chosen)).hexdigest()
        version = {k: upload[k] for k in ("class", "metadata", "type", "retention")}
        version.update(etag=f'"{md5}-{len(chosen)}"', sums=self.whole_sums(upload, chosen),
                       size=sum(p["size"] for p in chosen), pieces=[p["piece"] for p in chosen])
        kept = {p["piece"]["file"] for p in chosen}
        self.state.drop([p["piece"] for _, p in self.parts(r.params["UploadId"])
                         if p["piece"]["file"] not in kept])
        self.forget(r.params)
        made = self.add_version(r.params["Bucket"], r.params["Key"], version)
        return Answer({"Location": f"/{r.params['Bucket']}/{r.params['Key']}", "VersionId": made,
                       "Bucket": r.params["Bucket"], "Key": r.params["Key"], "ETag": version["etag"],
                       **version["sums"]})

    def whole_sums(self, upload, chosen):
        """The checksum of checksums, as S3 gives it for uploads made with an algorithm."""
        name = f"Checksum{upload['algorithm']}"
        if upload["algorithm"] not in ("SHA1", "SHA256"):
            return {}
        joined = b"".join(base64.b64decode(p["sums"][name]) for p in chosen)
        whole = hashlib.new(upload["algorithm"].lower(), joined).digest()
        return {name: f"{base64.b64encode(whole).decode()}-{len(chosen)}"}
