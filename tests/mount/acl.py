#!/usr/bin/python3
"""Access control lists in the staging area do what they do on the disk below: who may, what is inherited, what chmod and umask
leave of it; and they stay with a file from `cp -a` into the mount to the restored tree. Where the disk has none, there are none."""
import itertools
import os
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from mount import MountCase, Programs, main, until  # noqa: E402
from world import ANN, BOB, Compared  # noqa: E402

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
OWNER, USER, OWNING_GROUP, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NOBODY_ELSE = 0xffffffff
R, W, RW, NEW = os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_CREAT | os.O_EXCL


def acl(*entries):
    """(tag, permissions[, id]) each, as the kernel takes it."""
    v = [struct.pack("<HHI", e[0], e[1], e[2] if len(e) > 2 else NOBODY_ELSE) for e in entries]
    return (struct.pack("<I", 2) + b"".join(v)).decode("latin-1")


FOR_BOB = acl((OWNER, 6), (USER, 6, BOB), (OWNING_GROUP, 0), (MASK, 6), (OTHER, 0))
LISTS = {
    "plain": acl((OWNER, 6), (OWNING_GROUP, 4), (OTHER, 0)),
    "for bob": FOR_BOB,
    "not for bob": acl((OWNER, 7), (USER, 0, BOB), (OWNING_GROUP, 7), (MASK, 7), (OTHER, 7)),
    "masked": acl((OWNER, 7), (USER, 7, BOB), (OWNING_GROUP, 7), (GROUP, 7, 4242), (MASK, 1), (OTHER, 0)),
    "for a group": acl((OWNER, 7), (OWNING_GROUP, 0), (GROUP, 5, 4242), (GROUP, 2, BOB), (MASK, 7), (OTHER, 0)),
    "nothing": acl((OWNER, 0), (USER, 7, ANN), (OWNING_GROUP, 0), (MASK, 7), (OTHER, 0)),
}
BAD = {"cut": FOR_BOB[:-1], "no owner": acl((OWNING_GROUP, 4), (OTHER, 0)), "no mask": acl((OWNER, 6), (USER, 6, BOB), (OWNING_GROUP, 0), (OTHER, 0)),
       "twice": acl((OWNER, 6), (USER, 6, BOB), (USER, 6, BOB), (OWNING_GROUP, 0), (MASK, 6), (OTHER, 0)), "empty": "", "version": "\1\0\0\0", "none": "\2\0\0\0"}


