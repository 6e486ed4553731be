#!/usr/bin/python3
"""What goes wrong with a vault: each time a sentence that says what to do, nothing lost, and it goes on by itself."""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]

import emulated  # noqa: E402
from mount import MountCase, PATIENCE, Programs, main, until  # noqa: E402

UPLOADING = ("InitiateMultipartUpload", "UploadMultipartPart", "CompleteMultipartUpload")


class Trouble(MountCase):
    tls = False

    @classmethod
    def setUpClass(cls):
        cls.server = emulated.Emulated(tls=cls.tls)
        cls.addClassCleanup(cls.server.stop)
        cls.vaults = 0

    def setUp(self):
        super().setUp()
        type(self).vaults += 1
        self.vault = "vault-%d" % self.vaults
        if not self.tls:
            self.server.behave()
            self.server.advance(None)
            self.server.set(**emulated.DEFAULTS)
        self.allow()

    def allow(self, denied=()):
        with open(os.path.join(self.server.folder, "credentials.json"), "w") as f:
            json.dump({emulated.ACCESS_KEY: {"secret": emulated.SECRET_KEY, "denied": list(denied)}}, f)

    def machine(self, name="one", env=None, **config):
        c = {"VAULT": "glacier://" + self.vault, "ENDPOINT_URL": self.server.url, "REGION_NAME": "us-east-1",
             "AWS_ACCESS_KEY_ID": emulated.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": emulated.SECRET_KEY,
             "COMPRESSION": "zstd"}
        c.update(config)
        env = dict({"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
                    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "XDG_RUNTIME_DIR": self.folder}, **(env or {}))
        return self.data(c, env=env, name=name)

    def cli(self, m, *words, status=0):
        r = subprocess.run([Programs.cli, *words], cwd=self.folder, env=m.environment(), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
                           start_new_session=True)
        self.assertEqual(r.returncode, status, r.stdout)
        return r.stdout

    def init_fails(self, m, *wanted):
        said = self.cli(m, "init", status=1)
        for part in wanted:
            self.assertIn(part, said)


class Plain(Trouble):
    def test_wrong_secret_is_named_with_the_key_to_correct(self):
        self.init_fails(self.machine(AWS_SECRET_ACCESS_KEY="wrong"), "AWS_SECRET_ACCESS_KEY")

    def test_unknown_access_key_is_named_with_the_key_to_correct(self):
        self.init_fails(self.machine(AWS_ACCESS_KEY_ID="AKIANOBODY"), "AWS_ACCESS_KEY_ID")

    def test_wrong_region_is_refused(self):
        self.init_fails(self.machine(REGION_NAME="eu-west-1"), "another region than eu-west-1", "REGION_NAME")

    def test_missing_right_is_named_before_the_first_commit(self):
        for operation in ("CreateVault", *UPLOADING[:2]):
            self.allow([operation])
            self.init_fails(self.machine(), "glacier:" + operation)

    def test_missing_right_to_retrieve_is_named_and_nothing_is_started(self):
        self.assertIn("what is cold can be asked for", self.cli(self.machine(), "init"))
        self.allow(["InitiateJob"])
        said = self.cli(self.machine(), "init")
        self.assertIn("backups work, getting them back does not", said)
        self.assertIn("needs the right glacier:InitiateJob", said)
        granted = [e["status"] for e in self.server.requests("InitiateJob") if self.vault in e["path"]]
        self.assertEqual(granted, [404, 403])

    def test_account_without_vaults_is_sent_to_buckets(self):
        self.server.set(no_vaults=True)
        self.init_fails(self.machine(), "s3://")

    def test_clock_that_is_a_day_off_does_no_harm(self):
        self.server.set(clock_skew=86400)
        m = self.machine()
        self.assertIn("clock", self.cli(m, "init"))
        self.cli(m, "backup", "-m", "words", "/etc/hostname")

    def test_service_that_is_away_is_waited_for(self):
        m = self.machine()
        self.cli(m, "init")
        m.start()
        m.write("file", os.urandom(100000))
        self.server.kill()
        m.commit("while it is away")
        until(lambda: "127.0.0.1" in m.read(".status"), lambda: m.read(".status"))
        self.server.start()
        m.wait("stored")
        m.stop()

    def test_right_that_is_missing_in_the_middle_is_waited_for(self):
        m = self.machine()
        self.cli(m, "init")
        m.start()
        m.write("file", os.urandom(100000))
        self.server.behave({"op": "InitiateMultipartUpload", "kind": "denied"})
        name = m.commit("while it may not")
        until(lambda: "glacier:InitiateMultipartUpload" in m.read(".status"), lambda: m.read(".status"))
        self.server.behave()
        m.retry(name)
        m.wait("stored")
        m.stop()

    def test_vault_that_was_deleted_is_not_made_anew_by_the_way(self):
        m = self.machine()
        self.cli(m, "init")
        m.start()
        made = len(self.server.requests("CreateVault"))
        import botocore.session
        client = botocore.session.get_session().create_client(
            "glacier", "us-east-1", endpoint_url=self.server.url, aws_access_key_id=emulated.ACCESS_KEY,
            aws_secret_access_key=emulated.SECRET_KEY)
        self.addCleanup(client.close)
        client.delete_vault(accountId="-", vaultName=self.vault)
        m.write("file", "text")
        m.commit("into nothing")
        until(lambda: "there is no vault " + self.vault in m.read(".status"), lambda: m.read(".status"))
        self.assertEqual(len(self.server.requests("CreateVault")), made)
        client.create_vault(accountId="-", vaultName=self.vault)
        m.retry()
        until(lambda: "is another one" in m.read(".status"), lambda: m.read(".status"))
        m.stop()

    def test_upload_that_the_vault_forgot_is_sent_again(self):
        m = self.machine(COMPRESSION="none")
        self.cli(m, "init")
        m.start()
        content = os.urandom(20 << 20)
        m.write("file", content)
        self.server.behave({"op": "UploadMultipartPart", "kind": "cut-before", "skip": 1})
        m.commit("slowly")
        until(lambda: [e for e in self.server.requests("UploadMultipartPart") if e["status"] == 204],
              lambda: m.read(".status"))
        m.kill()
        m.clean()
        self.server.advance(2 * 86400)
        self.server.behave()
        m.start()
        m.wait("stored")
        m.stop()
        self.assertIn("confirmed", self.cli(m, "verify"))


class Tls(Trouble):
    tls = True

    def test_certificate_that_nobody_trusts_is_refused_and_trusted_when_it_is_named(self):
        self.init_fails(self.machine(), "ertificate")
        m = self.machine(env={"AWS_CA_BUNDLE": os.path.join(self.server.folder, "ca.pem")})
        self.cli(m, "init")
        self.cli(m, "backup", "-m", "words", "/etc/hostname")


if __name__ == "__main__":
    emulated.require()
    main()
