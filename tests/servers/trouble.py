#!/usr/bin/python3
"""What goes wrong with a bucket: each time a sentence that says what to do, nothing lost, and it goes on by itself.

On the emulator, which can be told to refuse, to be elsewhere, to live in another time.
"""
import collections
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]

import emulated  # noqa: E402
from mount import BUILD, MountCase, PATIENCE, Programs, TOP, main, until  # noqa: E402

# A program that has two seconds for a store that is away.
PATIENT = """
import autoglacier as ag, ctypes, sys
a, e = ctypes.c_void_p(), ag.Error()
ag.check(ag.lib.agl_open(None, ctypes.byref(a), ctypes.byref(e)), e)
job = ag.Job(size=ctypes.sizeof(ag.Job), description=b"left", files=ag.strings(sys.argv[1:]), patience=2)
print(ag.lib.agl_backup(a, ctypes.byref(job), None, ctypes.byref(e)), e.text.decode())
ag.lib.agl_close(a)
"""


class Trouble(MountCase):
    """One emulator for a class of tests, with a bucket for each; what was asked is counted from the test's beginning."""
    tls = False
    tests = 0

    @classmethod
    def setUpClass(cls):
        cls.server = emulated.Emulated(tls=cls.tls)
        cls.addClassCleanup(cls.server.stop)
        import botocore.session
        cls.client = botocore.session.Session().create_client(
            "s3", region_name="us-east-1", endpoint_url=cls.server.url,
            verify=os.path.join(cls.server.folder, "ca.pem") if cls.tls else None,
            aws_access_key_id=emulated.ACCESS_KEY, aws_secret_access_key=emulated.SECRET_KEY)
        cls.addClassCleanup(cls.client.close)

    def setUp(self):
        super().setUp()
        type(self).tests += 1
        self.bucket = "trouble-%d" % self.tests
        self.addCleanup(self.calm)
        self.client.create_bucket(Bucket=self.bucket)
        self.before = len(self.server.requests())

    def calm(self):
        if self.server.process.poll() is not None:
            self.server.start()
        if not self.tls:
            self.server.behave()
            self.server.set(clock_skew=0, thaw_seconds=0)

    def requests(self, operation):
        return [r for r in self.server.requests()[self.before:] if r.get("operation") == operation]

    def machine(self, name="one", env=None, **config):
        c = {"VAULT": "s3://%s/backups" % self.bucket, "ENDPOINT_URL": self.server.url, "REGION_NAME": "us-east-1",
             "AWS_ACCESS_KEY_ID": emulated.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": emulated.SECRET_KEY,
             "STORAGE_CLASS": "DEEP_ARCHIVE", "COMPRESSION": "none"}
        c.update(config)
        env = dict({"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
                    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "XDG_RUNTIME_DIR": self.folder}, **(env or {}))
        return self.data({k: v for k, v in c.items() if v is not None}, env=env, name=name)

    def cli(self, m, *words):
        """(status, all that it said)."""
        r = subprocess.run([Programs.cli, *words], cwd=self.folder, env=m.environment(), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
        return r.returncode, r.stdout

    def said(self, m, *wanted, words=("init",), status=1):
        code, text = self.cli(m, *words)
        self.assertEqual(code, status, text)
        last = text.strip().splitlines()[-1] if status else text
        for part in wanted:
            self.assertIn(part, last)
        return text


class Sentences(Trouble):
    def test_a_wrong_secret(self):
        self.said(self.machine(AWS_SECRET_ACCESS_KEY="wrong"), "the secret key from the configuration",
                  "AWS_SECRET_ACCESS_KEY")

    def test_a_wrong_access_key(self):
        self.said(self.machine(AWS_ACCESS_KEY_ID="AKIAWRONG"), "does not know the access key", "AWS_ACCESS_KEY_ID")

    def test_keys_copied_with_a_blank(self):
        self.said(self.machine(AWS_SECRET_ACCESS_KEY=emulated.SECRET_KEY + "\n"), "the secret key from the configuration", "blank")
        self.said(self.machine(AWS_ACCESS_KEY_ID=" " + emulated.ACCESS_KEY), "the access key from the configuration", "blank")
        env = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t\nx-amz-evil: 1"}
        m = self.machine(env=env, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
        self.said(m, "the session token from the environment", "blank")

    def test_a_profile_that_is_not_there(self):
        self.said(self.machine(AWS_PROFILE="work", AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None), "no profile work", "AWS_PROFILE")

    def test_a_proxy_that_is_not_there(self):
        end = self.server.url.replace("127.0.0.1", "s3.localhost")
        self.said(self.machine(ENDPOINT_URL=end, ALLOW_HTTP=True, env={"http_proxy": "http://127.0.0.1:1"}),
                  "cannot connect to the proxy", "http_proxy")

    def test_the_bucket_in_the_address_of_the_service(self):
        end = self.server.url.replace("127.0.0.1", self.bucket + ".localhost")
        self.said(self.machine(ENDPOINT_URL=end), "if ENDPOINT_URL begins with the bucket's name", "localhost:")

    def test_https_to_a_port_that_speaks_http(self):
        self.said(self.machine(ENDPOINT_URL=self.server.url.replace("http:", "https:")), "does not answer in TLS", "https://")

    def test_roots_that_are_no_file(self):
        m = self.machine(ENDPOINT_URL=self.server.url.replace("http:", "https:"), env={"AWS_CA_BUNDLE": "/nowhere/ca.pem"})
        self.said(m, "root certificates cannot be read", "/nowhere/ca.pem", "AWS_CA_BUNDLE")

    def test_no_key_at_all(self):
        self.said(self.machine(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None), "there is no access key",
                  "aws configure")

    def test_no_bucket(self):
        self.said(self.machine(VAULT="s3://not-there"), "s3://not-there", "make the bucket", "VAULT")

    def test_a_name_that_no_bucket_has(self):
        self.said(self.machine(VAULT="s3://b/x"), '"b" is no name of a bucket', "3 to 63", "VAULT")

    def test_another_region(self):
        self.said(self.machine(REGION_NAME="eu-west-1"), "us-east-1", "REGION_NAME")

    def test_a_class_that_does_not_exist(self):
        self.said(self.machine(STORAGE_CLASS="CHEAPEST"), "STORAGE_CLASS")

    def test_no_service(self):
        self.server.kill()
        m = self.machine(ENDPOINT_URL=self.server.url)
        self.said(m, "cannot connect to 127.0.0.1", "is the service up")

    def test_http_to_another_machine(self):
        self.said(self.machine(ENDPOINT_URL="http://192.0.2.1"), "not encrypted", "https://", "ALLOW_HTTP")

    def test_every_right_that_is_missing_is_named(self):
        for operation, right in (("ListObjectsV2", "s3:ListBucket"), ("CreateMultipartUpload", "s3:PutObject"),
                                 ("UploadPart", "s3:PutObject"), ("ListParts", "s3:ListMultipartUploadParts"),
                                 ("ListMultipartUploads", "s3:ListBucketMultipartUploads"),
                                 ("AbortMultipartUpload", "s3:AbortMultipartUpload"), ("PutObject", "s3:PutObject"),
                                 ("GetObject", "s3:GetObject")):
            self.server.behave({"op": operation, "kind": "denied"})
            text = self.said(self.machine(), "needs the right " + right)
            self.assertIn('"s3:ListMultipartUploadParts"', text)  # the policy that is enough

    def test_a_missing_right_to_thaw_is_named_and_nothing_is_started(self):
        self.said(self.machine(), "what is cold can be asked for", status=0)
        self.server.behave({"op": "RestoreObject", "kind": "denied"})
        self.said(self.machine(), "backups work, getting them back does not", "needs the right s3:RestoreObject", status=0)
        self.assertEqual([r["status"] for r in self.requests("RestoreObject")], [404, 403])
        self.assertNotIn("asked for", self.said(self.machine(STORAGE_CLASS="STANDARD"), status=0))

    def test_no_right_to_remove_is_no_failure(self):
        self.server.behave({"op": "DeleteObject", "kind": "denied"})
        m = self.machine()
        self.said(m, "backups work, autoglacier delete does not", status=0)
        with open(os.path.join(self.folder, "file"), "w") as f:
            f.write("text")
        code, text = self.cli(m, "backup", "-m", "words", os.path.join(self.folder, "file"))
        self.assertEqual(code, 0, text)
        # init tried once; the backup did not.
        self.assertEqual(len(self.requests("DeleteObject")), 1)

    def test_no_right_to_clear_up_is_no_failure(self):
        m = self.machine()
        self.said(m, status=0)
        self.server.behave({"op": "ListMultipartUploads", "kind": "denied"}, {"op": "AbortMultipartUpload", "kind": "denied"})
        m.start()
        m.write("file", "text")
        m.commit("words")
        m.wait("stored")
        m.stop()

    def test_a_clock_that_is_off_by_a_day(self):
        self.server.set(clock_skew=86400)
        m = self.machine()
        self.said(m, "behind the service's", "timedatectl", status=0)
        m.start()
        m.write("file", "text")
        m.commit("from another day")
        m.wait("stored")

    def test_a_bucket_with_object_lock(self):
        client = self.client
        client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        client.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}}})
        m = self.machine(VAULT="s3://locked")
        self.said(m, status=0)
        m.start()
        m.write("file", os.urandom(9 << 20))
        m.commit("kept for thirty days")
        m.wait("stored")


