#!/usr/bin/python3
"""A bad line between the program and a bucket and a vault: delay, 10 Mbit/s, stalls and a cut connection, made by a proxy;
and loss, delay and 10 Mbit/s made by the kernel (tc netem, in a network namespace of its own), skipped where the machine
has none."""
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]

import emulated  # noqa: E402
from line import Line  # noqa: E402
from mount import MountCase, PATIENCE, Programs, main  # noqa: E402

LINE = "delay 40ms 10ms loss 1% rate 10mbit"  # each way: loopback is passed twice
SIZE = 6 << 20
INSIDE = "AUTOGLACIER_TEST_NAMESPACE"
USER = [] if os.geteuid() == 0 else ["-r"]


def why_not():
    """Why the kernel makes no bad line here; None: it does."""
    line = "ip link set lo up && exec tc qdisc add dev lo root netem " + LINE
    try:
        probe = subprocess.run(["unshare", *USER, "-n", "sh", "-c", line], capture_output=True, text=True)
    except FileNotFoundError:
        return "unshare"
    if probe.returncode != 0:
        return "tc netem in a network namespace: " + (probe.stderr.strip().splitlines() or ["refused"])[-1]
    return None


class BadLine(MountCase):
    def setUp(self):
        super().setUp()
        self.server = emulated.Emulated()
        self.addCleanup(self.server.stop)
        self.line = None

    def through_a_proxy(self):
        self.line = Line(int(self.server.url.rpartition(":")[2]), delay=0.04, rate=10e6 / 8, stall_every=2 << 20, stall=1,
                         cut_after=SIZE // 2)
        self.addCleanup(self.line.close)

    def client(self, service):
        import botocore.config
        import botocore.session
        client = botocore.session.get_session().create_client(
            service, "us-east-1", endpoint_url=self.server.url, aws_access_key_id=emulated.ACCESS_KEY,
            aws_secret_access_key=emulated.SECRET_KEY,
            config=botocore.config.Config(connect_timeout=PATIENCE, read_timeout=PATIENCE))
        self.addCleanup(client.close)
        return client

    def stores_over(self, vault):
        """Sends incompressible bytes; returns the machine. The line is the limit, not the program."""
        m = self.data({"VAULT": vault, "REGION_NAME": "us-east-1",
                       "ENDPOINT_URL": "http://127.0.0.1:%d" % self.line.port if self.line else self.server.url,
                       "COMPRESSION": "none", "STORAGE_CLASS": "STANDARD", "AWS_ACCESS_KEY_ID": emulated.ACCESS_KEY,
                       "AWS_SECRET_ACCESS_KEY": emulated.SECRET_KEY})
        path = os.path.join(self.folder, "source")
        with open(path, "wb") as f:
            f.write(os.urandom(SIZE))
        begun = time.monotonic()
        self.cli(m, "backup", "-m", "over a bad line", path)
        self.assertGreater(time.monotonic() - begun, SIZE * 8 / 10e6, "the line was not as bad as it should be")
        self.cli(m, "verify", "latest")
        return m, path

    def cli(self, m, *words):
        r = subprocess.run([Programs.cli, *words], cwd=self.folder, env=m.environment(), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=4 * PATIENCE)
        self.assertEqual(r.returncode, 0, r.stdout)

    def to_a_bucket(self):
        self.client("s3").create_bucket(Bucket="far")
        m, path = self.stores_over("s3://far/away")
        out = os.path.join(self.folder, "out")
        self.cli(m, "restore", "latest", "--to", out)
        with open(path, "rb") as a, open(out + path, "rb") as b:
            self.assertEqual(a.read(), b.read())

    def to_a_vault(self):
        self.client("glacier").create_vault(accountId="-", vaultName="far")
        self.stores_over("glacier://far")

    def test_a_bucket_behind_a_line_that_stalls_and_is_cut(self):
        self.through_a_proxy()
        self.to_a_bucket()
        self.assertEqual(self.line.cuts, 1)
        self.assertGreaterEqual(self.line.stalls, 3)

    def test_a_vault_behind_a_line_that_stalls_and_is_cut(self):
        self.through_a_proxy()
        self.to_a_vault()
        self.assertEqual(self.line.cuts, 1)
        self.assertGreaterEqual(self.line.stalls, 3)

    def in_a_namespace(self, name):
        """Runs a test of the class below, whose loopback is the bad line."""
        why = why_not()
        if why:
            self.skipTest(why)
        script = "ip link set lo up && tc qdisc add dev lo root netem " + LINE + ' && exec "$@"'
        subprocess.run(["unshare", *USER, "-n", "sh", "-c", script, "sh", sys.executable, os.path.abspath(__file__),
                        "InNamespace." + name], env=dict(os.environ, **{INSIDE: "1"}), check=True)

    def test_a_bucket_behind_a_bad_line_of_the_kernel(self):
        self.in_a_namespace("to_a_bucket")

    def test_a_vault_behind_a_bad_line_of_the_kernel(self):
        self.in_a_namespace("to_a_vault")


if os.environ.get(INSIDE):
    class InNamespace(BadLine):
        """What the tests above start."""


if __name__ == "__main__":
    emulated.require()
    main()
