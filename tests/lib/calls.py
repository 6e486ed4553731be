"""System calls as operations for actors (actor.py): relative paths and numbers in, plain values out, errno by name."""
import ctypes
import errno
import mmap
import os
import resource
import socket
import stat
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2

held = {}  # open descriptors, by a name of the test's
times = {}  # times of entries when they were last asked for


def check(result):
    if result < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return result


def raw(path):
    return os.fsencode(path)


def look(path):
    """What must be alike; a folder's size is the filesystem's own business."""
    st = os.lstat(path)
    return [oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, 0 if stat.S_ISDIR(st.st_mode) else st.st_size, st.st_rdev]


def names_in_steps(path, size):
    """What a folder holds, read in steps of at most so many bytes."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    buf = ctypes.create_string_buffer(size)
    out = []
    try:
        while (n := check(LIBC.getdents64(fd, buf, size))) > 0:
            at = 0
            while at < n:
                length = int.from_bytes(buf.raw[at + 16:at + 18], sys.byteorder)
                out.append(os.fsdecode(buf.raw[at + 19:at + length].split(b"\0")[0]))
                at += length
    finally:
        os.close(fd)
    return sorted(out)


def whole(top="."):
    """Every entry below, also the kind that reading the folder gives."""
    out = {}
    for path, dirs, files in os.walk(top):
        with os.scandir(path) as it:
            for e in it:
                out[os.path.relpath(e.path, top)] = look(e.path) + [e.is_dir(follow_symlinks=False), e.is_symlink(),
                                                                    e.inode() == os.lstat(e.path).st_ino]
    return out


def with_open(path, flags, mode, fn):
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, mode)  # a FIFO would wait for its other end
    try:
        return fn(fd)
    finally:
        os.close(fd)


def hold(name, path, flags, mode=0o600):
    held[name] = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, mode)


def let_go(name):
    os.close(held.pop(name))


def fstat(name):
    st = os.fstat(held[name])
    return [oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, st.st_size]


def mknod(path, kind, mode, major, minor):
    os.mknod(path, {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO, "f": stat.S_IFREG, "s": stat.S_IFSOCK}[kind] | mode,
             os.makedev(major, minor))


def bind(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)


class Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


def link_open(fd, path):
    """Gives an open file a name, as programs do with one that has none."""
    check(LIBC.linkat(AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, raw(path), AT_SYMLINK_FOLLOW))


def timespec(when):
    if when in ("now", "omit"):
        return Timespec(0, UTIME_NOW if when == "now" else UTIME_OMIT)
    return Timespec(when // 10**9, when % 10**9)


def set_times(path, accessed, modified, follow=True):
    """Either time: nanoseconds, "now" or "omit". What then stands there, where it was given."""
    v = (Timespec * 2)(timespec(accessed), timespec(modified))
    check(LIBC.utimensat(AT_FDCWD, raw(path), v, 0 if follow else AT_SYMLINK_NOFOLLOW))
    st = os.stat(path, follow_symlinks=follow)
    return [given if isinstance(given, str) else got for given, got in ((accessed, st.st_atime_ns), (modified, st.st_mtime_ns))]


def stamp(*paths):
    for p in paths:
        st = os.stat(p, follow_symlinks=False)
        times[p] = (st.st_mtime_ns, st.st_ctime_ns)


def moved(*paths):
    """Which of mtime and ctime went on since they were stamped."""
    out = []
    for p in paths:
        st = os.stat(p, follow_symlinks=False)
        out.append("".join(n for n, a, b in zip("mc", times[p], (st.st_mtime_ns, st.st_ctime_ns)) if a != b))
    return out


def execute(path):
    """Runs a program: 0, or why it does not start."""
    return subprocess.run(["./" + path, "0"], check=False).returncode


def run(name, path):
    held[name] = subprocess.Popen(["./" + path, "60"])


def end_run(name):
    p = held.pop(name)
    p.kill()
    p.wait()


def copy_range(a, b, n):
    return os.copy_file_range(held[a], held[b], n, 0, 0)


def map_write(name, off, text):
    with mmap.mmap(held[name], 0) as m:
        m[off:off + len(text)] = text.encode()
        m.flush()


def xattr_set(path, name, value, flags=0):
    os.setxattr(path, name, value.encode("latin-1"), flags, follow_symlinks=False)


def set_times_open(name, accessed, modified):
    v = (Timespec * 2)(timespec(accessed), timespec(modified))
    check(LIBC.futimens(held[name], v))


def limit_files(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


OPERATIONS = {
    "access": lambda p, how, effective=False: os.access(p, how, effective_ids=effective),
    "bind": bind,
    "chdir": os.chdir,
    "chmod": os.chmod,
    "chown": os.chown,
    "copy range": copy_range,
    "exec": execute,
    "fallocate": lambda n, mode, off, size: check(LIBC.fallocate(held[n], mode, ctypes.c_long(off), ctypes.c_long(size))),
    "fchmod": lambda n, mode: os.fchmod(held[n], mode),
    "fchown": lambda n, uid, gid: os.fchown(held[n], uid, gid),
    "fstat": fstat,
    "ftruncate": lambda n, size: check(LIBC.ftruncate(held[n], ctypes.c_long(size))),
    "ftimes": set_times_open,
    "get": lambda p, n: os.getxattr(p, n, follow_symlinks=False).decode("latin-1"),
    "hold": hold,
    "lchmod": lambda p, mode: check(LIBC.fchmodat(AT_FDCWD, raw(p), mode, AT_SYMLINK_NOFOLLOW)),
    "lchown": os.lchown,
    "let go": let_go,
    "limit": limit_files,
    "link": lambda a, b, follow=False: check(LIBC.linkat(AT_FDCWD, raw(a), AT_FDCWD, raw(b), AT_SYMLINK_FOLLOW if follow else 0)),
    "link empty": lambda n, b: check(LIBC.linkat(held[n], b"", AT_FDCWD, raw(b), AT_EMPTY_PATH)),
    "link held": lambda n, b: link_open(held[n], b),
    "list": lambda p: sorted(os.listdir(p)),
    "listxattr": lambda p: sorted(os.listxattr(p, follow_symlinks=False)),
    "look": look,
    "map": map_write,
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "mknod": mknod,
    "moved": moved,
    "open": lambda p, flags, mode=0o600: with_open(p, flags, mode, lambda fd: None),
    "pread": lambda n, size, off: os.pread(held[n], size, off).decode("latin-1"),
    "pwrite": lambda n, text, off, flags=0: os.pwritev(held[n], [text.encode()], off, flags),
    "read": lambda p, n=1000: with_open(p, os.O_RDONLY, 0, lambda fd: os.read(fd, n).decode("latin-1")),
    "readlink": os.readlink,
    "removexattr": lambda p, n: os.removexattr(p, n, follow_symlinks=False),
    "rename": lambda a, b, flags=0: check(LIBC.renameat2(AT_FDCWD, raw(a), AT_FDCWD, raw(b), flags)),
    "rmdir": os.rmdir,
    "run": run,
    "end run": end_run,
    "same": lambda a, b: os.path.samefile(a, b),
    "seek": lambda n, off, whence: os.lseek(held[n], off, whence),
    "set": xattr_set,
    "stamp": stamp,
    "stat": lambda p: oct(os.stat(p).st_mode),
    "symlink": os.symlink,
    "times": set_times,
    "truncate": lambda p, size: check(LIBC.truncate(raw(p), ctypes.c_long(size))),
    "umask": lambda mask: os.umask(mask) and None,
    "unlink": os.unlink,
    "whole": whole,
    "write": lambda p, text, flags=0: with_open(p, os.O_WRONLY | flags, 0, lambda fd: os.write(fd, text.encode())),
}