class Acls(Compared):
    def setUp(self):
        super().setUp()
        try:
            os.setxattr(self.m.data, ACCESS, acl((OWNER, 7), (OWNING_GROUP, 0), (OTHER, 0)).encode("latin-1"))
        except OSError:
            self.skipTest("no ACLs on this disk")

    def entries(self, who="root", names=("n",)):
        self.w.after()
        for n, x in itertools.product(names, (ACCESS, DEFAULT)):
            self.w.do(who, "get", n, x)
            self.w.do(who, "listxattr", n)

    def test_who_may(self):
        w = self.w
        calls = [("open", "n", R), ("open", "n", W), ("open", "n", RW), ("access", "n", 1), ("access", "n", 2), ("access", "n", 4), ("list", "n"), ("mkdir", "n/x", 0o777), ("look", "n/x"),
                 ("truncate", "n", 1), ("times", "n", "now", "now"), ("chmod", "n", 0o777), ("get", "n", ACCESS), ("set", "n", ACCESS, FOR_BOB), ("removexattr", "n", ACCESS), ("set", "n", "user.a", "b")]
        for kind, name, owner, who in itertools.product(("file", "folder"), LISTS, (0, ANN), ("root", "ann", "bob")):
            w.fresh()
            w.make(kind, uid=owner, gid=owner)
            w.do("root", "set", "n", ACCESS, LISTS[name])
            for c in calls:
                w.do(who, *c)
            self.entries()

    def test_what_is_inherited(self):
        w = self.w
        for name, who, mask, mode in itertools.product(LISTS, ("root", "ann"), (0, 0o022, 0o077), (0o777, 0o644, 0o600)):
            w.fresh()
            w.do("root", "mkdir", "d", 0o777)
            w.do("root", "chmod", "d", 0o3777)
            w.do("root", "set", "d", DEFAULT, LISTS[name])
            w.do(who, "umask", mask)
            calls = [("open", "d/file", NEW | W, mode), ("mkdir", "d/dir", mode), ("mkfifo", "d/fifo", mode), ("mknod", "d/node", "f", mode, 0, 0), ("bind", "d/socket"),
                     ("mknod", "d/char", "c", mode, 1, 3), ("symlink", "x", "d/link"), ("mkdir", "d/dir/below", mode),
                     ("hold", "f", "d", W | os.O_TMPFILE, mode), ("link held", "f", "d/unnamed"), ("let go", "f")]
            for c in calls:
                w.do(who, *c)
            self.entries(names=("d", "d/file", "d/dir", "d/fifo", "d/node", "d/socket", "d/char", "d/link", "d/dir/below", "d/unnamed"))
            w.do(who, "umask", 0o022)

    def test_the_umask_counts_where_nothing_is_inherited(self):
        w = self.w
        for mask, first in itertools.product((0, 0o027, 0o777), (ACCESS, None)):
            w.fresh()
            w.do("root", "mkdir", "d", 0o777)
            if first:
                w.do("root", "set", "d", first, acl((OWNER, 7), (USER, 7, BOB), (OWNING_GROUP, 7), (MASK, 7), (OTHER, 7)))
            w.do("root", "umask", mask)
            for c in (("open", "d/file", NEW | W, 0o666), ("mkdir", "d/dir", 0o777), ("mkfifo", "d/fifo", 0o666), ("bind", "d/socket"), ("mknod", "d/char", "c", 0o666, 1, 3),
                      ("hold", "f", "d", W | os.O_TMPFILE, 0o666), ("link held", "f", "d/unnamed"), ("let go", "f")):
                w.do("root", *c)
            self.entries(names=("d/file", "d/dir", "d/unnamed"))
            w.do("root", "umask", 0o022)

    def test_lists_and_modes(self):
        """chmod changes the mask, a list changes the mode, and who is not in the group takes set-group-id away."""
        w = self.w
        for name, who, mode, owner, group in itertools.product(LISTS, ("root", "ann"), (0o2755, 0o600, 0o4070), (ANN, BOB), (ANN, BOB)):
            w.fresh()
            w.make("file", uid=owner, gid=group, mode=mode)
            w.do(who, "set", "n", ACCESS, LISTS[name])
            self.entries(who)
            for m in (0o700, 0o2777, 0o040):
                w.do(who, "chmod", "n", m)
                self.entries(who)
            w.do(who, "removexattr", "n", ACCESS)
            self.entries(who)

    def test_default_lists_are_for_folders(self):
        w = self.w
        for kind, x, flags in itertools.product(("file", "folder", "fifo", "link", "socket"), (ACCESS, DEFAULT), (0, 1, 2)):
            w.fresh()
            w.make(kind)
            w.do("root", "set", "n", x, FOR_BOB, flags)
            self.entries()
            w.do("root", "removexattr", "n", x)
            w.do("root", "removexattr", "n", x)
            self.entries()

    def test_nonsense_is_refused(self):
        w = self.w
        for name, x in itertools.product(BAD, (ACCESS, DEFAULT)):
            w.fresh()
            w.make("folder")
            w.do("root", "set", "n", x, BAD[name])
            self.entries()


def odd_lists(top):
    """A tree with lists on files and folders, made by setxattr alone: Debian's setfacl need not be there."""
    os.makedirs(top + "/d/e")
    for n in ("plain", "listed", "d/inherits", "d/e/below"):
        if n == "d/inherits":
            os.setxattr(top + "/d", DEFAULT, LISTS["masked"].encode("latin-1"))
        with open(os.path.join(top, n), "w") as f:
            f.write(n)
    os.setxattr(top + "/listed", ACCESS, FOR_BOB.encode("latin-1"))
    os.setxattr(top + "/d/e", ACCESS, LISTS["not for bob"].encode("latin-1"))
    os.setxattr(top + "/d/e", DEFAULT, LISTS["for a group"].encode("latin-1"))


def lists(top):
    out = {}
    for path, dirs, files in os.walk(top):
        for p in [path] + [os.path.join(path, f) for f in files]:
            out[os.path.relpath(p, top)] = (oct(os.stat(p).st_mode), {x: os.getxattr(p, x) for x in os.listxattr(p) if x in (ACCESS, DEFAULT)})
    return out


