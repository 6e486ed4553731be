"""rescue.py lists and extracts real archives: single files, lost and damaged volumes, every compression.

The archives are made by the program; extracting them knows nothing of it.
"""
import glob
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from cli import PATIENCE, TOP, CliCase, main  # noqa: E402

RESCUE = os.path.join(TOP, "tools", "rescue.py")


class ExtractCase(CliCase):
    def setUp(self):
        super().setUp()
        self.keys()
        self.write("src/a.txt", "hello\n", mode=0o640)
        self.write("src/deep/er/b.bin", os.urandom(70000))
        self.write("src/empty")
        self.write("src/gr\u00fc\u00df", "x")
        self.write(os.fsdecode(b"src/bad\xff\nname"), "y")
        os.truncate(self.write("src/holes", "z"), 5_000_000)
        os.symlink("a.txt", self.path("src/link"))
        os.link(self.path("src/a.txt"), self.path("src/twin"))
        os.utime(self.path("src/a.txt"), ns=(1, -5_250_000_001))
        os.utime(self.path("src/deep"), ns=(1, 1_000_000_000_123_456_789))
        self.src = self.path("src")

    def archive(self, compression="lzma", more=""):
        self.config('{"COMPRESSION": "%s", "VOLUME_SIZE": "64MiB"%s}' % (compression, more))
        self.backup("src")
        for kind in ("archives", "manifests"):
            for path in glob.glob(os.path.join(self.data, "store", kind, "*", "*")):
                shutil.copy(path, self.folder)
        shutil.copy(self.private, self.path("key.pem"))
        shutil.rmtree(self.home)
        return sorted(glob.glob(self.path("*-0*.esdk")))

    def rescue(self, *args, status=0, say=None):
        env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        r = subprocess.run(["/usr/bin/python3", RESCUE, "--key", "key.pem", *args], cwd=self.folder, env=env,
                           capture_output=True, text=True, errors="surrogateescape", timeout=4 * PATIENCE)
        self.assertEqual(r.returncode, status, r.stdout + r.stderr)
        self.assertNotIn("Traceback", r.stderr)
        if say:
            self.assertIn(say, r.stderr)
        return r

    def there(self, to):
        """Where the source is in what was extracted."""
        return os.path.join(self.path(to), self.src[1:])

    def same(self, to):
        r = subprocess.run(["diff", "-r", "--no-dereference", self.src, self.there(to)], capture_output=True)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        for name in ("a.txt", "deep", "deep/er", "link", "holes"):
            a, b = os.lstat(os.path.join(self.src, name)), os.lstat(os.path.join(self.there(to), name))
            self.assertEqual((a.st_mode, a.st_mtime_ns), (b.st_mode, b.st_mtime_ns), name)
        self.assertEqual(os.stat(os.path.join(self.there(to), "twin")).st_nlink, 2)
        self.assertLess(os.stat(os.path.join(self.there(to), "holes")).st_blocks, 4000)