OPERATIONS = {
    "s3:ListBucket": ["ListObjectsV2"], "s3:ListBucketMultipartUploads": ["ListMultipartUploads"],
    "s3:PutObject": ["PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"],
    "s3:GetObject": ["GetObject", "HeadObject"], "s3:AbortMultipartUpload": ["AbortMultipartUpload"],
    "s3:ListMultipartUploadParts": ["ListParts"], "s3:RestoreObject": ["RestoreObject"], "s3:DeleteObject": ["DeleteObject"],
}


class Policies(Trouble):
    """The policies that init prints are enough: a key that may do nothing else does all that they are for."""

    def policies(self, m):
        """The two that init prints."""
        text, found = self.said(m, status=0), []
        while (at := text.find("{")) >= 0:
            policy, end = json.JSONDecoder().raw_decode(text[at:])
            found.append(policy)
            text = text[at + end:]
        self.assertEqual(len(found), 2)
        return found

    def only(self, policy):
        """From now on the key may do what the policy says, and nothing else."""
        rights = [a for statement in policy["Statement"] for a in statement["Action"]]
        allowed = {o for r in rights for o in OPERATIONS[r]}
        denied = [o for o in self.client.meta.service_model.operation_names if o not in allowed]
        with open(os.path.join(self.server.folder, "credentials.json"), "w") as f:
            json.dump({emulated.ACCESS_KEY: {"secret": emulated.SECRET_KEY, "denied": denied}}, f)
        self.addCleanup(os.unlink, f.name)

    def nothing_was_refused(self):
        refused = [r for r in self.server.requests()[self.before:] if r.get("status") == 403
                   and r.get("error") != "InvalidObjectState"]
        self.assertEqual(refused, [])

    def file(self):
        path = os.path.join(self.folder, "file")
        with open(path, "wb") as f:
            f.write(os.urandom(20 << 20))
        return path

    def test_the_one_for_backups(self):
        m, path = self.machine(), self.file()
        self.only(self.policies(m)[1])
        self.before = len(self.server.requests())
        self.said(m, words=("backup", "-m", "words", path), status=0)
        self.said(m, words=("verify",), status=0)
        m.start()
        m.write("large", os.urandom(30 << 20))
        self.server.behave({"op": "UploadPart", "kind": "500", "skip": 1, "count": 3})
        m.commit("in a mount")
        until(lambda: self.requests("UploadPart"), m.said)
        m.kill()
        m.clean()
        m.start()
        m.wait("stored")
        until(lambda: m.leftovers() == [], m.leftovers)
        m.stop()
        self.nothing_was_refused()
        self.said(m, "s3:DeleteObject", words=("delete", "--yes", "latest"), status=1)

    def test_the_one_for_everything(self):
        m, path = self.machine(COST_LIMIT=1000), self.file()
        self.only(self.policies(m)[0])
        self.before = len(self.server.requests())
        out = os.path.join(self.folder, "out")
        for words in (("backup", "-m", "words", path), ("verify",), ("restore", "latest", "--to", out, "--wait"),
                      ("delete", "--yes", "latest")):
            self.said(m, words=words, status=0)
        with open(path, "rb") as a, open(out + path, "rb") as b:
            self.assertEqual(a.read(), b.read())
        self.nothing_was_refused()


