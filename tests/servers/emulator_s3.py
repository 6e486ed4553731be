"""Buckets and objects: put, get, list, copy, delete, versions, Object Lock, thawing.

Uploads in parts are in emulator_s3_upload.py. Operations have the names of the model and are called
under the state's lock, with parameters that the model has checked.
"""
import base64
import hashlib
import secrets
import urllib.parse
import zlib

from emulator_model import ServiceError, utc
from emulator_request import Answer, byte_range, page

COLD = ("GLACIER", "DEEP_ARCHIVE")
TIERS = {"GLACIER": ("Bulk", "Standard", "Expedited"), "DEEP_ARCHIVE": ("Bulk", "Standard")}


def checksum(algorithm, data):
    if algorithm == "CRC32":
        return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    if algorithm not in ("SHA1", "SHA256"):
        raise ServiceError(501, "NotImplemented", f"the emulator computes no {algorithm}")
    return base64.b64encode(hashlib.new(algorithm.lower(), data).digest()).decode()


def encoded(name):
    """As Amazon writes names with encoding-type=url: as forms are."""
    return urllib.parse.quote_plus(name, safe="/*")


def check_body(params, headers, body):
    """Content-MD5 and x-amz-checksum-*: returns the checksums that were given and are right."""
    given = headers.get("content-md5")
    if given and given != base64.b64encode(hashlib.md5(body).digest()).decode():
        raise ServiceError(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
    sums = {}
    for algorithm in ("CRC32", "CRC32C", "SHA1", "SHA256"):
        value = params.get("Checksum" + algorithm)
        if value is None:
            continue
        if value != checksum(algorithm, body):
            raise ServiceError(400, "BadDigest", f"The {algorithm} you specified did not match the "
                               "calculated checksum.")
        sums["Checksum" + algorithm] = value
    return sums


class S3:
    def __init__(self, state):
        self.state = state

    # -- finding things --

    def bucket(self, name):
        found = self.state.get("bucket", "", name)
        if found is None:
            raise ServiceError(404, "NoSuchBucket", "The specified bucket does not exist",
                               extra={"BucketName": name})
        return found

    def region_of(self, bucket):
        found = self.state.get("bucket", "", bucket) if bucket else None
        return found["region"] if found else self.state.settings["region"]

    def versions(self, bucket, key):
        found = self.state.get("object", bucket, key)
        return found["versions"] if found else []

    def version(self, params):
        """The version that a request means; 404 if there is none, or it is a delete marker."""
        self.bucket(params["Bucket"])
        wanted = params.get("VersionId")
        found = [v for v in self.versions(params["Bucket"], params["Key"])
                 if wanted is None or v["id"] == wanted]
        if not found and wanted is not None:
            raise ServiceError(404, "NoSuchVersion", "The specified version does not exist.")
        if not found or found[-1].get("marker"):
            raise ServiceError(404, "NoSuchKey", "The specified key does not exist.",
                               extra={"Key": params["Key"]})
        return found[-1]

    # -- buckets --

    def CreateBucket(self, r):
        name, wanted = r.params["Bucket"], r.params.get("CreateBucketConfiguration", {})
        if self.state.get("bucket", "", name):
            raise ServiceError(409, "BucketAlreadyOwnedByYou", "You already own it.")
        lock = r.params.get("ObjectLockEnabledForBucket", False)
        self.state.put("bucket", "", name, {
            "created": self.state.now(), "lock": lock, "versioning": "Enabled" if lock else None,
            "region": wanted.get("LocationConstraint", self.state.settings["region"])})
        return Answer({"Location": "/" + name})

    def HeadBucket(self, r):
        region = self.bucket(r.params["Bucket"])["region"]
        return Answer({}, headers={"x-amz-bucket-region": region})

    def DeleteBucket(self, r):
        self.bucket(r.params["Bucket"])
        if self.state.scan("object", r.params["Bucket"], limit=1):
            raise ServiceError(409, "BucketNotEmpty", "The bucket you tried to delete is not empty")
        self.state.delete("bucket", "", r.params["Bucket"])
        return Answer({}, status=204)

    def ListBuckets(self, r):
        return Answer({"Buckets": [{"Name": n, "CreationDate": utc(b["created"])}
                                   for n, b in self.state.scan("bucket", "")]})

    def GetBucketLocation(self, r):
        region = self.bucket(r.params["Bucket"])["region"]
        text = "" if region == "us-east-1" else region
        return Answer({}, body=('<?xml version="1.0" encoding="UTF-8"?>\n<LocationConstraint xmlns='
                                f'"http://s3.amazonaws.com/doc/2006-03-01/">{text}'
                                "</LocationConstraint>").encode())

    def PutBucketVersioning(self, r):
        bucket = self.bucket(r.params["Bucket"])
        bucket["versioning"] = r.params["VersioningConfiguration"].get("Status")
        self.state.put("bucket", "", r.params["Bucket"], bucket)
        return Answer({})

    def GetBucketVersioning(self, r):
        return Answer({"Status": self.bucket(r.params["Bucket"])["versioning"]})

    def PutObjectLockConfiguration(self, r):
        bucket = self.bucket(r.params["Bucket"])
        if bucket["versioning"] != "Enabled":
            raise ServiceError(409, "InvalidBucketState", "Versioning must be 'Enabled' on the bucket")
        rule = r.params.get("ObjectLockConfiguration", {}).get("Rule", {})
        bucket["lock"], bucket["retention"] = True, rule.get("DefaultRetention")
        self.state.put("bucket", "", r.params["Bucket"], bucket)
        return Answer({})

    def GetObjectLockConfiguration(self, r):
        bucket = self.bucket(r.params["Bucket"])
        if not bucket["lock"]:
            raise ServiceError(404, "ObjectLockConfigurationNotFoundError",
                               "Object Lock configuration does not exist for this bucket")
        answer = {"ObjectLockEnabled": "Enabled"}
        if bucket.get("retention"):
            answer["Rule"] = {"DefaultRetention": bucket["retention"]}
        return Answer({"ObjectLockConfiguration": answer})

    # -- writing --

    def check_condition(self, r):
        """If-None-Match: * of a PUT or a Complete."""
        if r.headers.get("if-none-match") != "*":
            return
        found = self.versions(r.params["Bucket"], r.params["Key"])
        if found and not found[-1].get("marker"):
            raise ServiceError(412, "PreconditionFailed", "At least one of the pre-conditions you "
                               "specified did not hold", extra={"Condition": "If-None-Match"})

    def retention(self, r, bucket):
        if "ObjectLockMode" in r.params:
            return {"mode": r.params["ObjectLockMode"],
                    "until": r.params["ObjectLockRetainUntilDate"].timestamp()}
        default = bucket.get("retention")
        if not default:
            return None
        days = default.get("Days", 0) + 365 * default.get("Years", 0)
        return {"mode": default["Mode"],
                "until": self.state.now() + days * self.state.settings["day_seconds"]}

    def add_version(self, bucket_name, key, version):
        """Makes `version` the current one; without versioning it replaces the one before."""
        bucket = self.bucket(bucket_name)
        versions = self.versions(bucket_name, key)
        version["id"] = secrets.token_urlsafe(24) if bucket["versioning"] == "Enabled" else "null"
        version["modified"] = self.state.now()
        if version["id"] == "null":
            for old in [v for v in versions if v["id"] == "null"]:
                self.state.drop(old.get("pieces", []))
                versions.remove(old)
        self.state.put("object", bucket_name, key, {"versions": versions + [version]})
        return version["id"] if bucket["versioning"] else None

    def new_version(self, r, bucket):
        """What a PUT, a copy or an upload's beginning says about the object."""
        return {"class": r.params.get("StorageClass", "STANDARD"),
                "metadata": r.params.get("Metadata", {}), "type": r.params.get("ContentType"),
                "retention": self.retention(r, bucket)}

    def PutObject(self, r):
        bucket = self.bucket(r.params["Bucket"])
        self.check_condition(r)
        sums = check_body(r.params, r.headers, r.body)
        version = self.new_version(r, bucket)
        if version["retention"] and not sums and "content-md5" not in r.headers:
            raise ServiceError(400, "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is "
                               "required for Put Object requests with Object Lock parameters")
        etag = f'"{hashlib.md5(r.body).hexdigest()}"'
        version.update(pieces=[self.state.save(r.body)], size=len(r.body), etag=etag, sums=sums)
        made = self.add_version(r.params["Bucket"], r.params["Key"], version)
        return Answer({"ETag": etag, "VersionId": made, **sums})

    def CopyObject(self, r):
        bucket = self.bucket(r.params["Bucket"])
        source = urllib.parse.unquote(r.params["CopySource"]).lstrip("/").partition("/")
        old = self.version({"Bucket": source[0], "Key": source[2]})
        self.check_warm(old)
        version = dict(self.new_version(r, bucket), size=old["size"], etag=old["etag"],
                       sums=old["sums"], pieces=self.state.copy(old["pieces"]))
        if r.params.get("MetadataDirective", "COPY") == "COPY":
            version.update(metadata=old["metadata"], type=old["type"])
        made = self.add_version(r.params["Bucket"], r.params["Key"], version)
        return Answer({"CopyObjectResult": {"ETag": old["etag"], "LastModified": utc(version["modified"])},
                       "VersionId": made})

    def remove(self, bucket_name, key, wanted, bypass=False):
        """(version id, is it a delete marker) of what a delete did."""
        bucket, versions = self.bucket(bucket_name), self.versions(bucket_name, key)
        if wanted is None and bucket["versioning"] == "Enabled":
            return self.add_version(bucket_name, key, {"marker": True}), True
        for v in [v for v in versions if v["id"] == (wanted or "null")]:
            kept = v.get("retention")
            if kept and kept["until"] > self.state.now() and not (kept["mode"] == "GOVERNANCE" and bypass):
                raise ServiceError(403, "AccessDenied", "Access Denied because object protected by "
                                   "object lock.")
            self.state.drop(v.get("pieces", []))
            versions.remove(v)
        if versions:
            self.state.put("object", bucket_name, key, {"versions": versions})
        else:
            self.state.delete("object", bucket_name, key)
        return wanted, None

    def DeleteObject(self, r):
        made, marker = self.remove(r.params["Bucket"], r.params["Key"], r.params.get("VersionId"),
                                   r.params.get("BypassGovernanceRetention", False))
        return Answer({"VersionId": made, "DeleteMarker": marker}, status=204)

    def DeleteObjects(self, r):
        self.bucket(r.params["Bucket"])
        if not check_body({}, r.headers, r.body) and "content-md5" not in r.headers:
            raise ServiceError(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
        deleted, errors = [], []
        for item in r.params["Delete"]["Objects"]:
            try:
                self.remove(r.params["Bucket"], item["Key"], item.get("VersionId"))
                deleted.append({"Key": item["Key"]})
            except ServiceError as why:
                errors.append({"Key": item["Key"], "Code": why.code, "Message": why.message})
        return Answer({"Deleted": deleted, "Errors": errors})

    # -- thawing --

    def thawed(self, version):
        """None: not asked for; "ongoing"; or the time at which it is gone again."""
        restore = version.get("restore")
        if not restore:
            return None
        if self.state.now() < restore["ready"]:
            return "ongoing"
        return restore["until"] if self.state.now() < restore["until"] else None

    def check_warm(self, version):
        if version["class"] in COLD and not isinstance(self.thawed(version), float):
            raise ServiceError(403, "InvalidObjectState", "The operation is not valid for the object's "
                               "storage class", extra={"StorageClass": version["class"]})

    def restore_header(self, version):
        thawed = self.thawed(version)
        if thawed is None:
            return None
        if thawed == "ongoing":
            return 'ongoing-request="true"'
        date = utc(thawed).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return f'ongoing-request="false", expiry-date="{date}"'

    def RestoreObject(self, r):
        version, wanted = self.version(r.params), r.params.get("RestoreRequest", {})
        if version["class"] not in COLD:
            raise ServiceError(403, "InvalidObjectState", "Restore is not allowed for the object's "
                               "current storage class", extra={"StorageClass": version["class"]})
        tier = wanted.get("GlacierJobParameters", {}).get("Tier") or wanted.get("Tier") or "Standard"
        if tier not in TIERS[version["class"]]:
            raise ServiceError(400, "InvalidArgument", f"{tier} retrievals are not available for "
                               f"{version['class']}")
        if wanted.get("Days", 0) < 1:
            raise ServiceError(400, "MalformedXML", "Days must be at least 1")
        thawed, now = self.thawed(version), self.state.now()
        if thawed == "ongoing":
            raise ServiceError(409, "RestoreAlreadyInProgress", "Object restore is already in progress")
        ready = now if thawed else now + self.state.settings["thaw_seconds"]
        until = float(ready + wanted["Days"] * self.state.settings["day_seconds"])
        version["restore"] = {"ready": ready, "until": until, "tier": tier}
        self.state.put("object", r.params["Bucket"], r.params["Key"], {"versions": [
            version if v["id"] == version["id"] else v
            for v in self.versions(r.params["Bucket"], r.params["Key"])]})
        return Answer({}, status=200 if thawed else 202)

    # -- reading --

    def describe(self, r, version):
        """The headers that GET and HEAD have in common."""
        kept = version.get("retention") or {}
        answer = {
            "AcceptRanges": "bytes", "ETag": version["etag"], "LastModified": utc(version["modified"]),
            "ContentType": version.get("type") or "binary/octet-stream",
            "Metadata": version["metadata"], "Restore": self.restore_header(version),
            "StorageClass": None if version["class"] == "STANDARD" else version["class"],
            "VersionId": None if version["id"] == "null" else version["id"],
            "ObjectLockMode": kept.get("mode"),
            "ObjectLockRetainUntilDate": utc(kept["until"]).isoformat() if kept else None,
        }
        if r.params.get("ChecksumMode") == "ENABLED" and "range" not in r.headers:
            answer.update(version["sums"])
        return answer

    def HeadObject(self, r):
        version = self.version(r.params)
        answer = self.describe(r, version)
        start, length = byte_range(r.headers.get("range"), version["size"])
        return Answer(dict(answer, ContentLength=length), length=length)

    def GetObject(self, r):
        version = self.version(r.params)
        self.check_warm(version)
        if r.params.get("IfMatch", version["etag"]).strip('"') != version["etag"].strip('"'):
            raise ServiceError(412, "PreconditionFailed", "At least one of the pre-conditions you "
                               "specified did not hold")
        start, length = byte_range(r.headers.get("range"), version["size"])
        answer = dict(self.describe(r, version), ContentLength=length)
        part = "range" in r.headers
        if part:
            answer["ContentRange"] = f"bytes {start}-{start + length - 1}/{version['size']}"
        return Answer(answer, status=206 if part else 200, length=length,
                      stream=self.state.read(version["pieces"], start, length))

    # -- lists --

    def current(self, bucket, after):
        for key, body in self.state.scan("object", bucket, after):
            if not body["versions"][-1].get("marker"):
                yield key, body["versions"][-1]

    def entry(self, r, key, version):
        answer = {"Key": key, "Size": version["size"], "ETag": version["etag"],
                  "LastModified": utc(version["modified"]), "StorageClass": version["class"]}
        return answer

    def list_page(self, r, after):
        """One page of keys and common prefixes, and whether more follows."""
        self.bucket(r.params["Bucket"])
        prefix, cut = r.params.get("Prefix", ""), r.params.get("Delimiter")
        objects, prefixes, last = [], [], after
        limit = page(self.state, r.params.get("MaxKeys"))
        for key, version in self.current(r.params["Bucket"], after):
            if not key.startswith(prefix) or (cut and last.endswith(cut) and key.startswith(last)):
                continue
            if len(objects) + len(prefixes) >= limit:
                return objects, prefixes, last, True
            end = key.find(cut, len(prefix)) if cut else -1
            if end < 0:
                objects.append((key, version))
                last = key
            else:
                last = key[:end + len(cut)]
                prefixes.append(last)
        return objects, prefixes, last, False

    def list_answer(self, r, after):
        objects, prefixes, last, more = self.list_page(r, after)
        name = encoded if r.params.get("EncodingType") == "url" else str
        answer = {"Name": r.params["Bucket"], "Prefix": name(r.params.get("Prefix", "")),
                  "MaxKeys": r.params.get("MaxKeys", 1000), "IsTruncated": more,
                  "EncodingType": r.params.get("EncodingType"),
                  "Contents": [self.entry(r, name(k), v) for k, v in objects],
                  "CommonPrefixes": [{"Prefix": name(p)} for p in prefixes]}
        if r.params.get("Delimiter"):
            answer["Delimiter"] = name(r.params["Delimiter"])
        return answer, last if more else None, objects

    def ListObjectsV2(self, r):
        token = r.params.get("ContinuationToken")
        after = base64.urlsafe_b64decode(token).decode() if token else r.params.get("StartAfter", "")
        answer, last, objects = self.list_answer(r, after)
        answer["KeyCount"] = len(answer["Contents"]) + len(answer["CommonPrefixes"])
        answer["ContinuationToken"] = token
        if last is not None:
            answer["NextContinuationToken"] = base64.urlsafe_b64encode(last.encode()).decode()
        if "RestoreStatus" in r.headers.get("x-amz-optional-object-attributes", ""):
            return Answer(answer, restore=[self.restore_status(v) for _, v in objects])
        return Answer(answer)

    def restore_status(self, version):
        """What the model of 2022 cannot say: the RestoreStatus of an entry, or None."""
        thawed = self.thawed(version)
        if thawed is None:
            return None
        return {"IsRestoreInProgress": thawed == "ongoing",
                "RestoreExpiryDate": None if thawed == "ongoing" else utc(thawed)}

    def ListObjects(self, r):
        answer, last, _ = self.list_answer(r, r.params.get("Marker", ""))
        answer.update(Marker=r.params.get("Marker", ""), NextMarker=last)
        return Answer(answer)

    def ListObjectVersions(self, r):
        self.bucket(r.params["Bucket"])
        versions, markers = [], []
        for key, body in self.state.scan("object", r.params["Bucket"]):
            if not key.startswith(r.params.get("Prefix", "")):
                continue
            for v in reversed(body["versions"]):
                entry = {"Key": key, "VersionId": v["id"], "IsLatest": v is body["versions"][-1],
                         "LastModified": utc(v["modified"])}
                if v.get("marker"):
                    markers.append(entry)
                else:
                    versions.append(dict(entry, Size=v["size"], ETag=v["etag"], StorageClass=v["class"]))
        return Answer({"Name": r.params["Bucket"], "Versions": versions, "DeleteMarkers": markers,
                       "IsTruncated": False})

    def GetObjectRetention(self, r):
        kept = self.version(r.params).get("retention")
        if not kept:
            raise ServiceError(404, "NoSuchObjectLockConfiguration",
                               "The specified object does not have a ObjectLock configuration")
        return Answer({"Retention": {"Mode": kept["mode"], "RetainUntilDate": utc(kept["until"])}})
