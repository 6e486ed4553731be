#!/usr/bin/python3
"""Any one call of a commit, an abort, a backup, a restore, a recover or a delete fails, or all from one on: nothing is
lost, and the next run goes on.

Each run begins with the same set-up, in which call number N of a kind fails (tests/lib/fault.c): what changes the disk, what
syncs it, what reads, what a signal interrupts, what takes memory. Then, without faults, it must come to its end.
The numbers are spread evenly over all: a few, or with AUTOGLACIER_LONG=N many. FAULT_ONLY=kind:errno:0:N (1: all from N on)
tries one again, and shows where it was.
"""
import errno
import json
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from cli import BUILD, CliCase, PATIENCE, Programs, main  # noqa: E402
from mount import make_old, skip_all  # noqa: E402

LIBRARY = os.path.join(BUILD, "tests", "fault", "libfault.so")
STAGE = os.path.join(BUILD, "tests", "fault", "stage")
ONLY = os.environ.get("FAULT_ONLY")
LONG = int(os.environ.get("AUTOGLACIER_LONG") or 0)
NUMBERS = LONG if LONG > 1 else 100 if LONG else 3  # of each kind

KINDS = [("disk", errno.ENOSPC, True), ("disk", errno.EIO, False), ("disk", 0, False), ("sync", errno.EIO, False),
         ("look", errno.EIO, False), ("look", errno.EMFILE, False), ("look", 0, False), ("interrupt", errno.EINTR, False),
         ("memory", errno.ENOMEM, False), ("memory", errno.ENOMEM, True)]


def make_tree(top):
    os.makedirs(top + "/d/sub")
    for name, content in (("a", b"text\n" * 100), ("d/b", b""), ("d/sub/c", random.Random(1).randbytes(200000)), ("d/closed", b"shut")):
        with open(os.path.join(top, name), "wb") as f:
            f.write(content)
    if os.geteuid() == 0:
        os.chmod(top + "/d/closed", 0)
    os.link(top + "/a", top + "/d/again")
    os.symlink("a", top + "/d/link")
    os.setxattr(top + "/a", "user.x", b"y")
    make_old(top)


class Sweep(CliCase):
    def setUp(self):
        super().setUp()
        self.source = self.path("source")
        make_tree(self.source)
        self.config('{"COMPRESSION": "gzip", "VOLUME_SIZE": "20MiB"}')
        self.keys()

    # ---- one run ----

    def run_with(self, command, kind, code, on, at):
        """(status, calls, words)"""
        report = self.path("report")
        if os.path.exists(report):
            os.unlink(report)
        env = dict(self.environment(), LD_PRELOAD=LIBRARY, FAULT_KIND=kind, FAULT_ERRNO=str(code), FAULT_AT=str(at),
                   FAULT_REPORT=report, **({"FAULT_ON": "1"} if on else {}))
        if ONLY:
            env["FAULT_TRACE"] = "1"
        r = subprocess.run(command, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           errors="replace", timeout=PATIENCE)
        self.assertGreaterEqual(r.returncode, 0, "killed by a signal: " + r.stderr)
        self.assertTrue(os.path.exists(report), "status %d: %s%s" % (r.returncode, r.stdout, r.stderr))
        with open(report) as f:
            calls = int(f.read().split()[0])
        return r.returncode, calls, r.stdout + r.stderr

    def plain(self, *command):
        r = subprocess.run(command, cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, errors="replace", timeout=PATIENCE)
        return r.returncode, r.stdout + r.stderr

    def sweep(self, command, check):
        """Runs `command` with each fault from the set-up as it is now; check(status, words) afterwards."""
        base = self.path("base")
        os.mkdir(base)
        self.copy_all(self.folder, base)
        for kind, code, on in KINDS:
            if ONLY and not ONLY.startswith("%s:%d:%d:" % (kind, code, on)):
                continue
            self.copy_all(base, self.folder)
            calls = self.run_with(command, kind, code, False, 0)[1]
            if calls == 0:
                self.assertEqual(kind, "sync", "nothing of this kind is called")
                continue
            numbers = {1 + i * (calls - 1) // (NUMBERS - 1) for i in range(NUMBERS)}
            for at in [int(ONLY.split(":")[3])] if ONLY else sorted(numbers):
                self.copy_all(base, self.folder)
                status, _, words = self.run_with(command, kind, code, on, at)
                with self.subTest(kind=kind, errno=errno.errorcode.get(code, "short"), on=on, at=at, status=status,
                                  words=words):
                    check(status, words)
        self.copy_all(base, self.folder)

    @staticmethod
    def copy_all(a, b):
        """Folder b becomes as folder a; the set-up that is kept lies in one of them."""
        for name in set(os.listdir(b)) - {"base"}:
            subprocess.run(["rm", "-rf", os.path.join(b, name)], check=True)
        for name in set(os.listdir(a)) - {"base"}:
            subprocess.run(["cp", "-a", os.path.join(a, name), b], check=True)

    # ---- what must hold ----

    def archives(self):
        return [line.split()[0] for line in self.ag("list").out.splitlines() if line[:2] == "20"]

    def opened(self, name):
        """The archive, by the rescue program and tar."""
        info = json.loads(self.ag("show", "--json", name).out)
        store = info["store"][4:]
        to = self.path("opened")
        subprocess.run(["rm", "-rf", to], check=True)
        os.mkdir(to)
        packed = self.path("opened.tar")
        subprocess.run(["/usr/bin/python3", Programs.rescue, "--key", self.private, "-o", packed,
                        *[os.path.join(store, v["object"]) for v in info["volumes"]]], check=True, capture_output=True)
        subprocess.run(["tar", "-xpf", packed, "--xattrs", "--xattrs-include=user.*", "--exclude=.autoglacier",
                        "--warning=no-unknown-keyword", "-C", to], check=True)
        return to

    def objects(self):
        found = []
        for path, _, files in os.walk(os.path.join(self.data, "store")):
            found += [f for f in files if ".esdk" in f]
        return found

    def same(self, a, b):
        r = subprocess.run(["diff", "-r", "--no-dereference", a, b], capture_output=True, text=True)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)