class Trees(MountCase):
    def setUp(self):
        super().setUp()
        self.source = os.path.join(self.folder, "source")
        try:
            odd_lists(self.source)
        except OSError:
            self.skipTest("no ACLs on this disk")

    def test_lists_come_along_and_come_back(self):
        m = self.mount()
        wanted = lists(self.source)
        self.assertEqual(sum(len(v[1]) for v in wanted.values()), 5)
        ways = [["cp", "-a", "source", m.point]] + ([["rsync", "-aHAX", "source", m.point]] if shutil.which("rsync") else [])
        for command in ways:
            subprocess.run(command, cwd=self.folder, check=True)
            self.assertEqual(lists(m.path("source")), wanted, command)
            m.commit()
            m.wait("stored")
            back = tempfile.mkdtemp(dir=self.folder)
            subprocess.run([Programs.cli, "restore", "latest", "--to", back], env=m.environment(), check=True, stdout=subprocess.DEVNULL)
            self.assertEqual(lists(back + "/source"), wanted)

    def test_capabilities_come_along(self):
        if os.geteuid() != 0:
            self.skipTest("root's to give")
        m = self.mount()
        can = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
        p = m.write("program", "x")
        self.refused("ENODATA", os.getxattr, p, "security.capability")
        os.setxattr(self.source + "/plain", "security.capability", can)
        subprocess.run(["cp", "-a", self.source + "/plain", m.path("copy")], check=True)
        self.assertEqual(os.getxattr(m.path("copy"), "security.capability"), can)
        os.setxattr(p, "security.capability", can)
        self.assertEqual(os.getxattr(p, "security.capability"), can)
        with open(p, "a") as f:
            f.write("who writes takes them away")
        self.refused("ENODATA", os.getxattr, p, "security.capability")
        m.commit()
        m.wait("stored")
        self.refused("ENODATA", os.getxattr, m.write("program", "x"), "security.capability")


class Without(MountCase):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "ramfs", "ramfs", self.folder], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("cannot mount a ramfs")
        self.addCleanup(subprocess.run, ["umount", "-l", self.folder])

    def test_on_a_disk_without_lists_there_are_plainly_none(self):
        m = self.mount()
        p = m.write("a", "x")
        self.refused("ENOTSUP", os.setxattr, p, ACCESS, FOR_BOB.encode("latin-1"))
        self.refused("ENOTSUP", os.getxattr, p, ACCESS)
        old = os.umask(0o027)
        self.addCleanup(os.umask, old)
        os.mkdir(m.path("d"), 0o777)
        self.assertEqual(oct(os.stat(m.path("d")).st_mode & 0o777), "0o750")
        m.clean()

    def test_a_link_opens_nothing_that_a_list_elsewhere_forbids(self):
        away = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, away)
        os.chmod(away, 0o755)
        for name, forbidden in (("open", False), ("secret", True)):
            os.makedirs(os.path.join(away, name))
            with open(os.path.join(away, name, "file"), "w") as f:
                f.write("text")
            try:
                for p in (name, name + "/file") if forbidden else ():
                    os.setxattr(os.path.join(away, p), ACCESS, LISTS["not for bob"].encode("latin-1"))
            except OSError:
                self.skipTest("no ACLs on this disk")
        store = os.path.join(self.folder, "store")
        os.mkdir(store)
        m = self.mount({"VAULT": "dir:" + store})
        os.rename(store, store + ".away")
        for p in (self.folder, m.folder):
            os.chmod(p, 0o755)
        for name in ("open", "secret"):
            os.symlink(os.path.join(away, name), m.path(name))
            os.symlink(os.path.join(away, name, "file"), m.path(name + "-file"))
        archive = m.commit()
        m.wait("waiting")
        code = "import os, sys; os.setgroups([]); os.setgid(%d); os.setuid(%d); os.chdir(sys.argv[1]); %%s" % (BOB, BOB)
        for name, wanted in (("open", 0), ("secret", 1)):
            for what in ("os.listdir('%s')", "open('%s-file').read()"):
                r = subprocess.run([sys.executable, "-c", code % (what % name), m.path("archives", archive, "files")], capture_output=True, text=True)
                self.assertEqual(r.returncode, wanted, (name, what, r.stderr))
                self.assertEqual("Permission denied" in r.stderr, wanted == 1, r.stderr)
        m.sh("echo yes > archives/%s/.abort" % archive)
        until(lambda: os.path.islink(m.path("secret")), "it is back")


if __name__ == "__main__":
    main()
