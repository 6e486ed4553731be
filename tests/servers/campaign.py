#!/usr/bin/python3
"""Uploads through faults and kills: every request may fail, the program is killed again and again, the spool is small.

In the end the archive is stored and identical, no confirmed part was sent twice, no upload is left over. The small form takes
seconds; with AUTOGLACIER_LONG=1 it is 5 GiB, a spool of 1 GiB and 30 kills.
"""
import os
import random
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]

import emulated  # noqa: E402
from mount import MountCase, PATIENCE, Programs, main, until  # noqa: E402

LONG = bool(os.environ.get("AUTOGLACIER_LONG"))
SIZE, KILLS, WITHIN = (5 << 30, 30, 7200) if LONG else (72 << 20, 5, 600)
LIMITS = ({"VOLUME_SIZE": "512MiB", "SPOOL_LIMIT": "1GiB"} if LONG else {"VOLUME_SIZE": "24MiB", "SPOOL_LIMIT": "48MiB"})
# What the wire does; what the service says of itself is in the tests of the stores.
KINDS = ["500", "503", "429", "408", "timeout", "cut-before", "cut-in", "cut-after", "cut-answer", "corrupt", "duplicate",
         "stall"]
STALL = 3  # seconds, and then it is cut: who gave up by himself could not know what came of a part
BUCKET = "campaign"