class Staging(Sweep):
    """What a mount does with what is staged."""

    def setUp(self):
        super().setUp()
        self.ag("init")
        self.stage()

    def stage(self):
        os.makedirs(self.staged(), 0o700, exist_ok=True)
        subprocess.run(["cp", "-a", self.source, self.staged()], check=True)
        os.mkfifo(self.staged("fifo"))

    def staged(self, *name):
        return os.path.join(self.data, "staging", "current", *name)

    def goes_on(self, *words):
        code, said = self.plain(STAGE, *words)
        self.assertEqual((code, said), (0, ""))

    def lies_in_one_of(self, *folders):
        """All that was staged, as it was."""
        for path, _, files in os.walk(self.source):
            for name in files:
                real = os.path.join(path, name)
                below = os.path.relpath(real, self.source)
                found = [p for p in (os.path.join(f, "source", below) for f in folders) if os.path.lexists(p)]
                self.assertTrue(found, "%s is nowhere" % below)
                for p in found:
                    self.assertEqual(self.content(p), self.content(real), p)

    @staticmethod
    def content(path):
        if os.path.islink(path):
            return os.readlink(path)
        with open(path, "rb") as f:
            return f.read()

    def test_a_commit_ends_stored(self):
        def check(status, words):
            self.goes_on("go")
            if not self.archives():
                self.same(self.source, self.staged("source"))
                self.goes_on("commit")
            names = self.archives()
            self.assertEqual(len(names), 1, names)
            self.lies_in_one_of(self.opened(names[0]), self.staged())
            self.assertEqual(os.listdir(os.path.join(self.data, "staging")), ["current"])

        self.sweep([STAGE, "commit"], check)

    def test_what_is_taken_back_comes_back(self):
        store = os.path.join(self.data, "store")
        os.rename(store, store + ".away")
        self.assertEqual(self.plain(STAGE, "commit")[0], 1)
        os.rename(store + ".away", store)
        name = self.archives()[0]

        def check(status, words):
            if self.archives():
                self.assertEqual(status, 1, words)
                self.goes_on("abort", name)
            self.assertEqual(self.archives(), [])
            own = os.path.exists(self.staged(name))  # where it could not be seen whether names are taken
            self.same(self.source, self.staged(name, "source") if own else self.staged("source"))
            self.assertEqual(os.listdir(os.path.join(self.data, "staging")), ["current"])
            self.assertEqual(self.objects(), [])

        self.sweep([STAGE, "abort", name], check)


class Stored(Sweep):
    """What the command line does with an archive."""

    def setUp(self):
        super().setUp()
        os.chmod(self.source + "/d/closed", 0o600)
        self.name = self.backup("source")

    def test_a_restore_brings_all_back_or_says_what_not(self):
        to = self.path("to")

        def check(status, words):
            if status == 0:
                self.same(self.source, to + self.source)
            self.ag("restore", "latest", "--to", "again")
            self.same(self.source, self.path("again") + self.source)

        self.sweep([Programs.cli, "restore", "latest", "--to", to], check)

    def test_a_backup_ends_stored(self):
        def check(status, words):
            self.plain(STAGE, "go")
            if status == 0:
                self.ag("restore", "latest", "--to", "again")
                self.same(self.source, self.path("again") + self.source)
            self.ag("verify", "--data", self.name)
            if len(self.archives()) > 1:
                self.ag("verify", "--data", "latest")

        self.sweep([Programs.cli, "backup", "-m", "second", "source"], check)

    def test_a_deleted_archive_is_gone_or_still_there(self):
        def check(status, words):
            if self.archives():
                self.assertEqual(status, 1, words)
                self.ag("delete", "--yes", self.name)
            self.assertEqual(self.archives(), [])
            self.assertEqual(self.objects(), [])

        self.sweep([Programs.cli, "delete", "--yes", self.name], check)

    def test_the_catalogue_is_recovered(self):
        key = self.write("key.pem", self.read(os.path.relpath(self.private, self.folder)))
        os.unlink(os.path.join(self.data, "catalog.db"))

        def check(status, words):
            self.ag("recover", "--key", key)
            self.assertEqual(self.archives(), [self.name])
            self.ag("restore", "latest", "--to", "again")
            self.same(self.source, self.path("again") + self.source)

        self.sweep([Programs.cli, "recover", "--key", key], check)


if __name__ == "__main__":
    if not os.path.exists(LIBRARY):
        skip_all(LIBRARY)
    if os.environ.get("AUTOGLACIER_SANITIZED"):
        skip_all("a program without sanitizers, which want to be loaded before anything else")
    main()
