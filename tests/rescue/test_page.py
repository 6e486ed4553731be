"""doc/RESCUE.md works as it stands: its commands, run one after the other, bring the files back.

They run in a folder with nothing but what the page asks for, and without the program on the PATH.
"""
import glob
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from cli import PATIENCE, TOP, CliCase, main  # noqa: E402


def blocks():
    with open(os.path.join(TOP, "doc", "RESCUE.md"), encoding="utf-8") as f:
        return re.findall(r"^```sh\n(.*?)^```$", f.read(), re.M | re.S)


class Page(CliCase):
    def setUp(self):
        super().setUp()
        self.keys()
        self.config('{"VOLUME_SIZE": "64MiB"}')
        self.write("src/letter.txt", "dear\n")
        self.write("src/na\u00efve name", "hello\n")
        self.write("src/empty")
        self.write(os.fsdecode(b"src/bad\xffname"), "x")
        self.write("src/folder/noise", os.urandom(40_000_000))
        self.write("src/folder/znoise", os.urandom(40_000_000))
        os.symlink("folder/noise", self.path("src/link"))
        self.backup("src")
        self.page = self.path("page")
        os.mkdir(self.page)
        store = os.path.join(self.data, "store")
        for path in glob.glob(os.path.join(store, "archives", "*", "*")):
            shutil.copy(path, os.path.join(self.page, re.sub(r"^.*(-\d{4}\.)", r"ID\1", os.path.basename(path))))
        for path in glob.glob(os.path.join(store, "manifests", "*", "*")):
            shutil.copy(path, os.path.join(self.page, "ID.jsonl.xz.esdk"))
        shutil.copy(self.private, os.path.join(self.page, "private.pem"))
        shutil.copy(os.path.join(TOP, "tools", "rescue.py"), self.page)
        shutil.rmtree(self.home)

    def step(self, text):
        env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        self.assertIsNone(shutil.which("autoglacier", path=env["PATH"]))
        r = subprocess.run(["sh", "-eu", "-c", text], cwd=self.page, env=env, capture_output=True, text=True,
                           errors="surrogateescape", timeout=4 * PATIENCE)
        self.assertEqual(r.returncode, 0, text + r.stdout + r.stderr)
        return r.stdout + r.stderr

    def tree(self, *names):
        return os.path.join(self.page, *names)

    def test_every_command_works(self):
        inside = self.path("src")[1:]
        steps = blocks()
        self.assertEqual(len(steps), 7, "the page has another number of commands than this test knows")
        join, unpack, compare, listing, some, rest, fingerprint = steps
        self.step(join)
        self.step(unpack)
        r = subprocess.run(["diff", "-r", "--no-dereference", self.path("src"), self.tree("out", inside)],
                           capture_output=True, text=True)
        self.assertEqual(r.returncode, 0, r.stdout)
        self.assertIn("6 files compared, 0 different", self.step(compare))
        with open(self.tree("out", inside, "letter.txt"), "a") as f:
            f.write("!")
        self.assertIn("6 files compared, 1 different", self.step(compare.replace("sys.exit(bad > 0)", "")))
        self.assertIn("letter.txt", self.step(listing))
        self.step(some)
        found = sorted(os.listdir(self.tree("some", inside)))
        self.assertEqual(found, ["folder", "letter.txt"])
        said = self.step(rest)
        self.assertIn("not everything is there", said)
        self.assertIn("MISSING: volume 2", said)
        self.assertTrue(os.path.exists(self.tree("rest", inside, "folder", "noise")))
        self.assertFalse(os.path.exists(self.tree("rest", inside, "folder", "znoise")))
        self.assertRegex(self.step(fingerprint), r"^[0-9a-f]{64} ")


if __name__ == "__main__":
    main()
