#!/usr/bin/python3
"""Whose requests they are: every source of keys, in its order, against the emulator.

Each source has a key of its own, and the emulator knows one of them at a time: what works tells which was taken.
"""
import contextlib
import datetime
import http.server
import json
import os
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]

import emulated  # noqa: E402
from mount import PATIENCE, MountCase, Programs, main  # noqa: E402

SOURCES = ("config", "env", "profile", "process", "container", "machine")


def key(source):
    return "AKIA" + source.upper(), "secret of " + source


def answer(source, **more):
    access, secret = key(source)
    return json.dumps(dict({"Version": 1, "AccessKeyId": access, "SecretAccessKey": secret}, **more))


class Metadata(http.server.BaseHTTPRequestHandler):
    """A container's service and a machine's (IMDSv2: no answer without a token that was asked for)."""

    def do_PUT(self):
        ok = self.path == "/latest/api/token" and self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        self.say(200 if ok else 403, "the-token")

    def do_GET(self):
        role = "/latest/meta-data/iam/security-credentials/"
        allowed = self.headers.get("X-aws-ec2-metadata-token") == "the-token"
        if self.path == "/container":
            self.say(200 if self.headers.get("Authorization") == "let me" else 403, answer("container"))
        elif self.path == role and allowed:
            self.say(200, "backup\n")
        elif self.path == role + "backup" and allowed:
            self.server.asked += 1
            ok = self.server.asked not in self.server.stumbles
            self.say(200 if ok else 503, answer("machine", Code="Success", Expiration=self.server.end) if ok else "")
        else:
            self.say(404 if allowed else 401, "")

    def say(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


class Credentials(MountCase):
    def setUp(self):
        super().setUp()
        self.server = emulated.Emulated()
        self.addCleanup(self.server.stop)
        self.metadata = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
        self.metadata.asked, self.metadata.stumbles, self.metadata.end = 0, (), "2100-01-01T00:00:00Z"
        threading.Thread(target=self.metadata.serve_forever, daemon=True).start()
        self.addCleanup(self.metadata.server_close)
        self.addCleanup(self.metadata.shutdown)
        self.accept("config")
        import botocore.session
        with contextlib.closing(botocore.session.Session().create_client(
                "s3", region_name="us-east-1", endpoint_url=self.server.url, aws_access_key_id=key("config")[0],
                aws_secret_access_key=key("config")[1])) as client:
            client.create_bucket(Bucket="keys")

    def accept(self, source, **more):
        access, secret = key(source)
        with open(os.path.join(self.server.folder, "credentials.json"), "w") as f:
            json.dump({access: dict({"secret": secret}, **more)}, f)

    def file(self, name, text, mode=0o600):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def machine(self, sources):
        """A set-up in which all these sources have a key."""
        config = {"VAULT": "s3://keys", "ENDPOINT_URL": self.server.url, "REGION_NAME": "us-east-1"}
        port = self.metadata.server_address[1]
        env = {"HOME": self.folder, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
               "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
        if "config" in sources:
            config["AWS_ACCESS_KEY_ID"], config["AWS_SECRET_ACCESS_KEY"] = key("config")
        if "env" in sources:
            env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"] = key("env")
        if "profile" in sources:
            env["AWS_SHARED_CREDENTIALS_FILE"] = self.file("credentials", (
                "# keys\n[other]\naws_access_key_id = no\n[default]\naws_access_key_id=%s\n"
                "aws_secret_access_key = %s\n") % key("profile"))
        if "process" in sources:
            tool = self.file("tool", "#!/bin/sh\necho '%s'\n" % answer("process"), 0o700)
            env["AWS_CONFIG_FILE"] = self.file("config", "[default]\ncredential_process = '%s' ''\n" % tool)
        if "container" in sources:
            env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://127.0.0.1:%d/container" % port
            env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "let me"
        if "machine" in sources:
            del env["AWS_EC2_METADATA_DISABLED"]
            env["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = "http://127.0.0.1:%d" % port
        return self.data(config, env=env)

    def init(self, m):
        r = subprocess.run([Programs.cli, "init"], cwd=self.folder, env=m.environment(), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        return r.returncode, r.stderr

    def test_the_first_source_that_has_keys_is_taken(self):
        for i, source in enumerate(SOURCES):
            with self.subTest(source=source):
                self.accept(source)
                code, said = self.init(self.machine(SOURCES[i:]))
                self.assertEqual(code, 0, said)
                if i + 1 < len(SOURCES):  # and not one that comes later
                    self.accept(SOURCES[-1])
                    code, said = self.init(self.machine(SOURCES[i:]))
                    self.assertEqual(code, 1)
                    self.assertIn("does not know the access key", said)

    def test_a_profile_of_the_configuration_counts_more_than_the_environment(self):
        self.accept("profile")
        m = self.machine(("env", "profile"))
        with open(os.path.join(self.folder, "credentials"), "a") as f:
            f.write("[backup]\naws_access_key_id = %s\naws_secret_access_key = %s\n" % key("profile"))
        config = {"VAULT": "s3://keys", "ENDPOINT_URL": self.server.url, "AWS_PROFILE": "backup"}
        m.configure(config)
        code, said = self.init(m)
        self.assertEqual(code, 0, said)

    def test_a_session_token_is_sent_along(self):
        self.accept("env", token="a/session+token=")
        m = self.machine(("env",))
        code, said = self.init(m)
        self.assertEqual(code, 1)
        m.env["AWS_SESSION_TOKEN"] = "a/session+token="
        code, said = self.init(m)
        self.assertEqual(code, 0, said)

    def test_what_we_cannot_do_ourselves_is_named(self):
        m = self.machine(())
        m.env["AWS_CONFIG_FILE"] = self.file("config", "[default]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = y\n")
        code, said = self.init(m)
        self.assertEqual(code, 1)
        self.assertIn("export-credentials", said)

    def test_a_tool_that_fails_is_named(self):
        m = self.machine(())
        m.env["AWS_CONFIG_FILE"] = self.file("config", "[default]\ncredential_process = echo locked >&2; exit 3\n")
        code, said = self.init(m)
        self.assertEqual(code, 1)
        self.assertIn("credential_process ended with status 3: locked", said)

    def test_keys_that_end_are_fetched_again(self):
        self.accept("process")
        end = (datetime.datetime.utcnow() + datetime.timedelta(seconds=-5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        calls = os.path.join(self.folder, "calls")
        m = self.machine(())
        tool = self.file("tool", "#!/bin/sh\necho x >> %s\necho '%s'\n" % (calls, answer("process", Expiration=end)), 0o700)
        m.env["AWS_CONFIG_FILE"] = self.file("config", "[default]\ncredential_process = %s\n" % tool)
        code, said = self.init(m)
        self.assertEqual(code, 0, said)
        with open(calls) as f:
            self.assertGreater(len(f.readlines()), 3)

    def test_a_role_whose_service_stumbles_is_waited_for(self):
        self.accept("machine")
        m = self.machine(("machine",))
        self.metadata.end = "2020-01-01T00:00:00Z"  # asked for every request
        code, said = self.init(m)
        self.assertEqual(code, 0, said)
        self.metadata.stumbles = range(self.metadata.asked + 4, self.metadata.asked + 7)
        r = subprocess.run([Programs.cli, "backup", "-m", "words", __file__], cwd=self.folder, env=m.environment(),
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
        self.assertEqual(r.returncode, 0, r.stdout)
        self.assertGreater(self.metadata.asked, max(self.metadata.stumbles))

    def test_secrets_are_never_shown(self):
        m = self.machine(SOURCES)
        self.accept("machine")
        for words in (["init"], ["config"], ["config", "--json"], ["status"]):
            r = subprocess.run([Programs.cli, *words], cwd=self.folder, env=m.environment(), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
            self.assertNotIn("secret of", r.stdout)


if __name__ == "__main__":
    main()