class Certificates(Trouble):
    tls = True

    def test_a_certificate_that_nobody_vouches_for(self):
        self.said(self.machine(), "cannot be trusted", "AWS_CA_BUNDLE")

    def test_a_root_of_ones_own(self):
        m = self.machine(env={"AWS_CA_BUNDLE": os.path.join(self.server.folder, "ca.pem")})
        self.said(m, status=0)


class Classes(Trouble):
    def test_what_needs_no_thawing_is_read_at_once(self):
        path = os.path.join(self.folder, "file")
        with open(path, "w") as f:
            f.write("text")
        for name in ("STANDARD", "STANDARD_IA", "GLACIER_IR"):
            m = self.machine(name, STORAGE_CLASS=name)
            for words in (("backup", "-m", name, path), ("restore", "latest", "--to", os.path.join(self.folder, "to-" + name))):
                code, text = self.cli(m, *words)
                self.assertEqual(code, 0, text)
        self.assertEqual(self.requests("RestoreObject"), [])
        stored = self.client.list_objects_v2(Bucket=self.bucket, Prefix="backups/archives/")["Contents"]
        self.assertEqual(sorted(o["StorageClass"] for o in stored), ["GLACIER_IR", "STANDARD", "STANDARD_IA"])

    def test_what_is_cold_is_asked_for_once(self):
        self.server.set(thaw_seconds=3600)
        path = os.path.join(self.folder, "file")
        with open(path, "w") as f:
            f.write("text")
        m = self.machine(STORAGE_CLASS="GLACIER", COST_LIMIT=1000)
        self.assertEqual(self.cli(m, "backup", "-m", "cold", path)[0], 0)
        to = os.path.join(self.folder, "to")
        for _ in range(2):
            code, text = self.cli(m, "restore", "latest", "--to", to)
            self.assertEqual(code, 4, text)
        self.assertEqual(len(self.requests("RestoreObject")), 1)
        self.server.advance(4000)
        code, text = self.cli(m, "restore", "latest", "--to", to)
        self.assertEqual(code, 0, text)
        self.assertEqual(len(self.requests("RestoreObject")), 1)
        with open(to + path) as f:
            self.assertEqual(f.read(), "text")


    def test_the_bucket_in_the_host_name(self):
        """As with Amazon: every request of a life, among them lists, uploads in parts and thawing."""
        content = os.urandom(20 << 20)
        path, out = os.path.join(self.folder, "large (ä)"), os.path.join(self.folder, "to")
        with open(path, "wb") as f:
            f.write(content)
        m = self.machine(ENDPOINT_URL=self.server.url.replace("127.0.0.1", "s3.localhost"), COST_LIMIT=1000,
                         VAULT="s3://%s/a b+c" % self.bucket)
        for words in (("init",), ("backup", "-m", "words", path), ("verify",), ("restore", "latest", "--to", out, "--wait"),
                      ("delete", "--yes", "latest")):
            self.said(m, words=words, status=0)
        with open(out + path, "rb") as f:
            self.assertEqual(f.read(), content)
        paths = [r["path"] for r in self.server.requests()[self.before:] if r.get("operation")]
        self.assertFalse([p for p in paths if p.startswith("/" + self.bucket)], paths)
        self.assertTrue(any(p.startswith("/a%20b%2Bc/archives/") for p in paths), paths)