class Whole(ExtractCase):
    def test_every_compression(self):
        for compression in ("lzma", "gzip", "bzip2", "zstd", "none"):
            with self.subTest(compression):
                for name in glob.glob(self.path("*.esdk")):
                    os.unlink(name)
                volumes = self.archive(compression)
                self.keys()
                names = [os.path.basename(v) for v in volumes]
                listed = self.rescue("--list", *names).stdout
                self.assertIn("deep/er/b.bin", listed)
                self.assertIn("link -> a.txt", listed)
                self.assertIn("bad\\xff\\nname", listed)
                self.rescue("--extract", compression, *names, say=" extracted, 0 not")
                self.same(compression)

    def test_access_lists_and_attributes_come_back(self):
        a, deep = os.path.join(self.src, "a.txt"), os.path.join(self.src, "deep")
        r = subprocess.run(["setfacl", "-m", "u:1234:r,g:77:-,m::rx", a], capture_output=True, text=True)
        if r.returncode != 0:
            self.skipTest("no access lists here: " + r.stderr)
        subprocess.run(["setfacl", "-m", "d:u:4321:rwx,d:g:5:r", deep], check=True)
        os.setxattr(a, "user.note", b"\xffbytes")
        os.chmod(a, 0o440)
        names = [os.path.basename(v) for v in self.archive()]
        self.rescue("--extract", "to", *names, say=" extracted, 0 not")
        for path in a, deep:
            back = os.path.join(self.there("to"), os.path.relpath(path, self.src))
            self.assertEqual(sorted(os.listxattr(back)), sorted(os.listxattr(path)))
            for name in os.listxattr(path):
                self.assertEqual(os.getxattr(back, name), os.getxattr(path, name), name)
        self.same("to")

    def test_single_files_folders_and_patterns(self):
        names = [os.path.basename(v) for v in self.archive()]
        inside = self.src[1:]
        self.rescue("--extract", "one", "--only", inside + "/deep/er/b.bin", *names, say="1 extracted, 0 not")
        self.assertEqual(os.listdir(self.there("one")), ["deep"])
        self.rescue("--extract", "two", "--only", inside + "/deep", *names, say="3 extracted")
        self.rescue("--extract", "three", "--only", "*/a.txt", "--only", "*/twin", *names, say="2 extracted")
        self.rescue("--extract", "four", "--only", "*/twin", *names, status=1, say="hard link to")
        self.rescue("--extract", "five", "--only", "no/such", *names, status=1, say="is called no/such")
        self.assertEqual(len(self.rescue("--list", "--only", "*/b.bin", *names).stdout.splitlines()), 1)

    def test_nothing_there_is_replaced(self):
        names = [os.path.basename(v) for v in self.archive()]
        self.rescue("--extract", "to", *names)
        with open(os.path.join(self.there("to"), "a.txt"), "w") as f:
            f.write("mine")
        self.rescue("--extract", "to", *names, status=1, say="it is there already")
        with open(os.path.join(self.there("to"), "a.txt")) as f:
            self.assertEqual(f.read(), "mine")

    def test_a_link_in_the_target_is_not_followed(self):
        names = [os.path.basename(v) for v in self.archive()]
        os.makedirs(os.path.dirname(self.there("to")))
        os.mkdir(self.path("out"))
        os.symlink(self.path("out"), self.there("to"))
        self.rescue("--extract", "to", *names, status=1, say="a link stands in its way")
        self.assertEqual(os.listdir(self.path("out")), [])


class Lost(ExtractCase):
    def setUp(self):
        super().setUp()
        for i in range(1, 8):
            self.write("src/noise/%d" % i, os.urandom(20_000_000))

    def check(self, to, whole):
        """Every file that was extracted is right; `whole` of the seven large ones are there."""
        found = [n for n in os.listdir(os.path.join(self.there(to), "noise"))]
        for name in found:
            r = subprocess.run(["cmp", os.path.join(self.src, "noise", name), os.path.join(self.there(to), "noise", name)])
            self.assertEqual(r.returncode, 0, name)
        self.assertIn(len(found), whole, found)
        self.assertFalse([n for n in found if n.startswith(".rescue")])

    def test_a_lost_or_damaged_volume_costs_only_what_is_in_it(self):
        volumes = [os.path.basename(v) for v in self.archive("zstd")]
        # Where a volume ends depends on when it is known how much there is. Each of three holds two files or three; in
        # a fourth may be what is left over of the list.
        self.assertIn(len(volumes), (3, 4))
        manifest = os.path.basename(glob.glob(self.path("*.jsonl.xz.esdk"))[0])

        r = self.rescue("--extract", "middle", *volumes[:1:-1], volumes[0], status=1, say="MISSING: volume 2")
        self.check("middle", (2, 3, 4, 5))
        lost = re.findall(r"NOT EXTRACTED: .*/(noise/\d): volume 2 is missing", r.stderr)
        self.assertEqual(len(lost) + len(os.listdir(os.path.join(self.there("middle"), "noise"))), 7)

        self.rescue("--extract", "last", *volumes[:2], manifest, status=1, say="MISSING: volume 3")
        self.check("last", (4, 5, 6))

        # without any list the tar is searched for what is whole
        self.rescue("--extract", "blind", *volumes[:2], status=1, say="there is no list of what is in it")
        self.check("blind", (4, 5, 6))
        self.rescue("--extract", "blind2", volumes[1], status=1)
        self.check("blind2", (1, 2, 3))

        with open(self.path(volumes[1]), "r+b") as f:
            f.seek(30_000_000)
            f.write(b"damage")
        self.rescue("--extract", "damaged", *volumes, status=1, say="was altered or damaged")
        self.check("damaged", (5, 6))
        self.rescue("--list", *volumes[:2], status=1, say="--extract finds what is there")


if __name__ == "__main__":
    main()
