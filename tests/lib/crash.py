"""What crash tests share: a tree to stage, a daemon that dies at a named point, and what must hold afterwards."""
import os
import random
import signal
import stat
import subprocess

from mount import MountCase, make_old, until

CONFIG = {"COMPRESSION": "gzip", "VOLUME_SIZE": 16 << 20}


def make_source(top, seed=1, big=(20 << 20, 1 << 20)):
    """Some folders of small files, and files large enough for two volumes."""
    rng = random.Random(seed)
    for d in range(3):
        os.makedirs("%s/d%d/sub" % (top, d))
        for f in range(8):
            with open("%s/d%d/%sf%d" % (top, d, "sub/" if f % 3 == 0 else "", f), "wb") as out:
                out.write(rng.randbytes(rng.choice((0, 10, 5000))))
    for i, size in enumerate(big):
        with open("%s/big%d" % (top, i), "wb") as out:
            out.write(rng.randbytes(size))
    os.link(top + "/big1", top + "/d0/again")
    os.symlink("big1", top + "/link")
    os.chmod(top + "/d1/f1", 0o600)
    os.setxattr(top + "/d1", "user.x", b"y")
    make_old(top)


class CrashCase(MountCase):
    def setUp(self):
        super().setUp()
        self.source = os.path.join(self.folder, "source")
        make_source(self.source)

    def stage(self, m, special=True):
        subprocess.run(["cp", "-a", self.source, m.point], check=True)
        if special:  # something that has to go back
            os.mkfifo(m.path("fifo"))

    def commit_and_die(self, m, text="crash"):
        """Commits and lets the daemon die; the program that commits may see it or not."""
        try:
            fd = os.open(m.path(".commit"), os.O_WRONLY)
            try:
                os.write(fd, (text + "\n").encode())
            finally:
                os.close(fd)
        except OSError:
            pass
        until(lambda: m.process.poll() is not None, "the daemon does not come to that point")
        self.assertEqual(m.wait_end(), -signal.SIGKILL, m.said())

    def finish(self, m, special=True):
        """After a new start: what was not committed is committed, and everything ends as if nothing had happened."""
        if not m.archives():
            self.same_tree(self.source, m.path("source"))
            m.commit("again")
        self.assertEqual(len(m.archives()), 1)
        m.wait("incomplete" if special else "stored")
        self.same_tree(self.source, m.restore() + "/source")
        if special:
            until(lambda: os.path.lexists(m.path("fifo")) and stat.S_ISFIFO(os.lstat(m.path("fifo")).st_mode), "the FIFO is back")
        until(lambda: not self.rest(m), lambda: "left over: %s" % self.rest(m))
        self.assertFalse(os.path.lexists(m.path("source")))

    @staticmethod
    def rest(m):
        """What is left of the work: nothing but the FIFO in the staging area."""
        return [p for p in m.leftovers() if not p.endswith("/current/fifo")]


