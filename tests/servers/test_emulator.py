#!/usr/bin/python3
"""What the emulator promises to the tests that use it, asked through botocore's own clients."""
import base64
import hashlib
import http.client
import io
import json
import os
import socket
import sys
import unittest

try:
    import botocore.config
    import botocore.exceptions
    import botocore.session
    import botocore.utils
except ImportError:
    print("SKIP: python3-botocore is not installed")
    sys.exit(77)

import emulated

MIB = 1 << 20


class WithEmulator(unittest.TestCase):
    """One server a class; every test has a bucket and a vault of its own."""
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.server = emulated.Emulated()
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        self.server.behave()
        self.server.set(**emulated.DEFAULTS)
        self.server.set(**self.settings)
        self.s3, self.glacier = self.client("s3"), self.client("glacier")
        self.bucket = self._testMethodName.replace("_", "-")[5:68].strip("-")
        self.vault = {"accountId": "-", "vaultName": self.bucket}
        self.s3.create_bucket(Bucket=self.bucket)
        self.glacier.create_vault(**self.vault)

    def client(self, service, secret=emulated.SECRET_KEY, region="us-east-1", **config):
        config = botocore.config.Config(retries={"max_attempts": 0}, connect_timeout=60, read_timeout=60, **config)
        client = botocore.session.get_session().create_client(
            service, region, endpoint_url=self.server.url, aws_access_key_id=emulated.ACCESS_KEY,
            aws_secret_access_key=secret, config=config)
        self.addCleanup(client.close)
        return client

    def refused(self, code, call, **parameters):
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            call(**parameters)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)