class Campaign(MountCase):
    def setUp(self):
        super().setUp()
        self.dice, self.kills = random.Random(4), []
        self.server = emulated.Emulated()
        self.addCleanup(self.server.stop)

    def client(self, service):
        import botocore.session
        client = botocore.session.Session().create_client(
            service, region_name="us-east-1", endpoint_url=self.server.url,
            aws_access_key_id=emulated.ACCESS_KEY, aws_secret_access_key=emulated.SECRET_KEY)
        self.addCleanup(client.close)
        return client

    def machine(self, vault, name="one", **more):
        config = dict(LIMITS, VAULT=vault, ENDPOINT_URL=self.server.url, REGION_NAME="us-east-1", COMPRESSION="none",
                      STORAGE_CLASS="STANDARD", AWS_ACCESS_KEY_ID=emulated.ACCESS_KEY,
                      AWS_SECRET_ACCESS_KEY=emulated.SECRET_KEY)
        env = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
               "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "XDG_RUNTIME_DIR": self.folder}
        return self.data(config, env=dict(env, **more), name=name)

    def cli(self, m, *words):
        r = subprocess.run([Programs.cli, *words], cwd=self.folder, env=m.environment(), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=WITHIN)
        self.assertEqual(r.returncode, 0, r.stdout)
        return r.stdout

    def sources(self, name="source"):
        top = os.path.join(self.folder, name)
        os.makedirs(top)
        part = SIZE // 8
        for i in range(8):
            with open(os.path.join(top, "file %d" % i), "wb") as f:
                for _ in range(part >> 20):
                    f.write(self.dice.randbytes(1 << 20))
                f.write(self.dice.randbytes(part & 0xfffff))
        return top

    def sent(self, operation):
        return sum(e.get("status") in (200, 204) for e in self.server.requests(operation))

    def kill_at(self, machines, operation, parts):
        """Kills a machine whenever another so many parts have come; then it goes on."""
        for i in range(KILLS):
            wanted = (i + 1) * parts // (KILLS + 1)
            m = machines[i % len(machines)]
            until(lambda: self.sent(operation) >= wanted or all(self.finished(x) for x in machines),
                  lambda: "%d parts of %d: %s" % (self.sent(operation), wanted, m.read(".status")), WITHIN)
            time.sleep(self.dice.random() / 5)
            self.kills.append(time.time())
            m.kill()
            m.clean()
            m.start()
        for m in machines:
            until(lambda: self.finished(m), lambda: m.read(".status"), WITHIN)

    def finished(self, m):
        try:
            self.assertNotEqual(m.state(), "failed", m.read(".status"))
            return m.state() == "stored"
        except OSError:
            return False

    def once(self, operation):
        """Where its sender could know of it, a part came once to an upload."""
        self.assertEqual(self.server.sent_again(operation, self.kills), [], "with kills at %s" % self.kills)
        self.assertGreater(self.sent(operation), 0)

    def clean_up_is_done(self, m):
        until(lambda: m.leftovers() == [], m.leftovers)
        self.assertEqual(os.listdir(os.path.join(m.data, "spool")), [])

    def test_a_bucket_behind_a_bad_line(self):
        self.client("s3").create_bucket(Bucket=BUCKET)
        top, machines = self.sources(), []
        for name in ("one", "two"):
            m = self.machine("s3://%s/both" % BUCKET, name).start()
            machines.append(m)
        self.server.behave({"p": 0.2, "kinds": KINDS, "seconds": STALL})
        for m in machines[:1] if LONG else machines:
            m.sh("cp -a \"$1\" ./source", top)
            m.commit("through a bad line")
        senders = machines[:1] if LONG else machines
        self.kill_at(senders, "UploadPart", len(senders) * SIZE // (8 << 20))
        self.server.behave()
        self.once("UploadPart")
        s3 = self.client("s3")
        until(lambda: not s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads"),
              lambda: s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads"))
        for m in senders:
            self.clean_up_is_done(m)
            m.stop()
            to = os.path.join(self.folder, "out-" + os.path.basename(m.folder))
            self.cli(m, "restore", "latest", "--to", to)
            self.same_tree(top, os.path.join(to, "source"), owners=False)

    def test_what_stands_still_is_given_up_and_begun_anew(self):
        """The service would keep silent for longer than the test may last; a build without crash points waits a minute."""
        self.client("s3").create_bucket(Bucket=BUCKET)
        m = self.machine("s3://%s/still" % BUCKET, AUTOGLACIER_STALL="5").start()
        silent = ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject")
        self.server.behave(*({"op": op, "kind": "stall", "seconds": 9000, "count": 1} for op in silent))
        content = self.dice.randbytes(12 << 20)
        m.write("large", content)
        m.commit("through a silent line")
        until(lambda: self.finished(m), lambda: m.read(".status"), WITHIN)
        m.stop()
        self.assertEqual({e["operation"] for e in self.server.requests() if e.get("fault") == "stall"}, set(silent))
        to = os.path.join(self.folder, "out")
        self.cli(m, "restore", "latest", "--to", to)
        with open(os.path.join(to, "large"), "rb") as f:
            self.assertEqual(f.read(), content)

    def test_taken_back_in_mid_upload_nothing_is_left_in_the_bucket(self):
        s3 = self.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        top, m = self.sources(), self.machine("s3://%s/both" % BUCKET).start()
        m.sh("cp -a \"$1\" ./source", top)
        self.server.behave({"op": "UploadPart", "kind": "503", "skip": 5})
        name = m.commit("on second thoughts")
        until(lambda: self.sent("UploadPart") >= 5, lambda: m.read(".status"))
        fd = os.open(m.path("archives", name, ".abort"), os.O_WRONLY)
        os.write(fd, b"yes")
        os.close(fd)
        until(lambda: os.path.exists(m.path("source")), lambda: m.read(".status"))
        self.same_tree(top, m.path("source"), owners=False)
        until(lambda: not s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads"),
              lambda: s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads"))
        keys = [o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
        self.assertEqual([k for k in keys if "/archives/" in k or "/manifests/" in k], [])
        self.assertEqual(os.listdir(os.path.join(m.data, "spool")), [])
        m.stop()

    def test_a_vault_behind_a_bad_line(self):
        glacier = self.client("glacier")
        glacier.create_vault(vaultName=BUCKET)
        top, m = self.sources(), self.machine("glacier://" + BUCKET).start()
        self.server.behave({"p": 0.2, "kinds": KINDS, "seconds": STALL})
        m.sh("cp -a \"$1\" ./source", top)
        m.commit("through a bad line")
        self.kill_at([m], "UploadMultipartPart", SIZE // (8 << 20))
        self.server.behave()
        self.once("UploadMultipartPart")
        until(lambda: not glacier.list_multipart_uploads(vaultName=BUCKET)["UploadsList"],
              lambda: glacier.list_multipart_uploads(vaultName=BUCKET)["UploadsList"])
        self.clean_up_is_done(m)
        self.cli(m, "verify", "latest")
        m.stop()


if __name__ == "__main__":
    assert PATIENCE
    main()
