#!/usr/bin/python3
"""The staging area behaves as the filesystem below it: the same random operations on both, by several users at once."""
import ctypes
import errno
import os
import random
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from actor import Actor  # noqa: E402
from mount import MountCase, main  # noqa: E402

LIBC = ctypes.CDLL(None, use_errno=True)
NAMES = ["a", "b", "c", "ä b", "x" * 255]
SEEDS = range(1, 401 if os.environ.get("AUTOGLACIER_LONG") else 21)
STEPS = 300


def renameat2(a, b, flags):
    if LIBC.renameat2(-100, a.encode(), -100, b.encode(), flags) < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def fallocate(fd, mode, off, length):
    if LIBC.fallocate(fd, mode, ctypes.c_long(off), ctypes.c_long(length)) < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def look(path, how=os.lstat):
    st = how(path)
    size = 0 if stat.S_ISDIR(st.st_mode) else st.st_size
    links = 0 if stat.S_ISDIR(st.st_mode) else st.st_nlink
    return [oct(st.st_mode), st.st_uid, st.st_gid, links, size, st.st_rdev]


def with_file(path, flags, mode, fn):
    fd = os.open(path, flags | os.O_NONBLOCK, mode)  # a FIFO would wait for its other end
    try:
        return fn(fd)
    finally:
        os.close(fd)


def seek(fd, off):
    if not stat.S_ISREG(os.fstat(fd).st_mode):  # folders and devices answer as they like
        return None
    out = []
    for whence in (os.SEEK_DATA, os.SEEK_HOLE):
        try:
            out.append(os.lseek(fd, off, whence))
        except OSError as e:
            out.append(errno.errorcode[e.errno])
    return out


def set_times(path, a, m):
    os.utime(path, ns=(a, m), follow_symlinks=False)
    st = os.lstat(path)
    return [st.st_mtime_ns] if not stat.S_ISLNK(st.st_mode) else []


def write(fd, off, n):
    os.pwrite(fd, b"w" * n, off)
    return oct(os.fstat(fd).st_mode)


def truncate_open(fd, n):
    os.ftruncate(fd, n)
    return oct(os.fstat(fd).st_mode)


OPERATIONS = {
    "create": lambda p, mode: with_file(p, os.O_CREAT | os.O_WRONLY, mode, lambda fd: None),
    "create new": lambda p, mode: with_file(p, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode, lambda fd: None),
    "create truncated": lambda p, mode: with_file(p, os.O_CREAT | os.O_TRUNC | os.O_RDWR, mode, lambda fd: None),
    "write": lambda p, off, n: with_file(p, os.O_WRONLY, 0, lambda fd: write(fd, off, n)),
    "append": lambda p: with_file(p, os.O_WRONLY | os.O_APPEND, 0, lambda fd: os.write(fd, b"appended")),
    "read": lambda p: with_file(p, os.O_RDONLY, 0, lambda fd: len(os.read(fd, 100000))),
    "truncate": lambda p, n: (os.truncate(p, n), oct(os.stat(p).st_mode))[1],
    "ftruncate": lambda p, n: with_file(p, os.O_WRONLY, 0, lambda fd: truncate_open(fd, n)),
    "fallocate": lambda p, mode, off, n: with_file(p, os.O_WRONLY, 0, lambda fd: fallocate(fd, mode, off, n)),
    "seek": lambda p, off: with_file(p, os.O_RDONLY, 0, lambda fd: seek(fd, off)),
    "chmod": lambda p, mode: os.chmod(p, mode),
    "chown": lambda p, uid, gid: os.chown(p, uid, gid, follow_symlinks=False),
    "mkdir": lambda p, mode: os.mkdir(p, mode),
    "rmdir": os.rmdir,
    "unlink": os.unlink,
    "rename": lambda p, q, flags: renameat2(p, q, flags),
    "link": lambda p, q: os.link(p, q, follow_symlinks=False),
    "symlink": lambda p, text: os.symlink(text, p),
    "readlink": os.readlink,
    "mkfifo": lambda p, mode: os.mkfifo(p, mode),
    "mknod": lambda p, mode: os.mknod(p, mode | stat.S_IFCHR, os.makedev(1, 3)),
    "setxattr": lambda p, n, size, flags: os.setxattr(p, "user." + n, b"v" * size, flags, follow_symlinks=False),
    "getxattr": lambda p, n: len(os.getxattr(p, "user." + n, follow_symlinks=False)),
    "removexattr": lambda p, n: os.removexattr(p, "user." + n, follow_symlinks=False),
    "listxattr": lambda p: sorted(n for n in os.listxattr(p, follow_symlinks=False) if n.startswith("user.")),
    "times": set_times,
    "times now": lambda p: os.utime(p),
    "stat": look,
    "list": lambda p: sorted(os.listdir(p)),
    "access": lambda p, how: os.access(p, how),
}


