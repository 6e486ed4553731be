"""One folder in the mount and one on the disk below it, and people who make the same calls in both.

    class Some(Compared):
        def test_a_fifo_can_be_removed(self):
            w = self.w
            w.fresh()
            w.make("fifo", "n", uid=ANN)
            w.do("bob", "unlink", "n")
            w.after()

Whatever the mount answers otherwise than the disk fails the test when it is over.
"""
import os
import time

from actor import Actor
from calls import OPERATIONS
from mount import MountCase

PEOPLE = {"root": (0, 0, [0]), "ann": (65534, 65534, [65534, 4242]), "bob": (65533, 65533, [65533])}
ANN, BOB = 65534, 65533
SHOWN = 8  # differences
CREATE, NEW, W = os.O_CREAT, os.O_EXCL | os.O_CREAT, os.O_WRONLY


def short(a):
    return a if not isinstance(a, str) or len(a) < 60 else "%s… (%d)" % (a[:20], len(a))


class World:
    """One folder in the mount, one on the disk, and people who do the same in both."""

    def __init__(self, here, there):
        self.tops = (here, there)
        root = os.geteuid() == 0
        people = PEOPLE if root else {"me": (0, 0, [])}
        self.actors = {who: [Actor(OPERATIONS, *ids, top) for top in self.tops] for who, ids in people.items()}
        self.me = None if root else "me"
        self.where = {}
        self.n = 0
        self.calls = 0
        self.done = []
        self.differences = []

    def end(self):
        for pair in self.actors.values():
            for a in pair:
                a.end()

    def fresh(self, mode=0o777, uid=0, gid=0):
        """A new folder on both sides, and the people go there."""
        self.n += 1
        self.done = []
        for top in self.tops:
            path = os.path.join(top, str(self.n))
            os.mkdir(path)
            if os.geteuid() == 0:
                os.chown(path, uid, gid)
            os.chmod(path, mode)
        return self

    def both(self, who, name, *args):
        who = self.me or who
        pair = self.actors[who]
        if self.where.get(who) != self.n:
            self.where[who] = self.n
            for a, top in zip(pair, self.tops):
                a.do("chdir", [os.path.join(top, str(self.n))])
        self.calls += 1
        return [a.do(name, list(args)) for a in pair]

    def do(self, who, name, *args):
        here, there = self.both(who, name, *args)
        self.done.append("%s: %s%r = %s" % (who, name, tuple(short(a) for a in args), there))
        if here != there:
            self.differences.append("%s\n        but in the mount %s" % ("\n        ".join(self.done[-9:]), here))
        return there

    def make(self, kind, name="n", who="root", mode=None, uid=None, gid=-1):
        """An entry of a kind, not part of what is compared."""
        calls = {"file": [("open", name, NEW | W, 0o644), ("write", name, "content")], "folder": [("mkdir", name, 0o755)],
                 "full folder": [("mkdir", name, 0o755), ("mkdir", name + "/in", 0o755)], "fifo": [("mkfifo", name, 0o644)],
                 "char": [("mknod", name, "c", 0o644, 1, 3)], "block": [("mknod", name, "b", 0o644, 1, 3)], "socket": [("bind", name)],
                 "link": [("open", "target", CREATE | W), ("symlink", "target", name)], "dangling": [("symlink", "nowhere", name)],
                 "loop": [("symlink", name, name)], "none": []}[kind]
        for c in calls:
            self.do(who, *c)
        if uid is not None:
            self.do("root", "lchown", name, uid, gid)
        if mode is not None and kind not in ("link", "dangling", "loop", "none"):
            self.do("root", "chmod", name, mode)

    def tick(self):
        """Waits until the clock of the filesystem has gone on, which stands still for some milliseconds, or longer."""
        path = os.path.join(self.tops[1], "tick")

        def now():
            with open(path, "w"):
                os.utime(path)
            return os.stat(path).st_mtime_ns

        before = now()
        while now() == before:
            time.sleep(0.001)

    def after(self):
        """What is there now."""
        self.do("root", "whole")


class Compared(MountCase):
    """self.m, a mount, and self.w, the world in it."""

    def setUp(self):
        super().setUp()
        self.m = m = self.mount()
        here, there = m.path("top"), os.path.join(m.home, "beside")
        for p in (self.folder, m.folder, m.home):
            os.chmod(p, 0o755)
        for top in (here, there):
            os.mkdir(top)
            os.chmod(top, 0o777)
        self.w = World(here, there)
        self.addCleanup(self.w.end)

    def tearDown(self):
        w = self.w
        self.assertGreater(w.calls, 7)
        if w.differences:
            self.fail("%d of %d calls differ; the first:\n%s" % (len(w.differences), w.calls, "\n".join(w.differences[:SHOWN])))
        super().tearDown()
