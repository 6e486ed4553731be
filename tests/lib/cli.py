"""The command line for a test: a set-up of its own, commands with the exit status that is expected, a terminal.

    class Lists(CliCase):
        def test_nothing_is_listed_at_first(self):
            self.assertEqual(self.ag("list").out, "")

    if __name__ == "__main__":
        main()

`main()` understands --as-user as tests/lib/mount.py does.
"""
import collections
import errno
import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from mount import BUILD, PATIENCE, TOP, Keys, Programs, is_mounted, run_as_nobody, until

__all__ = ["BUILD", "PATIENCE", "TOP", "CliCase", "Keys", "Programs", "is_mounted", "main", "until"]

Result = collections.namedtuple("Result", "status out err")


def main():
    if "--as-user" in sys.argv:
        sys.argv.remove("--as-user")
        if os.geteuid() == 0:
            folder = tempfile.mkdtemp(prefix="autoglacier-programs-")
            Programs.copy_to(folder)
            status = run_as_nobody(folder)
            shutil.rmtree(folder)
            sys.exit(status)
    unittest.main(verbosity=2)


class CliCase(unittest.TestCase):
    """Each test has a folder (self.folder, where commands are run) and a set-up in it (self.home)."""

    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="autoglacier-cli-"))
        self.home = os.path.join(self.folder, "home")
        self.data = os.path.join(self.home, "data")
        self.private = os.path.join(self.data, "keys", "private.pem")
        self.public = os.path.join(self.data, "keys", "public.pem")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        os.mkdir(self.home, 0o700)

    def keys(self):
        """The key pair that all tests share, where the set-up looks for it: making one takes a second."""
        Keys.copy_to(os.path.join(self.data, "keys"))

    def locked_keys(self, passphrase):
        """The same pair with a passphrase, locked in a way that opens quickly; ours takes half a second on purpose."""
        self.keys()
        locked = subprocess.run(["openssl", "pkcs8", "-topk8", "-in", self.private, "-passout", "pass:" + passphrase],
                                check=True, capture_output=True).stdout
        with open(self.private, "wb") as f:
            f.write(locked)

    def config(self, text):
        path = os.path.join(self.home, "CONFIG.json")
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o600)
        return path

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AUTOGLACIER_", "AWS_", "XDG_"))}
        env["AUTOGLACIER_HOME"] = self.home
        env["HOME"] = self.folder
        return env

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text="", mode=None):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(text.encode() if isinstance(text, str) else text)
        if mode is not None:
            os.chmod(path, mode)
        return path

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    # ---- commands ----

    def ag(self, *args, status=0, say=None, stdin=""):
        """Runs a command without a terminal. `status` is what it must exit with (None: anything), `say` a word that stderr must hold."""
        r = subprocess.run([Programs.cli, *args], cwd=self.folder, env=self.environment(), input=stdin,
                           capture_output=True, text=True, errors="surrogateescape", timeout=PATIENCE,
                           start_new_session=True)
        told = "%s: status %d\n%s\n%s" % (" ".join(map(os.fsdecode, args)), r.returncode, r.stdout, r.stderr)
        if status is not None:
            self.assertEqual(r.returncode, status, told)
        if say is not None:
            self.assertIn(say, r.stderr, told)
        return Result(r.returncode, r.stdout, r.stderr)

    def on_terminal(self, *args, answers=(), status=0):
        """Runs a command on a terminal of its own and answers its questions, given as (part of the question, answer).
        What the terminal showed."""
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execve(Programs.cli, [Programs.cli, *args], dict(self.environment(), TERM="xterm"))
        shown, asked = "", 0
        answers = list(answers)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if not select.select([fd], [], [], 1)[0]:
                continue
            try:
                data = os.read(fd, 65536)
            except OSError as e:
                if e.errno != errno.EIO:  # how Linux tells that the other side is closed
                    raise
                break
            if not data:
                break
            shown += data.decode(errors="replace")
            while answers and answers[0][0] in shown[asked:]:
                asked = len(shown)
                os.write(fd, (answers.pop(0)[1] + "\n").encode())
        os.close(fd)
        got = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.assertEqual(got, status, shown)
        self.assertEqual(answers, [], "never asked; it showed: " + shown)
        return shown

    def backup(self, *files, message="words"):
        """The new archive's name."""
        return self.ag("backup", "-m", message, *files).out.strip()
