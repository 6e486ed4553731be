"""Archives of the Python program before this one: decrypt and restore read them; PyCryptodome wrote them."""
import hashlib
import io
import os
import resource
import subprocess
import sys
import tarfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from cli import PATIENCE, TOP, CliCase, Programs, main  # noqa: E402
from predecessor import seal  # noqa: E402

try:
    from Cryptodome.PublicKey import RSA
except ImportError:
    print("SKIP: python3-pycryptodome is missing")
    sys.exit(77)

KEYS = {}


def key_of(bits):
    if bits not in KEYS:
        KEYS[bits] = RSA.generate(bits)
    return KEYS[bits]


class LegacyCase(CliCase):
    def setUp(self):
        super().setUp()
        self.write("src/a.txt", "hello\n")
        self.write("src/naïve/b.bin", os.urandom(300000))
        self.write("src/empty")
        os.symlink("a.txt", self.path("src/link"))
        os.link(self.path("src/a.txt"), self.path("src/twin"))

    def tar(self, mode="w:xz", **kw):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode, **kw) as t:
            t.add(self.path("src"), arcname="src")
        return out.getvalue()

    def key(self, bits, **kw):
        return self.write(f"key{bits}.pem", key_of(bits).export_key(**kw), mode=0o600)

    def seal(self, name, plain, bits=2048):
        return self.write(name, seal(key_of(bits).publickey().export_key(), plain))

    def same(self, to):
        r = subprocess.run(["diff", "-r", "--no-dereference", self.path("src"), to], capture_output=True, text=True)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        self.assertEqual(os.stat(os.path.join(to, "twin")).st_nlink, 2)


class Reads(LegacyCase):
    def test_keys_of_any_size(self):
        for bits in (1024, 1028, 2048):
            with self.subTest(bits):
                plain = self.tar()
                self.seal("old", plain, bits)
                self.ag("decrypt", "--key", self.key(bits), "-o", f"out{bits}", "old")
                self.assertEqual(self.read(f"out{bits}"), plain)

    def test_every_compression_and_both_kinds_of_tar(self):
        for mode in ("w:xz", "w:gz", "w:bz2", "w"):
            for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
                to = self.path("to-%s-%d" % (mode.replace(":", "-"), form))
                with self.subTest(to):
                    self.seal("old.tar", self.tar(mode, format=form))
                    r = self.ag("restore", "--key", self.key(2048), "--to", to, "old.tar")
                    self.assertEqual(r.out, to + "\n")
                    self.same(to + "/src")

    def test_single_paths(self):
        self.seal("old.tar.xz", self.tar())
        self.ag("restore", "--key", self.key(2048), "old.tar.xz", "src/naïve")
        self.assertEqual(sorted(os.listdir(self.path("old/src"))), ["naïve"])
        self.ag("restore", "--key", self.key(2048), "--to", "t", "old.tar.xz", "no/such", status=1, say="no/such")

    def test_locked_keys_of_pycryptodome(self):
        for protection in ("scryptAndAES128-CBC", "PBKDF2WithHMAC-SHA1AndDES-EDE3-CBC", "scryptAndAES256-CBC"):
            with self.subTest(protection):
                self.seal("old", self.tar())
                key = self.key(2048, passphrase="sesame", pkcs=8, protection=protection)
                self.on_terminal("restore", "--key", key, "--to", protection, "old", answers=[("assphrase", "sesame")])
                self.same(self.path(protection, "src"))

    def test_an_empty_archive(self):
        self.seal("old", b"")
        self.ag("decrypt", "--key", self.key(2048), "-o", "out", "old")
        self.assertEqual(self.read("out"), b"")

    @unittest.skipIf("AUTOGLACIER_SANITIZED" in os.environ, "a sanitizer needs more memory")
    def test_memory_does_not_grow_with_the_file(self):
        self.seal("old", bytes(200_000_000))

        def limit():
            resource.setrlimit(resource.RLIMIT_DATA, (80_000_000, 80_000_000))
        r = subprocess.run([Programs.cli, "decrypt", "--key", self.key(2048), "-o", "out", "old"], cwd=self.folder,
                           env=self.environment(), capture_output=True, text=True, timeout=PATIENCE, preexec_fn=limit)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(os.stat(self.path("out")).st_size, 200_000_000)


