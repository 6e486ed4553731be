#!/usr/bin/python3
"""One file, written and read in every way at once, holds at every moment what a model in memory holds, and so does its archive:
plain, appending, direct and mapped, cut, holed, allocated, copied within itself and to others, through several handles."""
import ctypes
import errno
import mmap
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from mount import MountCase, main  # noqa: E402

LIBC = ctypes.CDLL(None, use_errno=True)
LONG = os.environ.get("AUTOGLACIER_LONG")
SEEDS = range(1, 61 if LONG else 7)
STEPS = 2000 if LONG else 500
LARGEST = 300_000
PAGE = 4096
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16


def fallocate(fd, mode, off, n):
    if LIBC.fallocate(fd, mode, ctypes.c_long(off), ctypes.c_long(n)) < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


class Model:
    """What the file should hold, and the handles on the file that does."""

    def __init__(self, path, seed):
        self.path = path
        self.rng = random.Random(seed)
        self.bytes = bytearray()
        self.said = []
        self.fd = os.open(path, os.O_CREAT | os.O_RDWR)
        self.appending = os.open(path, os.O_RDWR | os.O_APPEND)
        self.direct = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.other = os.open(path + ".other", os.O_CREAT | os.O_RDWR)

    def end(self):
        for fd in (self.fd, self.appending, self.direct, self.other):
            os.close(fd)

    # ---- choices ----

    def place(self, upto=LARGEST):
        """Offset and length; often around the edges of pages."""
        r = self.rng
        off = r.choice((r.randrange(upto), r.randrange(upto) // PAGE * PAGE, 0, max(0, min(len(self.bytes), upto - 1) - r.randrange(3))))
        n = r.choice((1, 7, PAGE - 1, PAGE, PAGE + 1, r.randrange(1, 70000)))
        return off, min(n, LARGEST - off)

    def data(self, n):
        return self.rng.randbytes(n)

    def put(self, off, data):
        if not data:
            return
        if len(self.bytes) < off + len(data):
            self.bytes.extend(bytes(off + len(data) - len(self.bytes)))
        self.bytes[off:off + len(data)] = data

    # ---- what is done ----

    def write(self):
        off, n = self.place()
        data = self.data(n)
        assert os.pwrite(self.fd, data, off) == n
        self.put(off, data)
        return off, n

    def append(self):
        data = self.data(self.rng.choice((1, 100, 5000)))
        if len(self.bytes) + len(data) > LARGEST:
            return self.cut()
        assert os.write(self.appending, data) == len(data)
        self.put(len(self.bytes), data)
        return len(data)

    def write_direct(self):
        off, n = (x // PAGE * PAGE for x in self.place())
        if n == 0:
            return None
        with mmap.mmap(-1, n) as m:  # aligned memory
            m[:] = data = self.data(n)
            assert os.pwritev(self.direct, [m], off) == n
        self.put(off, data)
        return off, n

    def write_mapped(self):
        if not self.bytes:
            return None
        off, n = self.place(len(self.bytes))
        n = min(n, len(self.bytes) - off)
        data = self.data(n)
        with mmap.mmap(self.rng.choice((self.fd, self.appending)), 0) as m:
            m[off:off + n] = data
            if self.rng.random() < 0.3:
                m.flush()
        self.put(off, data)
        return off, n

    def cut(self):
        n = self.rng.choice((0, len(self.bytes) // 2, self.rng.randrange(LARGEST), len(self.bytes) // PAGE * PAGE))
        if self.rng.random() < 0.5:
            os.ftruncate(self.fd, n)
        else:
            os.truncate(self.path, n)
        if n < len(self.bytes):
            del self.bytes[n:]
        else:
            self.bytes.extend(bytes(n - len(self.bytes)))
        return n

    def punch(self):
        off, n = self.place()
        fallocate(self.fd, PUNCH_HOLE | KEEP_SIZE, off, n)
        end = min(off + n, len(self.bytes))
        if off < end:
            self.bytes[off:end] = bytes(end - off)
        return off, n

    def zero(self):
        off, n = self.place()
        keep = self.rng.choice((0, KEEP_SIZE))
        try:
            fallocate(self.fd, ZERO_RANGE | keep, off, n)
        except OSError as e:
            assert e.errno == errno.EOPNOTSUPP, e
            return "not here"
        self.put(off, bytes(min(n, len(self.bytes) - off) if keep and off < len(self.bytes) else 0 if keep else n))
        return off, n, keep

    def allocate(self):
        off, n = self.place()
        keep = self.rng.choice((0, KEEP_SIZE))
        fallocate(self.fd, keep, off, n)
        if not keep and off + n > len(self.bytes):
            self.bytes.extend(bytes(off + n - len(self.bytes)))
        return off, n, keep

    def copy_within(self):
        off, n = self.place()
        to = self.rng.randrange(LARGEST)
        n = min(n, max(0, len(self.bytes) - off), LARGEST - to, abs(to - off))
        done = 0
        while done < n:
            step = os.copy_file_range(self.fd, self.fd, n - done, off + done, to + done)
            assert step > 0
            done += step
        if n:
            self.put(to, bytes(self.bytes[off:off + n]))
        return off, to, n

    def copy_out(self):
        """To another file, by the kernel's ways of copying."""
        os.ftruncate(self.other, 0)
        os.lseek(self.other, 0, os.SEEK_SET)
        done = 0
        while done < len(self.bytes):
            how = os.sendfile if self.rng.random() < 0.5 else None
            step = how(self.other, self.fd, done, 50000) if how else os.copy_file_range(self.fd, self.other, 50000, done)
            assert step > 0
            done += step
        assert os.pread(self.other, LARGEST + 1, 0) == self.bytes, "the copy differs"

    def read(self):
        off, n = self.place()
        fd = self.rng.choice((self.fd, self.appending))
        assert os.pread(fd, n, off) == self.bytes[off:off + n], (off, n)
        return off, n

    def read_direct(self):
        off, n = (x // PAGE * PAGE for x in self.place())
        if n == 0:
            return
        with mmap.mmap(-1, n) as m:
            got = os.preadv(self.direct, [m], off)
            assert m[:got] == self.bytes[off:off + n], (off, n, got)

    def read_mapped(self):
        if self.bytes:
            with mmap.mmap(self.fd, 0, prot=mmap.PROT_READ) as m:
                assert m[:] == self.bytes

    def holes(self):
        """Between data there are zeros."""
        at = 0
        while at < len(self.bytes):
            try:
                data = os.lseek(self.fd, at, os.SEEK_DATA)
            except OSError as e:
                assert e.errno == errno.ENXIO, e
                data = len(self.bytes)
            assert not any(self.bytes[at:data]), (at, data)
            at = os.lseek(self.fd, data, os.SEEK_HOLE) if data < len(self.bytes) else data

    def settle(self):
        self.rng.choice((lambda: os.fsync(self.fd), lambda: os.fdatasync(self.fd),
                         lambda: os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)))()

    def reopen(self):
        os.close(self.fd)
        self.fd = os.open(self.path, os.O_RDWR)

    def check(self):
        assert os.fstat(self.fd).st_size == os.stat(self.path).st_size == len(self.bytes), (os.stat(self.path).st_size, len(self.bytes))

    def step(self):
        do = self.rng.choice((self.write, self.write, self.append, self.write_direct, self.write_mapped, self.write_mapped, self.cut, self.punch,
                              self.zero, self.allocate, self.copy_within, self.copy_out, self.read, self.read, self.read_direct, self.read_mapped,
                              self.holes, self.settle, self.reopen))
        self.said.append([do.__name__, None])
        self.said[-1][1] = do()
        self.check()


class RandomFile(MountCase):
    def test_every_way_to_write_and_read_agrees(self):
        m = self.mount()
        wanted = {}
        for seed in SEEDS:
            with self.subTest(seed=seed):
                model = Model(m.path("file %d" % seed), seed)
                try:
                    for _ in range(STEPS):
                        model.step()
                    model.read_mapped()
                except (AssertionError, OSError) as e:
                    self.fail("%s, after %s" % (e, model.said[-15:]))
                finally:
                    model.end()
                wanted["file %d" % seed] = bytes(model.bytes)
        for name, data in wanted.items():
            with open(m.path(name), "rb") as f:
                self.assertEqual(f.read(), data)
        m.commit()
        m.wait("stored")
        restored = m.restore()
        for name, data in wanted.items():
            with open(os.path.join(restored, name), "rb") as f:
                self.assertEqual(f.read(), data, name)


if __name__ == "__main__":
    main()
