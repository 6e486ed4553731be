#!/usr/bin/python3
"""rescue.py opens what we seal, and nothing that was altered: test_rescue.py SEAL_FILE RESCUE"""
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import unittest

FRAME = 1048544
SEAL, RESCUE = "", ""


def run(*args, data=None, **kw):
    return subprocess.run(args, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)


def must(*args, data=None):
    r = run(*args, data=data)
    if r.returncode != 0:
        raise AssertionError(f"{args}: {r.stderr.decode()}")
    return r.stdout


def openssl(words):
    must("openssl", *words.split())


def noise(n):
    return hashlib.shake_256(str(n).encode()).digest(n)


class Rescue(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        os.chdir(cls.folder.name)
        for name in ("mine", "other"):
            openssl(f"genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out {name}.pem")
            openssl(f"pkey -in {name}.pem -pubout -out {name}.pub")
        openssl("pkcs8 -topk8 -scrypt -in mine.pem -passout pass:secret -out locked.pem")
        openssl("rsa -traditional -in mine.pem -out pkcs1.pem")

    @classmethod
    def tearDownClass(cls):
        os.chdir("/")
        cls.folder.cleanup()

    def setUp(self):
        for name in os.listdir("."):
            if not name.endswith((".pem", ".pub")):
                os.unlink(name)

    def seal(self, name, data, archive="a", volume=1, keys=("mine.pub",)):
        context = ["-c", f"autoglacier-archive={archive}", "-c", f"autoglacier-volume={volume}"]
        with open(name, "wb") as f:
            f.write(must(SEAL, *context, *keys, data=data))

    def rescue(self, *files, key="mine.pem", more=(), **kw):
        return run(RESCUE, "--key", key, *more, "-o", "out", *files, **kw)

    def opens(self, want, *files, **kw):
        r = self.rescue(*files, **kw)
        self.assertEqual(r.returncode, 0, r.stderr.decode())
        with open("out", "rb") as f:
            self.assertEqual(f.read(), want)
        os.unlink("out")
        self.assertFalse(os.path.exists("out.partial"))

    def refuses(self, words, *files, **kw):
        r = self.rescue(*files, **kw)
        self.assertEqual(r.returncode, 1)
        self.assertIn(words, r.stderr.decode())
        self.assertNotIn("Traceback", r.stderr.decode())
        self.assertFalse(os.path.exists("out"))

    def change(self, name, at, byte=None):
        with open(name, "r+b") as f:
            f.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
            old = f.read(1)
            f.seek(-1, os.SEEK_CUR)
            f.write(bytes([old[0] ^ 1]) if byte is None else byte)

    def test_every_size_opens(self):
        for n in (0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME + 7):
            self.seal("x", noise(n))
            self.opens(noise(n), "x")

    def test_every_recipient_and_form_of_key_opens(self):
        self.seal("x", b"hello", keys=("other.pub", "mine.pub"))
        for key in ("mine.pem", "other.pem", "pkcs1.pem"):
            self.opens(b"hello", "x", key=key)

    def test_a_locked_key_opens_with_its_passphrase(self):
        self.seal("x", b"hello")
        with open("pass", "w") as f:
            f.write("secret\n")
        self.opens(b"hello", "x", key="locked.pem", more=("--passphrase-file", "pass"))
        with open("pass", "w") as f:
            f.write("wrong\n")
        self.refuses("does not open", "x", key="locked.pem", more=("--passphrase-file", "pass"))

    def test_volumes_are_joined_in_order(self):
        for i in (1, 2, 3):
            self.seal(f"v{i}", noise(FRAME + i), volume=i)
        self.opens(noise(FRAME + 1) + noise(FRAME + 2) + noise(FRAME + 3), "v1", "v2", "v3")
        self.refuses("volume 3, not 2", "v1", "v3", "v2")
        self.refuses("volume 2, not 1", "v2", "v3")
        self.seal("foreign", b"x", archive="b", volume=2)
        self.refuses("another archive", "v1", "foreign")

    def test_the_name_comes_from_the_first_volume(self):
        self.seal("id-0001.tar.xz.esdk", b"one", volume=1)
        self.seal("id-0002.tar.xz.esdk", b"two", volume=2)
        must(RESCUE, "--key", "mine.pem", "id-0001.tar.xz.esdk", "id-0002.tar.xz.esdk")
        with open("id.tar.xz", "rb") as f:
            self.assertEqual(f.read(), b"onetwo")

    def test_an_existing_file_is_not_overwritten(self):
        self.seal("x", b"hello")
        with open("out", "w") as f:
            f.write("precious")
        r = self.rescue("x")
        self.assertEqual(r.returncode, 1)
        with open("out") as f:
            self.assertEqual(f.read(), "precious")

    def test_a_flipped_bit_anywhere_is_refused(self):
        self.seal("x", b"hello, world")
        size = os.path.getsize("x")
        for at in list(range(0, size, 29)) + list(range(size - 56, size, 5)):
            self.change("x", at)
            self.refuses("x: ", "x")
            self.change("x", at)
        self.opens(b"hello, world", "x")

    def test_a_flipped_bit_in_a_full_frame_is_refused_and_the_good_part_kept(self):
        self.seal("x", noise(3 * FRAME))
        self.change("x", -(1 << 20) - 100)
        self.refuses("frame 2 was altered", "x")
        self.assertEqual(os.path.getsize("out.partial"), FRAME)

    def test_what_is_cut_off_or_appended_is_refused(self):
        self.seal("x", noise(FRAME + 1000))
        with open("x", "rb") as f:
            data = f.read()
        head = len(data) - (1 << 20) - 1000 - 40
        lengths = [0, 1, 2, 50, head - 1, head, head + 3, head + 500, head + (1 << 20)]
        lengths.append(len(data) - 1)
        for n in lengths:
            with open("cut", "wb") as f:
                f.write(data[:n])
            self.refuses("cut: ", "cut")
        with open("long", "wb") as f:
            f.write(data + b"\0")
        self.refuses("appended", "long")

    def test_frames_exchanged_are_refused(self):
        self.seal("x", noise(3 * FRAME))
        with open("x", "rb") as f:
            data = f.read()
        mib = 1 << 20
        head = len(data) - 2 * mib - FRAME - 40
        one, two = data[head : head + mib], data[head + mib : head + 2 * mib]
        for body in (two + one, one + one, two + two, one, two):
            with open("bad", "wb") as f:
                f.write(data[:head] + body + data[head + 2 * mib :])
            self.refuses("where it should be", "bad")

    def test_another_key_is_told_so(self):
        self.seal("x", b"hello", keys=("other.pub",))
        self.refuses("sealed for", "x")
        self.refuses("not a private key", "x", key="mine.pub")
        self.refuses("No such file", "x", key="missing.pem")

    def test_memory_does_not_grow_with_the_file(self):
        self.seal("x", noise(1 << 20) * 200)
        limit = lambda: resource.setrlimit(resource.RLIMIT_DATA, (100 << 20, 100 << 20))
        r = self.rescue("x", preexec_fn=limit)
        self.assertEqual(r.returncode, 0, r.stderr.decode())
        self.assertEqual(os.path.getsize("out"), 200 << 20)


if __name__ == "__main__":
    SEAL, RESCUE = map(os.path.abspath, sys.argv[1:3])
    unittest.main(argv=sys.argv[:1])
