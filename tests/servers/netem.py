#!/usr/bin/python3
"""A bad line, made by the kernel: loss, delay and 10 Mbit/s between the program and a bucket and a vault (tc netem, in a
network namespace of its own). Skipped where the machine has no netem."""
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]

import emulated  # noqa: E402
from mount import MountCase, PATIENCE, Programs, main, skip_all  # noqa: E402

LINE = "delay 40ms 10ms loss 1% rate 10mbit"  # each way: loopback is passed twice
SIZE = 6 << 20
INSIDE = "AUTOGLACIER_TEST_NAMESPACE"


def enter():
    """Starts this program again inside a namespace whose loopback is the bad line."""
    if os.environ.get(INSIDE):
        return
    line = "ip link set lo up && exec tc qdisc add dev lo root netem " + LINE
    user = [] if os.geteuid() == 0 else ["-r"]
    try:
        probe = subprocess.run(["unshare", *user, "-n", "sh", "-c", line], capture_output=True, text=True)
    except FileNotFoundError:
        skip_all("unshare")
    if probe.returncode != 0:
        skip_all("tc netem in a network namespace: " + (probe.stderr.strip().splitlines() or ["refused"])[-1])
    os.environ[INSIDE] = "1"
    script = "ip link set lo up && tc qdisc add dev lo root netem " + LINE + ' && exec "$@"'
    os.execvp("unshare", ["unshare", *user, "-n", "sh", "-c", script, "sh", sys.executable, *sys.argv])


class BadLine(MountCase):
    def setUp(self):
        super().setUp()
        self.server = emulated.Emulated()
        self.addCleanup(self.server.stop)

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
        m = self.data({"VAULT": vault, "ENDPOINT_URL": self.server.url, "REGION_NAME": "us-east-1",
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

    def test_a_bucket_behind_a_bad_line(self):
        self.client("s3").create_bucket(Bucket="far")
        m, path = self.stores_over("s3://far/away")
        out = os.path.join(self.folder, "out")
        self.cli(m, "restore", "latest", "--to", out)
        with open(path, "rb") as a, open(out + path, "rb") as b:
            self.assertEqual(a.read(), b.read())

    def test_a_vault_behind_a_bad_line(self):
        self.client("glacier").create_vault(accountId="-", vaultName="far")
        self.stores_over("glacier://far")


if __name__ == "__main__":
    emulated.require()
    enter()
    main()
