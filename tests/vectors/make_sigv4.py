#!/usr/bin/python3
"""Writes sigv4.txt: requests, and what python3-botocore signs them with. Run it again when a case is added.

Every operation that core/ sends to S3 and to Glacier, keys that hurt, headers that begin alike, session tokens, queries
out of order and with empty values. Lines "field value", a case ends with an empty line; bytes outside printable ASCII and
'%' are written %XX.
"""
import hashlib
import os
import sys
import urllib.parse

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
import botocore.auth
import datetime

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ACCESS = "AKIDEXAMPLE"
TOKEN = "FwoGZXIvYXdzEBYaD+/=" * 20
EMPTY = hashlib.sha256(b"").hexdigest()
BODY = hashlib.sha256(b"body").hexdigest()
CHECKSUM = ("x-amz-checksum-sha256", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")
KEY = "/archives/0badcafe/20261122T212703Z-1f2e3d4c-0001.tar.xz.esdk"
UPLOAD = "2~iRSw_x-Y.Z/+=&%"
HOSTILE = ["/a b", "/a+b", "/a%20b", "/a(1)!*'", "/ä/日本/€", "/a//b", "/./../x", "/a?b#c", "/a&b=c;d,e", "/~._-", "/\x01\x7f",
           "/a\\b|c\"<>^`{}[]", "/:@$", "/" + "x" * 900]


def s3(name, method, path=KEY, query=(), headers=(), payload=EMPTY):
    return dict(name=name, method=method, path=path, query=list(query), headers=list(headers), payload=payload, service="s3",
                host="bucket.s3.eu-west-1.amazonaws.com", region="eu-west-1")


def vault(name, method, path, query=(), headers=(), payload=EMPTY):
    case = s3(name, method, "/-/vaults/photos" + path, query, [("x-amz-glacier-version", "2012-06-01")] + list(headers), payload)
    return dict(case, service="glacier", host="glacier.eu-west-1.amazonaws.com")


def cases():
    volume = [("content-type", "application/octet-stream"), ("x-amz-storage-class", "DEEP_ARCHIVE")]
    xml = [("content-type", "application/xml")]
    yield s3("CreateMultipartUpload", "POST", query=[("uploads", "")], headers=volume + [("x-amz-checksum-algorithm", "SHA256")])
    yield s3("UploadPart", "PUT", query=[("partNumber", "7"), ("uploadId", UPLOAD)], headers=[CHECKSUM], payload=BODY)
    yield s3("UploadPart, unsigned payload", "PUT", query=[("uploadId", UPLOAD), ("partNumber", "7")], payload="UNSIGNED-PAYLOAD")
    yield s3("CompleteMultipartUpload", "POST", query=[("uploadId", UPLOAD)], headers=xml + [("if-none-match", "*")], payload=BODY)
    yield s3("AbortMultipartUpload", "DELETE", query=[("uploadId", UPLOAD)])
    yield s3("ListParts", "GET", query=[("uploadId", UPLOAD), ("part-number-marker", "1000")])
    yield s3("PutObject", "PUT", "/manifests/0badcafe/x.jsonl.xz.esdk", headers=volume + [CHECKSUM, ("if-none-match", "*")], payload=BODY)
    yield s3("HeadObject", "HEAD", headers=[("x-amz-checksum-mode", "ENABLED")])
    yield s3("GetObject", "GET", headers=[("range", "bytes=1048576-2097151")])
    yield s3("RestoreObject", "POST", query=[("restore", "")], headers=xml, payload=BODY)
    yield s3("DeleteObject", "DELETE")
    yield s3("ListObjectsV2", "GET", "/", [("prefix", "a b/+&="), ("list-type", "2"), ("encoding-type", "url"),
                                            ("continuation-token", "1/+==")],
             [("x-amz-optional-object-attributes", "RestoreStatus")])
    yield s3("ListMultipartUploads", "GET", "/", [("uploads", ""), ("prefix", "archives/0badcafe/"), ("key-marker", "ä"),
                                                   ("upload-id-marker", UPLOAD)])
    for i, path in enumerate(HOSTILE):
        yield s3("hostile key %d" % i, "GET", path)
        yield s3("hostile key %d, in a bucket by path" % i, "PUT", "/bucket" + path, payload=BODY)
    yield s3("query in no order, one name twice, empty values", "GET", "/",
             [("b", "2"), ("B", "1"), ("a", ""), ("b", ""), ("b", "1"), ("a-b", "x"), ("a", "0"), ("ab", "")])
    yield s3("names that begin alike", "GET", "/", [("ab", "1"), ("a", "2"), ("a-", "3"), ("a.", "4")],
             [("x-amz-meta", "1"), ("x-amz-meta-a", "2"), ("x-amz-meta-", "3"), ("x-amz-me", "4"), ("x-amz", "5")])
    yield s3("blanks in a header", "GET", "/", headers=[("x-amz-meta-a", "  two   blanks  "), ("x-amz-meta-b", "")])
    yield dict(s3("port in the host", "GET"), host="127.0.0.1:7480")
    yield dict(s3("IPv6", "GET"), host="[::1]:7480")
    yield dict(s3("session token", "PUT", payload=BODY), token=TOKEN)
    tree = [("x-amz-content-sha256", None), ("x-amz-sha256-tree-hash", BODY)]
    tree = tree[1:]
    yield vault("CreateVault", "PUT", "")
    yield vault("DescribeVault", "GET", "")
    yield vault("InitiateMultipartUpload", "POST", "/multipart-uploads",
                headers=[("x-amz-archive-description", "{\"id\": \"x\"} photos%20 (2026)"), ("x-amz-part-size", "8388608")])
    yield vault("UploadMultipartPart", "PUT", "/multipart-uploads/a_b-C", headers=tree + [("content-range", "bytes 0-8388607/*")],
                payload=BODY)
    yield vault("CompleteMultipartUpload of a vault", "POST", "/multipart-uploads/a_b-C", headers=tree + [("x-amz-archive-size", "77")])
    yield vault("AbortMultipartUpload of a vault", "DELETE", "/multipart-uploads/a_b-C")
    yield vault("ListParts of a vault", "GET", "/multipart-uploads/a_b-C", [("marker", "8388608"), ("limit", "50")])
    yield vault("ListMultipartUploads of a vault", "GET", "/multipart-uploads", [("marker", "a=/+")])
    yield vault("InitiateJob", "POST", "/jobs", payload=BODY)
    yield vault("ListJobs", "GET", "/jobs", [("completed", "true")])
    yield vault("DescribeJob", "GET", "/jobs/j_1-x")
    yield vault("GetJobOutput", "GET", "/jobs/j_1-x/output", headers=[("range", "bytes=0-1048575")])
    yield vault("DeleteArchive", "DELETE", "/archives/" + "Zx_-" * 34)
    yield dict(vault("a vault with a session token", "GET", ""), token=TOKEN)
    yield dict(vault("a vault by a hostile path", "GET", "/a b/(ä)"))


class Fixed(datetime.datetime):
    @classmethod
    def utcnow(cls):
        return cls(2026, 11, 22, 21, 27, 3)


def sign(case):
    quote = lambda s, safe="": urllib.parse.quote(s, safe=safe + "-_.~")
    query = "&".join(quote(k) + "=" + quote(v) for k, v in case["query"])
    url = "https://" + case["host"] + quote(case["path"], "/") + ("?" + query if query else "")
    request = AWSRequest(case["method"], url)
    for name, value in case["headers"]:
        request.headers[name] = value
    request.headers["X-Amz-Content-SHA256"] = case["payload"]
    auth = (S3SigV4Auth if case["service"] == "s3" else SigV4Auth)(Credentials(ACCESS, SECRET, case.get("token")), case["service"],
                                                                  case["region"])
    auth.payload = lambda _: case["payload"]
    auth._should_sha256_sign_payload = lambda _: False
    if case["service"] == "s3":  # it would set the header from the empty body
        auth._modify_request_before_signing = lambda r: SigV4Auth._modify_request_before_signing(auth, r)
    auth.add_auth(request)
    return request.headers["Authorization"]


def text(value):
    return "".join(chr(b) if 32 <= b < 127 and b != 37 else "%%%02X" % b for b in value.encode())


def main(path):
    botocore.auth.datetime = type("module", (), {"datetime": Fixed})
    with open(path, "w") as out:
        out.write("# Made by make_sigv4.py with python3-botocore.\n\n")
        for case in cases():
            for field in ("name", "method", "host", "path", "payload", "region", "service"):
                out.write("%s %s\n" % (field, text(case[field])))
            for field, pairs in (("query", case["query"]), ("header", case["headers"])):
                for name, value in pairs:
                    out.write("%s %s %s\n" % (field, text(name).replace(" ", "%20"), text(value)))
            if case.get("token"):
                out.write("token %s\n" % text(case["token"]))
            out.write("authorization %s\n\n" % sign(case))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "sigv4.txt"))
