#!/usr/bin/python3
"""A power cut at every named point of a commit that goes through the spool, to a bucket and to a vault: the service has
what it was sent, the disk what was synced, and together nothing is lost, stored twice or left over."""
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]

import emulated  # noqa: E402
from mount import PATIENCE, Programs, main, until  # noqa: E402
from powercut_case import PowerCutCase, require  # noqa: E402

# Two volumes; those of a commit that any store has in common are in tests/mount/powercut.py.
POINTS = ["volume-begin", "part-spooled", "part-spooled:2", "part-recorded", "part-recorded:2", "upload-begun", "upload-recorded",
          "part-sent", "part-sent:2", "volume-written", "volume-packed", "volume-confirmed", "volume-done", "volume-packed:2",
          "volume-confirmed:2", "volume-done:2", "walked", "packed", "manifest-stored", "stored"]
IN_A_VAULT = ["upload-recorded", "part-sent", "vault-finished", "volume-confirmed", "volume-done", "vault-finished:2",
              "manifest-stored"]


class Spool(PowerCutCase):
    @classmethod
    def setUpClass(cls):
        cls.server = emulated.Emulated()
        cls.addClassCleanup(cls.server.stop)

    def client(self, service):
        import botocore.session
        client = botocore.session.get_session().create_client(
            service, "us-east-1", endpoint_url=self.server.url, aws_access_key_id=emulated.ACCESS_KEY,
            aws_secret_access_key=emulated.SECRET_KEY)
        self.addCleanup(client.close)
        return client

    def machine(self, vault, name):
        config = {"VAULT": vault, "ENDPOINT_URL": self.server.url, "REGION_NAME": "us-east-1", "STORAGE_CLASS": "STANDARD",
                  "COMPRESSION": "none", "COST_LIMIT": 1000, "VOLUME_SIZE": "20MiB", "SPOOL_LIMIT": "40MiB",
                  "AWS_ACCESS_KEY_ID": emulated.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": emulated.SECRET_KEY}
        env = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
               "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "XDG_RUNTIME_DIR": self.folder}
        return self.data(config, env=env, name=name)

    def cli(self, m, *words):
        r = subprocess.run([Programs.cli, *words], cwd=self.folder, env=m.environment(), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
        self.assertEqual(r.returncode, 0, r.stdout)
        return r.stdout

    def cut_and_go_on(self, vault, point):
        m = self.machine(vault, point.replace(":", "-"))
        m.start()
        self.stage(m, special=False)
        self.assertEqual(m.stop(), 0)
        self.cut(m, point)
        m.start()
        self.assertEqual(len(m.archives()), 1)
        m.wait("stored")
        until(lambda: not self.rest(m), lambda: "left over: %s" % self.rest(m))
        return m

    def comes_back(self, m):
        self.assertEqual(m.stop(), 0)
        to = os.path.join(m.folder, "out")
        self.cli(m, "restore", "latest", "--to", to, "--wait")
        self.same_tree(self.source, to + "/source")
        shutil.rmtree(m.folder)

    def test_to_a_bucket(self):
        s3 = self.client("s3")
        for i, point in enumerate(POINTS):
            with self.subTest(point=point):
                bucket = "cut-%d" % i
                s3.create_bucket(Bucket=bucket)
                m = self.cut_and_go_on("s3://" + bucket, point)
                until(lambda: not s3.list_multipart_uploads(Bucket=bucket).get("Uploads"), "an upload is left over")
                keys = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"] if o["Key"].startswith("archives/")]
                self.assertEqual(len(keys), len(m.info()["volumes"]), keys)
                self.comes_back(m)

    def test_to_a_vault(self):
        glacier = self.client("glacier")
        for i, point in enumerate(IN_A_VAULT):
            with self.subTest(point=point):
                vault = "cut-%d" % i
                glacier.create_vault(vaultName=vault)
                m = self.cut_and_go_on("glacier://" + vault, point)
                until(lambda: not glacier.list_multipart_uploads(vaultName=vault)["UploadsList"], "an upload is left over")
                made = glacier.describe_vault(vaultName=vault)["NumberOfArchives"]
                self.assertEqual(made, len(m.info()["volumes"]) + 1)
                self.comes_back(m)


if __name__ == "__main__":
    emulated.require()
    require()
    main()
