"""What power cut tests share: a daemon that dies at a named point, and a disk that has only what was synced."""
import os
import shutil
import subprocess

from crash import CrashCase
from mount import BUILD, LONG_AGO, skip_all

LIBRARY = os.path.join(BUILD, "tests", "mount", "libpowercut.so")


def require():
    if not os.path.exists(LIBRARY):
        skip_all(LIBRARY)
    if os.environ.get("AUTOGLACIER_SANITIZED"):
        skip_all("a program without sanitizers, which want to be loaded before anything else")
    if os.geteuid() != 0:
        skip_all("root, for files of mode 000 and owners")


def key_of(path):
    out = subprocess.run(["stat", "-c", "%i %W %w", path], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return "%x-%x-%x" % (int(out[0]), int(out[1]), int(out[3].split(".")[1]))


def rebuild(disk, key, target, inodes):
    """The folder `key` as it is on the disk."""
    os.mkdir(target)
    listing = os.path.join(disk, key + ".d")
    if not os.path.exists(listing):
        return  # the name was synced, the folder never
    with open(listing, "rb") as f:
        fields = f.read().split(b"\0")[:-1]
    for below, kind, name, text in zip(*[iter(fields)] * 4):
        path = os.path.join(os.fsencode(target), name)
        below = below.decode()
        if kind == b"d":
            rebuild(disk, below, path, inodes)
        elif kind == b"l":
            os.symlink(text, path)
            os.utime(path, ns=LONG_AGO, follow_symlinks=False)  # of the source; not kept by the library
        elif kind == b"p":
            os.mkfifo(path)
        elif kind == b"f" and below in inodes:
            os.link(inodes[below], path)
        elif kind == b"f":
            if os.path.exists(os.path.join(disk, below)):
                copy(os.path.join(disk, below), path)
            else:
                open(path, "w").close()  # the name was synced, the bytes never
            inodes[below] = path
    attributes(listing, target)


def copy(a, b):
    shutil.copyfile(a, b)
    attributes(a, b)


def attributes(a, b):
    for name in os.listxattr(a):
        if name.startswith("user."):
            os.setxattr(b, name, os.getxattr(a, name))
    st = os.stat(a)
    os.chmod(b, st.st_mode & 0o7777)
    os.utime(b, ns=(st.st_atime_ns, st.st_mtime_ns))


class PowerCutCase(CrashCase):
    def cut(self, m, point, before=lambda: None):
        """Runs until the point with the library, and puts the disk in the place of what was there."""
        disk = os.path.join(m.folder, "disk")
        os.mkdir(disk)
        top = key_of(m.home)
        m.start(AUTOGLACIER_CRASH_AT=point, LD_PRELOAD=LIBRARY, POWERCUT_ROOT=m.home, POWERCUT_DISK=disk)
        before()
        self.commit_and_die(m)
        os.rename(m.home, m.home + ".gone")
        rebuild(disk, top, m.home, {})
        for path in (disk, m.home + ".gone"):
            shutil.rmtree(path)