class Signatures(WithEmulator):
    def test_wrong_secret_is_refused(self):
        self.refused("SignatureDoesNotMatch", self.client("s3", secret="wrong").list_buckets)
        self.refused("InvalidSignatureException", self.client("glacier", secret="wrong").list_vaults,
                     accountId="-")

    def test_wrong_region_is_refused_and_the_right_one_named(self):
        self.s3.create_bucket(Bucket="here", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        self.s3.list_objects_v2(Bucket="here")  # botocore goes on in the region that the refusal names
        self.assertEqual([e.get("error") for e in self.server.requests("ListObjectsV2")],
                         ["AuthorizationHeaderMalformed", None])

    def test_clock_that_is_off_is_refused_with_the_right_date(self):
        self.server.set(clock_skew=86400)
        self.refused("RequestTimeTooSkewed", self.s3.list_buckets)

    def test_request_without_signature_is_refused(self):
        connection = http.client.HTTPConnection(self.server.url.partition("//")[2], timeout=60)
        self.addCleanup(connection.close)
        connection.request("GET", "/")
        self.assertEqual(connection.getresponse().status, 403)

    def test_expired_token_is_refused(self):
        with open(os.path.join(self.server.folder, "credentials.json"), "w") as f:
            json.dump({emulated.ACCESS_KEY: {"secret": emulated.SECRET_KEY, "token": "t", "expires": 1}}, f)
        self.addCleanup(os.unlink, os.path.join(self.server.folder, "credentials.json"))
        client = botocore.session.get_session().create_client(
            "s3", "us-east-1", endpoint_url=self.server.url, aws_access_key_id=emulated.ACCESS_KEY,
            aws_secret_access_key=emulated.SECRET_KEY, aws_session_token="t")
        self.addCleanup(client.close)
        self.refused("ExpiredToken", client.list_buckets)

    def test_host_names_a_bucket(self):
        self.s3.put_object(Bucket=self.bucket, Key="k(1)", Body=b"x")
        found = socket.getaddrinfo
        self.addCleanup(setattr, socket, "getaddrinfo", found)  # not every system knows *.localhost
        socket.getaddrinfo = lambda host, *rest: found(
            "localhost" if host.endswith(".localhost") else host, *rest)
        port = self.server.url.rpartition(":")[2]
        client = botocore.session.get_session().create_client(
            "s3", "us-east-1", endpoint_url=f"http://localhost:{port}",
            aws_access_key_id=emulated.ACCESS_KEY, aws_secret_access_key=emulated.SECRET_KEY,
            config=botocore.config.Config(s3={"addressing_style": "virtual"}))
        self.addCleanup(client.close)
        self.assertEqual(client.get_object(Bucket=self.bucket, Key="k(1)")["Body"].read(), b"x")


class Objects(WithEmulator):
    settings = {"min_part": 1, "page": 2}

    def upload(self, key, *parts, **parameters):
        made = self.s3.create_multipart_upload(Bucket=self.bucket, Key=key, ChecksumAlgorithm="SHA256", **parameters)
        named = []
        for number, data in enumerate(parts, 1):
            done = self.s3.upload_part(Bucket=self.bucket, Key=key, UploadId=made["UploadId"], PartNumber=number,
                                       Body=data, ChecksumAlgorithm="SHA256")
            named.append({"PartNumber": number, "ETag": done["ETag"], "ChecksumSHA256": done["ChecksumSHA256"]})
        return made["UploadId"], named

    def test_lists_come_in_pages(self):
        for name in ("a", "b/1", "b/2", "c", "d", "e", "ü"):
            self.s3.put_object(Bucket=self.bucket, Key=name, Body=b"")
        pages = list(self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Delimiter="/"))
        self.assertEqual([o["Key"] for p in pages for o in p.get("Contents", [])], ["a", "c", "d", "e", "ü"])
        self.assertEqual([o["Prefix"] for p in pages for o in p.get("CommonPrefixes", [])], ["b/"])
        self.assertGreater(len(pages), 2)

    def test_upload_in_parts_is_checked_and_becomes_one_object(self):
        upload, named = self.upload("k", b"a" * MIB, b"b" * 5, b"c")
        pages = list(self.s3.get_paginator("list_parts").paginate(Bucket=self.bucket, Key="k", UploadId=upload))
        self.assertEqual([p["PartNumber"] for page in pages for p in page["Parts"]], [1, 2, 3])
        wrong = [dict(named[0], ChecksumSHA256=named[1]["ChecksumSHA256"]), *named[1:]]
        self.refused("InvalidPart", self.s3.complete_multipart_upload, Bucket=self.bucket, Key="k", UploadId=upload,
                     MultipartUpload={"Parts": wrong})
        self.s3.complete_multipart_upload(Bucket=self.bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": named})
        self.assertEqual(self.s3.get_object(Bucket=self.bucket, Key="k", Range="bytes=1048574-1048582")["Body"].read(),
                         b"aabbbbbc")
        joined = b"".join(base64.b64decode(p["ChecksumSHA256"]) for p in named)
        self.assertEqual(self.s3.head_object(Bucket=self.bucket, Key="k", ChecksumMode="ENABLED")["ChecksumSHA256"],
                         base64.b64encode(hashlib.sha256(joined).digest()).decode() + "-3")
        self.assertNotIn("Uploads", self.s3.list_multipart_uploads(Bucket=self.bucket))
        self.refused("NoSuchUpload", self.s3.list_parts, Bucket=self.bucket, Key="k", UploadId=upload)

    def test_small_parts_are_refused(self):
        self.server.set(min_part=5 * MIB)
        upload, named = self.upload("k", b"a" * MIB, b"b")
        self.refused("EntityTooSmall", self.s3.complete_multipart_upload, Bucket=self.bucket, Key="k", UploadId=upload,
                     MultipartUpload={"Parts": named})

    def test_parameter_that_the_model_does_not_know_is_refused(self):
        self.s3.meta.events.register(
            "before-sign.s3.PutObject", lambda request, **_: request.headers.add_header("x-amz-made-up", "1"))
        self.refused("InvalidArgument", self.s3.put_object, Bucket=self.bucket, Key="k", Body=b"")

    def test_archived_object_thaws_and_freezes_again(self):
        self.server.set(thaw_seconds=100, day_seconds=1000)
        self.s3.put_object(Bucket=self.bucket, Key="k", Body=b"cold", StorageClass="GLACIER")
        wanted = {"Days": 1, "GlacierJobParameters": {"Tier": "Expedited"}}
        self.refused("InvalidObjectState", self.s3.get_object, Bucket=self.bucket, Key="k")
        self.s3.restore_object(Bucket=self.bucket, Key="k", RestoreRequest=wanted)
        self.refused("RestoreAlreadyInProgress", self.s3.restore_object, Bucket=self.bucket, Key="k", RestoreRequest=wanted)
        self.server.advance(101)
        self.assertEqual(self.s3.get_object(Bucket=self.bucket, Key="k")["Body"].read(), b"cold")
        self.server.advance(1001)
        self.refused("InvalidObjectState", self.s3.get_object, Bucket=self.bucket, Key="k")

    def test_locked_version_cannot_be_deleted(self):
        self.s3.create_bucket(Bucket="worm", ObjectLockEnabledForBucket=True)
        self.s3.put_object_lock_configuration(Bucket="worm", ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}})
        made = self.s3.put_object(Bucket="worm", Key="k", Body=b"1", ChecksumAlgorithm="SHA256")
        self.s3.delete_object(Bucket="worm", Key="k")
        self.refused("NoSuchKey", self.s3.get_object, Bucket="worm", Key="k")
        self.refused("AccessDenied", self.s3.delete_object, Bucket="worm", Key="k", VersionId=made["VersionId"])
        self.assertEqual(self.s3.get_object(Bucket="worm", Key="k", VersionId=made["VersionId"])["Body"].read(), b"1")

    def test_wrong_checksum_is_refused(self):
        self.refused("BadDigest", self.s3.put_object, Bucket=self.bucket, Key="k", Body=b"1",
                     ContentMD5=base64.b64encode(hashlib.md5(b"2").digest()).decode())
        self.refused("BadDigest", self.s3.put_object, Bucket=self.bucket, Key="k", Body=b"1",
                     ChecksumSHA256=base64.b64encode(hashlib.sha256(b"2").digest()).decode())

    def test_what_it_holds_survives_a_kill(self):
        upload, named = self.upload("k", b"a" * MIB, b"b")
        self.server.kill()
        self.server.start()
        self.s3.complete_multipart_upload(Bucket=self.bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": named})
        self.assertEqual(self.s3.head_object(Bucket=self.bucket, Key="k")["ContentLength"], MIB + 1)


class Vaults(WithEmulator):
    settings = {"page": 2}

    def setUp(self):
        super().setUp()
        self.data = os.urandom(5 * MIB + 3)
        self.hash = botocore.utils.calculate_tree_hash(io.BytesIO(self.data))

    def send(self):
        upload = self.glacier.initiate_multipart_upload(**self.vault, partSize=str(MIB),
                                                        archiveDescription="five MiB")["uploadId"]
        for at in range(0, len(self.data), MIB):
            part = self.data[at:at + MIB]
            self.glacier.upload_multipart_part(**self.vault, uploadId=upload, body=part,
                                               range=f"bytes {at}-{at + len(part) - 1}/*")
        return upload

    def complete(self, upload):
        return self.glacier.complete_multipart_upload(**self.vault, uploadId=upload, checksum=self.hash,
                                                      archiveSize=str(len(self.data)))["archiveId"]

    def job(self, **parameters):
        return self.glacier.initiate_job(**self.vault, jobParameters=parameters)["jobId"]

    def test_parts_are_listed_in_pages_and_complete_may_be_repeated(self):
        upload = self.send()
        pages = list(self.glacier.get_paginator("list_parts").paginate(**self.vault, uploadId=upload))
        self.assertEqual([p["RangeInBytes"] for page in pages for p in page["Parts"]][-1],
                         f"{5 * MIB}-{5 * MIB + 2}")
        self.assertEqual(len(pages), 3)
        archive = self.complete(upload)
        self.assertEqual(self.complete(upload), archive)
        self.refused("ResourceNotFoundException", self.glacier.list_parts, **self.vault, uploadId=upload)

    def test_wrong_tree_hash_is_refused(self):
        upload, self.hash = self.send(), "0" * 64
        self.refused("InvalidParameterValueException", self.complete, upload=upload)

    def test_part_of_another_size_is_refused(self):
        upload = self.glacier.initiate_multipart_upload(**self.vault, partSize=str(2 * MIB))["uploadId"]
        self.refused("InvalidParameterValueException", self.glacier.upload_multipart_part, **self.vault,
                     uploadId=upload, body=self.data[:MIB], range=f"bytes {MIB}-{2 * MIB - 1}/*")
        self.refused("InvalidParameterValueException", self.glacier.initiate_multipart_upload, **self.vault,
                     partSize=str(3 * MIB))

    def test_idle_upload_and_old_output_are_gone(self):
        upload, archive = self.send(), self.complete(self.send())
        job = self.job(Type="archive-retrieval", ArchiveId=archive)
        self.server.advance(86401)
        self.refused("ResourceNotFoundException", self.glacier.list_parts, **self.vault, uploadId=upload)
        self.refused("ResourceNotFoundException", self.glacier.get_job_output, **self.vault, jobId=job)
        self.assertEqual(self.glacier.list_jobs(**self.vault)["JobList"], [])

    def test_range_has_a_tree_hash_only_where_a_node_stands_over_it(self):
        job = self.job(Type="archive-retrieval", ArchiveId=self.complete(self.send()))
        for first, last, node in ((0, 4 * MIB - 1, True), (2 * MIB, 4 * MIB - 1, True),
                                  (MIB, 3 * MIB - 1, False), (4 * MIB, 5 * MIB + 2, True), (0, 9, False)):
            got = self.glacier.get_job_output(**self.vault, jobId=job, range=f"bytes={first}-{last}")
            body = got["body"].read()
            self.assertEqual(body, self.data[first:last + 1])
            wanted = botocore.utils.calculate_tree_hash(io.BytesIO(body)) if node else None
            self.assertEqual(got.get("checksum"), wanted, f"{first}-{last}")

    def test_part_of_an_archive_is_retrieved(self):
        archive = self.complete(self.send())
        self.refused("InvalidParameterValueException", self.glacier.initiate_job, **self.vault, jobParameters={
            "Type": "archive-retrieval", "ArchiveId": archive, "RetrievalByteRange": "1-1048576"})
        job = self.job(Type="archive-retrieval", ArchiveId=archive, RetrievalByteRange=f"{MIB}-{3 * MIB - 1}")
        self.assertNotIn("SHA256TreeHash", self.glacier.describe_job(**self.vault, jobId=job))
        self.assertEqual(self.glacier.get_job_output(**self.vault, jobId=job)["body"].read(),
                         self.data[MIB:3 * MIB])

    def test_inventory_lags(self):
        self.server.set(inventory_every=1000)
        first = self.complete(self.send())
        self.refused("ResourceNotFoundException", self.glacier.initiate_job, **self.vault,
                     jobParameters={"Type": "inventory-retrieval"})
        self.server.advance(1001)
        self.complete(self.send())
        self.glacier.delete_archive(**self.vault, archiveId=first)
        job = self.job(Type="inventory-retrieval")
        listed = json.load(self.glacier.get_job_output(**self.vault, jobId=job)["body"])["ArchiveList"]
        self.assertEqual([(a["ArchiveId"], a["ArchiveDescription"]) for a in listed], [(first, "five MiB")])

    def test_account_without_vaults_is_told(self):
        self.server.set(no_vaults=True)
        self.refused("NoLongerSupportedException", self.glacier.list_vaults, accountId="-")


class Faults(WithEmulator):
    def setUp(self):
        super().setUp()
        self.s3.put_object(Bucket=self.bucket, Key="k", Body=b"0123456789")

    def test_answers_that_say_no(self):
        for kind, code in (("500", "InternalError"), ("503", "SlowDown"), ("429", "TooManyRequests"),
                           ("timeout", "RequestTimeout"), ("token", "ExpiredToken")):
            self.server.behave({"op": "GetObject", "kind": kind, "count": 1})
            self.refused(code, self.s3.get_object, Bucket=self.bucket, Key="k")
            self.s3.get_object(Bucket=self.bucket, Key="k")["Body"].read()

    def test_cut_connections(self):
        for kind in ("cut-before", "cut-in", "cut-after", "stall"):
            self.server.behave({"op": "PutObject", "kind": kind, "count": 1, "seconds": 0.1})
            with self.assertRaises(botocore.exceptions.BotoCoreError, msg=kind):
                self.s3.put_object(Bucket=self.bucket, Key=kind, Body=b"12345678")
        made = [o["Key"] for o in self.s3.list_objects_v2(Bucket=self.bucket)["Contents"]]
        self.assertEqual(made, ["cut-after", "k"])

    def test_answers_that_break(self):
        self.server.behave({"op": "GetObject", "kind": "cut-answer", "count": 1})
        with self.assertRaises(Exception):
            self.s3.get_object(Bucket=self.bucket, Key="k")["Body"].read()
        self.server.behave({"op": "GetObject", "kind": "corrupt", "count": 1})
        self.assertEqual(self.s3.get_object(Bucket=self.bucket, Key="k")["Body"].read(), b"0123446789")
        self.server.behave({"op": "PutObject", "kind": "corrupt", "count": 1})
        self.refused("XAmzContentSHA256Mismatch", self.s3.put_object, Bucket=self.bucket, Key="k", Body=b"1")

    def test_mixed_faults_are_drawn_at_their_rate(self):
        self.server.behave({"op": "HeadObject", "p": 0.2, "kinds": ["500", "503"]})
        failed = 0
        for _ in range(100):
            try:
                self.s3.head_object(Bucket=self.bucket, Key="k")
            except botocore.exceptions.ClientError:
                failed += 1
        self.assertTrue(8 <= failed <= 35, failed)
        self.assertEqual(failed, len([e for e in self.server.requests("HeadObject") if e.get("fault")]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