class GoesOn(Trouble):
    """Uploads that are interrupted: no confirmed part is sent again, nothing is left over."""

    def parts(self):
        """How often each part of each upload was confirmed."""
        done = [r for r in self.requests("UploadPart") if r["status"] == 200]
        return collections.Counter(r["path"].partition("?")[2] for r in done)

    def nothing_is_left_over(self):
        self.assertEqual(self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []), [])

    def stored_as_it_was(self, content):
        """The volumes in the bucket, opened with the private key alone. A kill may have made a second one."""
        listed = self.client.list_objects_v2(Bucket=self.bucket, Prefix="backups/archives/")["Contents"]
        sealed, tar = [], os.path.join(self.folder, "tar")
        for i, key in enumerate(sorted(o["Key"] for o in listed)):
            self.client.restore_object(Bucket=self.bucket, Key=key, RestoreRequest={"Days": 1})
            sealed.append(os.path.join(self.folder, "sealed-%d" % i))
            with open(sealed[-1], "wb") as f:
                f.write(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        private = os.path.join(self.mounts[0].data, "keys", "private.pem")
        subprocess.run([Programs.cli, "decrypt", "--key", private, "-o", tar, *sealed], check=True,
                       env=self.mounts[0].environment(), stdout=subprocess.DEVNULL)
        out = subprocess.run(["tar", "-xOf", tar, "large"], check=True, stdout=subprocess.PIPE).stdout
        self.assertEqual(out, content)

    def test_killed_while_sending(self):
        content = os.urandom(60 << 20)
        m = self.machine(UPLOAD_CONCURRENCY=2).start()
        m.write("large", content)
        self.server.behave({"op": "UploadPart", "kind": "500", "skip": 3})
        m.commit("sent in several lives")
        kills = []
        for more in (2, 2):
            before = len(self.parts())
            until(lambda: len(self.parts()) >= 2 and len(self.parts()) > before - 1, self.parts)
            kills.append(time.time())
            m.kill()
            m.clean()
            self.server.behave({"op": "UploadPart", "kind": "500", "skip": more})
            m.start()
        self.server.behave()
        m.wait("stored")
        self.assertEqual(self.server.sent_again("UploadPart", kills, self.before), [])
        self.nothing_is_left_over()
        self.stored_as_it_was(content)

    def test_the_service_is_down_for_a_while(self):
        content = os.urandom(20 << 20)
        m = self.machine().start()
        m.write("large", content)
        self.server.behave({"op": "UploadPart", "kind": "503", "skip": 1})
        m.commit("through a pause")
        until(lambda: len(self.parts()) >= 1, self.parts)
        self.server.kill()
        until(lambda: "cannot connect" in m.read(".status") or "SlowDown" in m.read(".status"),
              lambda: m.read(".status"))
        self.server.start()
        self.server.behave()
        m.wait("stored")
        self.nothing_is_left_over()
        self.stored_as_it_was(content)

    def left_by_a_backup(self, m):
        """A backup in whose middle the service went away: it ended, unfinished."""
        large = os.path.join(self.folder, "large")
        with open(large, "wb") as f:
            f.write(os.urandom(20 << 20))
        self.server.behave({"op": "UploadPart", "kind": "503", "skip": 1})
        text = self.said(m, "any mount or the next backup", "autoglacier retry 20",
                         words=("backup", "--patience", "2s", "-m", "left", large), status=4)
        self.assertIn("it waits: ", text)
        self.assertIn("waiting, and going on by itself", text)
        self.server.behave()

    def test_a_backup_whose_service_stays_away_is_left_to_the_next(self):
        m = self.machine()
        self.left_by_a_backup(m)
        self.assertEqual(self.cli(m, "status")[0], 0)
        code, text = self.cli(m, "retry", "latest")
        self.assertEqual(code, 0, text)
        self.nothing_is_left_over()
        self.assertEqual(set(self.parts().values()), {1})
        self.assertEqual(self.cli(m, "verify")[0], 0)

    def test_a_backup_whose_service_stays_away_is_left_to_the_mount(self):
        m = self.machine().start()
        self.left_by_a_backup(m)
        m.wait("stored")
        self.nothing_is_left_over()
        self.assertEqual(set(self.parts().values()), {1})

    def test_a_program_of_ones_own_waits_as_long_as_it_says(self):
        m, large = self.machine(), os.path.join(self.folder, "large")
        self.said(m, status=0)
        with open(large, "wb") as f:
            f.write(os.urandom(20 << 20))
        self.server.behave({"op": "UploadPart", "kind": "503", "skip": 1})
        r = subprocess.run(["/usr/bin/python3", "-c", PATIENT, large], env=dict(
            m.environment(), PYTHONPATH=os.path.join(TOP, "doc", "examples"),
            LIBAUTOGLACIER=os.path.join(BUILD, "core", "libautoglacier.so")), capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertRegex(r.stdout, r"^-11 .*SlowDown")  # EAGAIN
        self.server.behave()
        self.said(m, words=("retry", "latest"), status=0)
        self.assertEqual(set(self.parts().values()), {1})

    def test_runs_of_a_job_that_wait_are_counted(self):
        m, words = self.machine(), ("run", "--patience", "1s", "nightly")
        self.said(m, status=0)
        os.mkdir(os.path.join(m.home, "jobs"))
        with open(os.path.join(m.home, "jobs", "nightly.json"), "w") as f:
            json.dump({"files": [__file__]}, f)
        self.server.behave({"op": "UploadPart", "kind": "503"})
        self.assertNotIn("archives of this job", self.said(m, "it is kept", words=words, status=4))
        self.assertIn("2 archives of this job wait now", self.said(m, "autoglacier abort", words=words, status=4))
        self.server.behave()
        self.said(m, words=("abort", "latest"), status=0)
        self.said(m, words=("retry", "latest"), status=0)

    def test_credentials_expire_in_mid_upload(self):
        calls, tool = os.path.join(self.folder, "calls"), os.path.join(self.folder, "credentials")
        with open(tool, "w") as f:
            f.write("#!/bin/sh\necho called >> %s\n"
                    "echo '{\"Version\": 1, \"AccessKeyId\": \"%s\", \"SecretAccessKey\": \"%s\"}'\n"
                    % (calls, emulated.ACCESS_KEY, emulated.SECRET_KEY))
        os.chmod(tool, 0o755)
        ini = os.path.join(self.folder, "aws")
        with open(ini, "w") as f:
            f.write("[default]\nregion = us-east-1\n[profile backup]\ncredential_process = %s\n" % tool)
        content = os.urandom(20 << 20)
        m = self.machine(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, AWS_PROFILE="backup",
                         env={"AWS_CONFIG_FILE": ini}).start()
        m.write("large", content)
        with open(calls) as f:
            before = len(f.readlines())
        self.server.behave({"op": "UploadPart", "kind": "token", "skip": 1, "count": 1})
        m.commit("under two pairs of keys")
        m.wait("stored")
        with open(calls) as f:
            self.assertGreater(len(f.readlines()), before)
        self.stored_as_it_was(content)

    def test_a_right_that_is_taken_away_and_given_back(self):
        content = os.urandom(20 << 20)
        m = self.machine().start()
        m.write("large", content)
        self.server.behave({"op": "UploadPart", "kind": "denied", "skip": 1})
        m.commit("with a pause for the administrator")
        until(lambda: "s3:PutObject" in m.read(".status"), lambda: m.read(".status"))
        self.server.behave()
        m.retry()
        m.wait("stored")
        self.assertEqual(set(self.parts().values()), {1})
        self.nothing_is_left_over()
        self.stored_as_it_was(content)

    def test_a_commit_under_a_wrong_secret_loses_nothing(self):
        content = os.urandom(9 << 20)
        m = self.machine()
        self.said(m, status=0)
        with open(os.path.join(m.home, "CONFIG.json")) as f:
            good = json.load(f)
        m.configure(dict(good, AWS_SECRET_ACCESS_KEY="mistyped"))
        m.start()
        m.write("large", content)
        m.commit("with a mistake in the configuration")
        until(lambda: "AWS_SECRET_ACCESS_KEY" in m.read(".status"), lambda: m.read(".status"))
        m.stop()
        m.configure(good)
        m.start()
        m.retry()
        m.wait("stored")
        self.stored_as_it_was(content)

    def test_a_lost_answer_to_the_last_request(self):
        content = os.urandom(9 << 20)
        m = self.machine().start()
        m.write("large", content)
        self.server.behave({"op": "CompleteMultipartUpload", "kind": "cut-after", "count": 1})
        m.commit("confirmed all the same")
        m.wait("stored")
        self.assertEqual(set(self.parts().values()), {1})
        self.nothing_is_left_over()
        self.stored_as_it_was(content)


if __name__ == "__main__":
    main()
