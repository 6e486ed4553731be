#!/usr/bin/python3
"""Real trees: what was copied into the mount, or linked there, comes back as it was, as diff and rsync see it.

With AUTOGLACIER_LONG=1 also all of /usr/lib, and a file of 12 GiB that does not compress, over several volumes.
"""
import hashlib
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from mount import MountCase, Programs, main, until  # noqa: E402

LONG = os.environ.get("AUTOGLACIER_LONG") == "1"
HOURS = 4 * 3600
GIB = 1 << 30
# Symlinks, hard links and programs, but not the gigabytes that a machine for building has.
PARTS_OF_LIB = ["/usr/lib/git-core", "/usr/lib/python3", "/usr/lib/udev", "/usr/lib/systemd", "/usr/lib/tmpfiles.d"]

ODD = r"""mkdir -p odd/d/e && cd odd && echo hello >d/f && ln d/f d/e/h && ln -s f d/l && ln -s /nowhere dangling
: >empty && truncate -s 3M holes && printf x | dd of=holes bs=1 seek=2000000 conv=notrunc status=none
printf y >"$(printf 'a\nline')" && printf z >"$(printf 'bad\377\376')" && printf z >"$(printf '\303\244\342\202\254')"
printf 7 >"$(printf %0255d 7)" && echo secret >shut && echo run >d/run && chmod 4755 d/run && chmod 1777 d/e
setfattr -n user.colour -v green d/f && touch -d '1969-12-31 23:59:58.5' d/f && touch -h -d '2001-01-01 01:01:01.1' dangling
chmod 000 shut && touch -d '1999-09-09 09:09:09.9' d/e d ."""


class Trees(MountCase):
    def sh(self, script, *args):
        r = subprocess.run(["sh", "-euc", script, "sh", *args], cwd=self.folder, stdin=subprocess.DEVNULL, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="surrogateescape")
        self.assertEqual(r.returncode, 0, r.stdout[-4000:])
        return r.stdout

    def identical(self, source, restored):
        # An ordinary user owns what was restored, and cannot open what nobody may.
        mine = os.geteuid() == 0
        self.assertEqual(self.sh("diff -r --no-dereference %s \"$1\" \"$2\"" % ("" if mine else "--exclude=shut"),
                                 source, restored), "")
        keep = ["-aHAXnc"] if mine else ["-rlptHXnc", "--exclude=shut"]
        self.assertEqual(self.sh("rsync \"$@\" --itemize-changes --delete", *keep, source + "/", restored + "/"), "")

    def stored(self, m, words):
        name = m.commit(words)
        until(lambda: m.state(name) == "stored", lambda: "%s: %s" % (m.state(name), m.text("log", name)), HOURS)
        m.settled()
        return name

    def restored(self, m, name):
        to = os.path.join(self.folder, "restored")
        shutil.rmtree(to, ignore_errors=True)
        subprocess.run([Programs.cli, "restore", name, "--to", to], env=m.environment(), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return to

    def test_the_documentation_of_this_machine_comes_back_when_copied(self):
        m = self.mount({"COMPRESSION": "lzma" if LONG else "zstd"})
        self.sh("cp -a /usr/share/doc \"$1\"", m.point)
        to = self.restored(m, self.stored(m, "documentation"))
        self.identical("/usr/share/doc", to + "/doc")

    def test_parts_of_the_system_come_back_when_linked(self):
        m = self.mount({"COMPRESSION": "lzma" if LONG else "zstd"})
        parts = ["/usr/lib"] if LONG else [p for p in PARTS_OF_LIB if os.path.isdir(p)]
        for p in parts:
            os.symlink(p, m.path(os.path.basename(p)))
        to = self.restored(m, self.stored(m, "system"))
        for p in parts:
            with self.subTest(p):
                self.identical(p, os.path.join(to, os.path.basename(p)))

    def test_odd_names_holes_and_modes_come_back_when_synchronised(self):
        m = self.mount()
        self.sh(ODD)
        source = os.path.join(self.folder, "odd")
        if os.geteuid() == 0:
            self.sh("rsync -aHAX odd \"$1\"", m.point)
        else:  # who may not read it cannot copy it; that its owner's daemon can, freeze.py shows
            self.sh("rsync -aHX --exclude=shut odd \"$1\"", m.point)
        to = self.restored(m, self.stored(m, "odd"))
        self.identical(source, to + "/odd")

    @unittest.skipUnless(LONG, "a file of 12 GiB: AUTOGLACIER_LONG is not set")
    def test_a_file_larger_than_several_volumes_comes_back(self):
        if shutil.disk_usage(self.folder).free < 40 * GIB:
            self.skipTest("40 GiB of room in " + self.folder)
        m = self.mount({"VOLUME_SIZE": "5GiB"})
        self.sh("head -c %d /dev/zero | openssl enc -aes-128-ctr -nosalt -K %032d -iv %032d >big" % (12 * GIB, 1, 2))
        big = os.path.join(self.folder, "big")
        with open(big, "rb") as f:
            wanted = hashlib.file_digest(f, "sha512").hexdigest()
        os.symlink(big, m.path("big"))
        name = self.stored(m, "big")
        self.assertEqual(len(m.volumes(name)), 3)
        os.unlink(big)
        self.assertEqual(m.text("SHA512SUMS", name).split()[0], wanted)
        with open(os.path.join(self.restored(m, name), "big"), "rb") as f:
            self.assertEqual(hashlib.file_digest(f, "sha512").hexdigest(), wanted)


if __name__ == "__main__":
    main()
