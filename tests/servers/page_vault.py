#!/usr/bin/python3
"""doc/STORES.md works as it stands: its commands bring an archive out of a vault, with Amazon's client and the rescue program
and nothing of ours."""
import os
import re
import shutil
import stat
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]

import emulated  # noqa: E402
from mount import MountCase, PATIENCE, Programs, PYTHON, TOP, main, skip_all  # noqa: E402

AWS = "/usr/bin/aws"
VAULT = "photos"  # as the page has it
HOURS = 4 * 3600


class Page(MountCase):
    def program(self, name, text):
        path = os.path.join(self.folder, "bin", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write("#!/bin/sh\n" + text + "\n")
        os.chmod(path, stat.S_IRWXU)

    def test_its_commands_bring_an_archive_out_of_a_vault(self):
        server = emulated.Emulated(job_seconds=HOURS)
        self.addCleanup(server.stop)
        m = self.data({"VAULT": "glacier://" + VAULT, "ENDPOINT_URL": server.url, "COMPRESSION": "lzma",
                       "AWS_ACCESS_KEY_ID": emulated.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": emulated.SECRET_KEY})
        source = os.path.join(self.folder, "source")
        os.makedirs(source)
        for i in range(3):
            with open(os.path.join(source, "file %d" % i), "wb") as f:
                f.write(os.urandom(100000))
        for words in (("init",), ("backup", "-m", "the photos", source)):
            subprocess.run([Programs.cli, *words], check=True, env=m.environment(), stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE,
                           start_new_session=True)
        self.program("aws", 'exec %s --endpoint-url %s "$@"' % (AWS, server.url))
        self.program("sleep", "exec curl -sf -o /dev/null -d %d %s/_emulator/advance" % (HOURS, server.url))
        self.program("python3", 'exec %s "$@"' % PYTHON)
        env = server.environment()
        env["PATH"] = os.path.join(self.folder, "bin") + ":" + env["PATH"]
        work = os.path.join(self.folder, "work")
        os.makedirs(work)
        with open(os.path.join(TOP, "doc", "STORES.md")) as f:
            blocks = re.findall(r"^```sh\n(.*?)^```$", f.read().partition("### Out of a vault")[2], re.S | re.M)
        self.assertEqual(len(blocks), 2)
        for block in blocks:
            r = subprocess.run(["sh", "-eu", "-c", block], cwd=work, env=env, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10 * PATIENCE)
            self.assertEqual(r.returncode, 0, r.stdout)
        files = sorted(n for n in os.listdir(work) if n.endswith(".esdk"))
        self.assertEqual(len(files), 1)
        shutil.copy(Programs.rescue, os.path.join(work, "rescue.py"))
        key = os.path.join(m.data, "keys", "private.pem")
        subprocess.run([PYTHON, "rescue.py", "--key", key, "-o", "archive.tar.xz", *files], cwd=work, check=True)
        out = os.path.join(self.folder, "out")
        os.makedirs(out)
        subprocess.run(["tar", "-xpf", os.path.join(work, "archive.tar.xz"), "-C", out], check=True)
        self.same_tree(source, out + source, owners=False)


if __name__ == "__main__":
    if not os.path.exists(AWS):
        skip_all("the aws client (Debian's awscli)")
    emulated.require()
    main()
