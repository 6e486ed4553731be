"""restore: everything identical, single files by range, killed at any moment and repeated."""
import os
import random
import re
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from cli import PATIENCE, CliCase, Programs, main  # noqa: E402

LONG = os.environ.get("AUTOGLACIER_LONG") == "1"


class RestoreCase(CliCase):
    def setUp(self):
        super().setUp()
        self.keys()
        self.config('{"COMPRESSION": "none"}')

    def sh(self, command):
        r = subprocess.run(["sh", "-euc", command], cwd=self.folder, capture_output=True, text=True,
                           errors="surrogateescape", timeout=PATIENCE)
        self.assertEqual(r.returncode, 0, command + r.stdout + r.stderr)
        return r.stdout

    def identical(self, a, b):
        self.assertEqual(self.sh(f"rsync -aHAXnc --itemize-changes --delete {a}/ {b}/"), "")


class Whole(RestoreCase):
    def test_a_tree_of_everything_comes_back_identical(self):
        self.sh(r"""mkdir -p src/d/e && cd src && echo hello >d/f && ln d/f d/e/h && ln -s f d/l && ln -s /nowhere dangling
            : >empty && truncate -s 3M holes && printf x | dd of=holes bs=1 seek=2000000 conv=notrunc status=none
            echo y >"$(printf 'bad\377\nname')" && echo z >"$(printf %0255d 7)" && echo secret >shut && chmod 0$(($(id -u) ? 400 : 0)) shut
            mkfifo pipe && rm pipe && chmod 1777 d/e && chmod 4711 empty && setfattr -n user.x -v y d/f
            setfacl -m u:1:rw d/f && setfacl -m d:g:2:rx d && touch -d '1969-12-31 23:59:58.5' d/f
            touch -h -d '2001-01-01 01:01:01.000000001' dangling && touch -d '1999-09-09 09:09:09.9' d/e d .""")
        self.ag("backup", "-m", "words", "src", status=3, say="1 warning")  # of links that lead outside
        self.ag("restore", "latest", "--to", "to")
        self.identical("src", "to" + self.path("src"))

    def test_what_is_in_the_way_is_named_with_a_way_around(self):
        self.sh("mkdir -p src/d to; echo x >src/d/f")
        self.ag("backup", "-m", "words", "src")
        there = "to" + self.path("src")
        self.sh(f"mkdir -p {there}/d/f")
        self.ag("restore", "latest", "--to", "to", status=1, say="as a folder; it was left as it is; name another folder")
        self.ag("restore", "latest", "--to", "to", "--overwrite", status=1, say="as a folder; it was left as it is; move it away")
        self.sh(f"rm -r {there}/d; ln -s / {there}/d")
        self.ag("restore", "latest", "--to", "to", status=1, say="is a link, which is not followed; name another folder")
        self.sh(f"rm {there}/d; echo mine >{there}/d")
        self.ag("restore", "latest", self.path("src/d/f"), "--to", "to", "--overwrite", status=1,
                say="is not a folder; move it away")
        self.assertEqual(self.sh(f"cat {there}/d"), "mine\n")

    @unittest.skipIf(os.geteuid() != 0, "files of others keep their group only for root")
    def test_parts_of_the_system_come_back_identical(self):
        for tree in ("/usr/share/zoneinfo/Europe", "/usr/share/doc/libc6", "/usr/include/linux", "/etc/alternatives"):
            if os.path.isdir(tree):
                with self.subTest(tree):
                    name = self.ag("backup", "-m", "words", tree, status=None).out.strip()
                    self.ag("restore", name)
                    self.identical(tree, name + tree)


class ByRange(RestoreCase):
    def test_one_file_fetches_little_and_says_how_much(self):
        self.sh("mkdir src && for i in 1 2 3 4 5 6; do head -c 12000000 /dev/urandom >src/$i; done; "
                "head -c 1000000 /dev/urandom >src/3b")
        self.backup("src")
        r = self.ag("restore", "latest", self.path("src/3b")[1:], "--to", "to")
        m = re.search(r"restored 1 file, 1\.0 MB \(fetched ([0-9.]+) MB\)", r.err)
        self.assertTrue(m, r.err)
        self.assertLess(float(m[1]), 40)
        self.sh("cmp src/3b to" + self.path("src/3b"))


class Killed(RestoreCase):
    def test_killed_at_any_moment_and_repeated_all_is_there_and_no_litter(self):
        self.sh("mkdir -p src/d && for i in $(seq 300); do head -c $((i * 700)) /dev/urandom >src/d/$i; done; "
                "ln -s 1 src/d/link; ln src/d/2 src/d/twin; touch -d @7 src/d")
        self.backup("src")
        chance = random.Random(7)
        killed = 0
        for _ in range(100 if LONG else 12):
            p = subprocess.Popen([Programs.cli, "restore", "latest", "--to", "to", "--overwrite"], cwd=self.folder,
                                 env=self.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(chance.uniform(0, 0.25))  # any moment will do, also after the end
            p.send_signal(signal.SIGKILL)
            killed += p.wait(PATIENCE) == -signal.SIGKILL
            for folder, _, names in os.walk(self.path("to")):  # whatever has its name is whole
                for name in names:
                    there = os.path.join(folder, name)
                    if name.startswith(".autoglacier-") or os.path.islink(there):
                        continue
                    self.sh(f"cmp '{there}' '/{os.path.relpath(there, self.path('to'))}'")
                    break
        self.ag("restore", "latest", "--to", "to", "--overwrite")
        self.identical("src", "to" + self.path("src"))
        self.assertEqual(self.sh("find to -name '.autoglacier-*'"), "")
        print("killed %d times" % killed)


if __name__ == "__main__":
    main()