def choose(rng):
    """One random operation: name, relative paths and other arguments."""
    def path():
        return "/".join(rng.choice(NAMES) for _ in range(rng.choice((1, 1, 1, 2, 2, 3))))

    def mode():
        return rng.choice((0o600, 0o644, 0o666, 0o777, 0o755, 0o700, 0o000, 0o4755, 0o2755, 0o6777, 0o2770, 0o1777, 0o2777))

    def who():
        return rng.choice((-1, 0, 65534, 65533, 4242))

    small = rng.choice((0, 1, 100, 4096, 5000, 70000))
    name = rng.choice(list(OPERATIONS) + ["create", "mkdir", "write", "chmod", "rename", "create", "mkdir"])
    args = {
        "create": lambda: [mode()], "create new": lambda: [mode()], "create truncated": lambda: [mode()],
        "write": lambda: [small, rng.choice((0, 1, 5000))], "truncate": lambda: [small], "ftruncate": lambda: [small],
        "fallocate": lambda: [rng.choice((0, 1, 3)), rng.choice((0, 4096)), rng.choice((1, 4096, 10000))],
        "seek": lambda: [small], "chmod": lambda: [mode()], "chown": lambda: [who(), who()], "mkdir": lambda: [mode()],
        "symlink": lambda: [rng.choice(("a", "b/c", "/nowhere", "c"))], "mkfifo": lambda: [mode()],
        "mknod": lambda: [mode()], "setxattr": lambda: [rng.choice("pq"), rng.choice((0, 10, 300)), rng.choice((0, 1, 2))],
        "getxattr": lambda: [rng.choice("pq")], "removexattr": lambda: [rng.choice("pq")],
        "times": lambda: [rng.randrange(1, 2 * 10**18), rng.randrange(1, 2 * 10**18)], "access": lambda: [rng.choice((1, 2, 4, 6))],
    }.get(name, list)()
    second = {"rename": lambda: [path(), rng.choice((0, 0, 1, 2))], "link": lambda: [path()]}.get(name)
    return name, path(), (second() if second else []), args


def seen(path, how=os.lstat):
    try:
        return look(path, how)
    except OSError as e:
        return errno.errorcode[e.errno]


def whole(top):
    out = {}
    for path, dirs, files in os.walk(top):
        for n in dirs + files:
            p = os.path.join(path, n)
            rel = os.path.relpath(p, top)
            out[rel] = seen(p)
            if os.geteuid() == 0 and stat.S_ISREG(os.lstat(p).st_mode):
                with open(p, "rb") as f:
                    out[rel].append(f.read())
                out[rel].append({x: os.getxattr(p, x) for x in os.listxattr(p) if x.startswith("user.")})
    return out


def remove(top):
    subprocess.run(["chmod", "-R", "u+rwx", top], stderr=subprocess.DEVNULL)
    subprocess.run(["rm", "-rf", top], check=True)


class Compare(MountCase):
    def compare(self, m, seed, actors):
        rng = random.Random(seed)
        here, there = m.path("top"), os.path.join(m.home, "beside")
        done = []
        for top in (here, there):
            os.mkdir(top)
            os.chmod(top, 0o1777 if len(actors) > 1 else 0o755)
        for step in range(STEPS):
            who = rng.randrange(len(actors))
            name, path, more, args = choose(rng)
            answers = [actors[who].do(name, [os.path.join(top, path)] + [os.path.join(top, m_) if isinstance(m_, str) else m_
                                                                         for m_ in more] + args) for top in (here, there)]
            done.append((who, name, path[:20], more, args, answers[1]))
            # A mount is nodev: its devices cannot be opened, whatever the disk says.
            device = str(seen(os.path.join(here, path), os.stat)[0]).startswith("0o2")
            after = [seen(os.path.join(top, path)) for top in (here, there)]
            if answers[0] != answers[1] and not (device and answers[0] == ["error", "EACCES"]) or after[0] != after[1]:
                self.fail("seed %d, step %d: the mount says %s, the disk %s; the entry is %s and %s, its folder %s; lately:\n%s" % (
                    seed, step, *answers, *after,
                    seen(os.path.dirname(os.path.join(there, path))), "\n".join(map(str, done[-12:]))))
        self.assertEqual(whole(here), whole(there), "seed %d" % seed)
        for top in (here, there):
            remove(top)

    def test_random_operations_do_the_same_as_below(self):
        m = self.mount()
        root = os.geteuid() == 0
        people = ((0, 0, [0]), (65534, 65534, [65534]), (65533, 65533, [65534])) if root else ((0, 0, []),)
        actors = [Actor(OPERATIONS, *ids) for ids in people]
        if root:  # the way to the tree beside is open to all, as that through the mount is
            for p in (self.folder, m.folder, m.home):
                os.chmod(p, 0o755)
        try:
            for seed in SEEDS:
                with self.subTest(seed=seed):
                    self.compare(m, seed, actors)
                for top in (m.path("top"), os.path.join(m.home, "beside")):
                    remove(top)
        finally:
            for a in actors:
                a.end()


if __name__ == "__main__":
    main()
