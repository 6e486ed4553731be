#!/usr/bin/python3
"""Amazon's own client does its ordinary work against the emulator, which can therefore not bend to
our code: what the emulator asks for and answers is what that client sends and understands."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

import emulated

AWS = "/usr/bin/aws"
MIB = 1 << 20


class AmazonsClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = emulated.Emulated()
        cls.folder = tempfile.TemporaryDirectory(prefix="autoglacier-aws-")
        cls.file = os.path.join(cls.folder.name, "ein Bild (1) ü+&.bin")
        with open(cls.file, "wb") as f:
            f.write(os.urandom(17 * MIB + 5))

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()

    def setUp(self):
        self.server.behave()

    def aws(self, *arguments, refused=None):
        """Runs the client; its answer as JSON or text. `refused`: it must fail with these words."""
        done = subprocess.run([AWS, "--endpoint-url", self.server.url, *arguments],
                              env=self.server.environment(), capture_output=True, text=True)
        if refused:
            self.assertNotEqual(done.returncode, 0, done.stdout)
            self.assertIn(refused, done.stderr)
            return None
        self.assertEqual(done.returncode, 0, f"aws {arguments}: {done.stderr}")
        return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout

    def test_copies_lists_thaws_and_removes_an_object(self):
        name, back = "s3://bucket/a/" + os.path.basename(self.file), os.path.join(self.folder.name, "back")
        key = name.partition("bucket/")[2]
        self.server.set(thaw_seconds=3600)
        self.aws("s3", "mb", "s3://bucket")
        self.aws("s3", "cp", "--no-progress", "--storage-class", "DEEP_ARCHIVE", self.file, name)
        self.assertIn(f"{17 * MIB + 5} {key}", self.aws("s3", "ls", "--recursive", "s3://bucket"))
        where = ("--bucket", "bucket", "--key", key)
        self.aws("s3api", "get-object", *where, back, refused="InvalidObjectState")
        self.aws("s3api", "restore-object", *where, "--restore-request",
                 "Days=2,GlacierJobParameters={Tier=Bulk}")
        self.assertEqual(self.aws("s3api", "head-object", *where)["Restore"], 'ongoing-request="true"')
        self.server.advance(3601)
        self.assertIn('ongoing-request="false"', self.aws("s3api", "head-object", *where)["Restore"])
        self.aws("s3", "cp", "--no-progress", "--force-glacier-transfer", name, back)
        with open(back, "rb") as f, open(self.file, "rb") as g:
            self.assertEqual(f.read(), g.read())
        self.aws("s3", "rm", "--recursive", "s3://bucket/a")
        self.assertEqual(self.aws("s3", "ls", "--recursive", "s3://bucket", ), "")

    def test_gets_over_faults_by_its_own_retries(self):
        self.aws("s3", "mb", "s3://faulty")
        self.server.behave({"op": "UploadPart", "kind": "503", "count": 1},
                           {"op": "CreateMultipartUpload", "kind": "500", "count": 1})
        self.aws("s3", "cp", "--no-progress", self.file, "s3://faulty/file")
        self.assertEqual(len([e for e in self.server.requests() if e.get("fault")]), 2)

    def test_stores_lists_and_fetches_an_archive_of_a_vault(self):
        vault = ("--account-id", "-", "--vault-name", "photos")
        self.aws("glacier", "describe-vault", *vault, refused="ResourceNotFoundException")
        self.aws("glacier", "create-vault", *vault)
        made = self.aws("glacier", "upload-archive", *vault, "--body", self.file,
                        "--archive-description", "seventeen MiB")
        job = json.dumps({"Type": "archive-retrieval", "ArchiveId": made["archiveId"], "Tier": "Bulk"})
        self.server.set(job_seconds=3600)
        job_id = self.aws("glacier", "initiate-job", *vault, "--job-parameters", job)["jobId"]
        self.assertFalse(self.aws("glacier", "describe-job", *vault, f"--job-id={job_id}")["Completed"])
        self.server.advance(3601)
        back = os.path.join(self.folder.name, "archive")
        got = self.aws("glacier", "get-job-output", *vault, f"--job-id={job_id}", back)
        self.assertEqual(got["checksum"], made["checksum"])
        with open(back, "rb") as f, open(self.file, "rb") as g:
            self.assertEqual(f.read(), g.read())
        self.aws("glacier", "delete-archive", *vault, f"--archive-id={made['archiveId']}")


if __name__ == "__main__":
    if not os.path.exists(AWS):
        print("SKIP: the aws client (Debian's awscli) is not installed")
        sys.exit(77)
    unittest.main(verbosity=2)