class Golden(CliCase):
    """An archive that must open for ever."""

    def test_it_opens(self):
        golden = os.path.join(TOP, "tests", "golden", "0-predecessor")
        with open(os.path.join(golden, "private.pem")) as f:
            key = self.write("golden.pem", f.read(), mode=0o600)
        with open(os.path.join(golden, "sha256")) as f:
            want = f.read().strip()
        args = ["--key", key, os.path.join(golden, "archive.tar.gz")]
        answers = [("assphrase", "golden")]
        self.on_terminal("decrypt", "-o", "out", *args, answers=answers)
        self.assertEqual(hashlib.sha256(self.read("out")).hexdigest(), want)
        self.on_terminal("restore", "--to", "to", *args, answers=answers)
        self.assertEqual(sorted(os.listdir(self.path("to"))), ["empty", "gr\u00fc\u00df", "link", "photos"])
        self.assertEqual(self.read("to/link"), b"warm\n")


class Refuses(LegacyCase):
    def refused(self, say):
        for args in (["decrypt", "-o", "out"], ["restore", "--to", "to"]):
            r = self.ag(*args, "--key", self.key(2048), "old", status=1, say=say)
            self.assertEqual(r.out, "")
        self.assertFalse(os.path.exists(self.path("out")))
        self.assertFalse(os.path.exists(self.path("out.partial")))
        self.assertFalse(os.path.exists(self.path("to/src")))

    def test_a_flipped_bit_anywhere(self):
        sealed = bytearray(self.read(self.seal("old", self.tar())))
        for at, say in ((0, "no archive for the private key"), (255, "no archive for"), (256, "does not authenticate"),
                        (272, "does not authenticate"), (288, "does not authenticate"), (len(sealed) // 2, "authenticate"),
                        (len(sealed) - 1, "does not authenticate")):
            with self.subTest(at):
                sealed[at] ^= 4
                self.write("old", bytes(sealed))
                sealed[at] ^= 4
                self.refused(say)

    def test_what_was_cut_off_or_added(self):
        sealed = self.read(self.seal("old", self.tar()))
        for changed, say in ((sealed[:-1], "authenticate"), (sealed + b"x", "authenticate"), (sealed[:300], "authenticate"),
                             (sealed[:287], "too short"), (b"", "too short")):
            with self.subTest(len(changed)):
                self.write("old", changed)
                self.refused(say)

    def test_another_key(self):
        self.seal("old", self.tar(), bits=3072)
        self.refused("no archive for the private key")

    def test_a_tar_that_leaves_the_folder(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as t:
            for name in ("../evil", "src/../../evil"):
                t.addfile(tarfile.TarInfo(name))
        self.seal("old", out.getvalue())
        self.ag("restore", "--key", self.key(2048), "--to", "to", "old", status=1, say="refused")
        self.assertFalse(os.path.exists(self.path("evil")))

    def test_small_keys_seal_nothing_new(self):
        self.write("small.pub", key_of(1024).publickey().export_key())
        self.config('{"PUBL_RSA_KEY_PATH": "%s"}' % self.path("small.pub"))
        self.ag("backup", "-m", "words", "src", status=1, say="1024 bits")


class Volumes(LegacyCase):
    """The same commands take volumes of ours, without a catalogue."""

    def test_restore_takes_volumes(self):
        self.keys()
        self.config('{"VOLUME_SIZE": "64MiB", "COMPRESSION": "none"}')
        self.write("src/noise", os.urandom(70_000_000))
        self.backup("src")
        found = []
        for folder, _, names in os.walk(os.path.join(self.data, "store", "archives")):
            found += [os.path.join(folder, n) for n in names]
        found.sort()
        self.assertEqual(len(found), 2)
        os.rename(os.path.join(self.data, "catalog.db"), self.path("away"))
        self.ag("restore", "--key", self.private, "--to", "to", *found)
        self.same(self.path("to", self.path("src")[1:]))
        self.ag("restore", "--key", self.private, "--to", "no", *found[::-1], status=1, say="comes first")
        self.ag("restore", "--key", self.private, "--to", "no", found[0], status=1)
        self.assertFalse(os.path.exists(self.path("no", self.path("src/noise")[1:])))


if __name__ == "__main__":
    main()
