#!/usr/bin/python3
"""Content through the mount: what a stored archive holds reads at once from a store that needs no thaw, whole and checked."""
import glob
import hashlib
import json
import mmap
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from mount import PYTHON, MountCase, Programs, digest, main, until  # noqa: E402

READER = """
import hashlib, json, os, random, sys
top, seed, want = sys.argv[1], int(sys.argv[2]), json.load(sys.stdin)
names = sorted(want)
random.Random(seed).shuffle(names)
for n in names:
    with open(os.path.join(top, n), "rb") as f:
        if hashlib.sha512(f.read()).hexdigest() != want[n]:
            sys.exit("differs: " + n)
"""


class Content(MountCase):
    def archive(self, m, **files):
        for name, data in files.items():
            m.write(name, data)
        m.commit()
        return m.wait("stored")

    def cache(self, m):
        return [p for p in glob.glob(os.path.join(m.data, "cache", "*")) if os.path.isfile(p)]

    def test_a_stored_file_reads_back_whole(self):
        m = self.mount()
        rng = random.Random(1)
        data = rng.randbytes(3 << 20)
        name = self.archive(m, **{"d/one": data, "d/two": b"two\n", "d/none": b""})
        files = m.path("archives", name, "files")
        for path, want in (("d/two", b"two\n"), ("d/one", data), ("d/none", b"")):
            with open(os.path.join(files, path), "rb") as f:
                self.assertEqual(f.read(), want)
        with open(os.path.join(files, "d/one"), "rb") as f:
            f.seek(1 << 20)
            self.assertEqual(f.read(1000), data[1 << 20:(1 << 20) + 1000])
            with mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as p:
                self.assertEqual(p[-1000:], data[-1000:])
        copy = os.path.join(self.folder, "copy")
        subprocess.run(["cp", "-a", os.path.join(files, "d"), copy], check=True)
        self.assertEqual(digest(os.path.join(copy, "one")), hashlib.sha512(data).hexdigest())

    def test_hard_links_and_sparse_files_read_as_they_were(self):
        m = self.mount()
        m.write("d/first", b"content of both")
        os.link(m.path("d/first"), m.path("d/second"))
        with open(m.path("d/holes"), "wb") as f:
            f.write(b"begin")
            f.seek(5 << 20)
            f.write(b"middle")
            f.truncate(9 << 20)
        want = digest(m.path("d/holes"))
        name = self.archive(m)
        files = m.path("archives", name, "files", "d")
        for n in ("first", "second"):
            with open(os.path.join(files, n), "rb") as f:
                self.assertEqual(f.read(), b"content of both")
        self.assertEqual(digest(os.path.join(files, "holes")), want)

    def test_nothing_below_files_can_be_written(self):
        m = self.mount()
        name = self.archive(m, a="text")
        self.refused("EROFS", os.open, m.path("archives", name, "files/a"), os.O_RDWR)

    def test_damage_is_an_error_and_an_entry_in_the_log_and_no_wrong_byte(self):
        m = self.mount(config={"COMPRESSION": "none"})
        rng = random.Random(2)
        first, second = rng.randbytes(20 << 20), rng.randbytes(300000)
        name = self.archive(m, first=first, second=second)
        volume, = m.volumes(name)
        with open(volume, "r+b") as f:  # within the content of `first`
            f.seek(10 << 20)
            byte = f.read(1)
            f.seek(10 << 20)
            f.write(bytes([byte[0] ^ 1]))
        files = m.path("archives", name, "files")
        self.refused("EBADMSG", open, os.path.join(files, "first"), "rb")
        self.refused("EBADMSG", open, os.path.join(files, "first"), "rb")
        log = m.text("log", name)
        self.assertEqual(log.count("cannot be read back"), 1, log)
        self.assertIn("first", log)
        with open(os.path.join(files, "second"), "rb") as f:
            self.assertEqual(f.read(), second)

    def test_without_the_private_key_it_says_so(self):
        m = self.mount()
        name = self.archive(m, a="text")
        key = os.path.join(m.data, "keys", "private.pem")
        os.rename(key, key + ".away")
        path = m.path("archives", name, "files/a")
        self.refused("ENOKEY", open, path)
        os.rename(key + ".away", key)
        with open(path) as f:
            self.assertEqual(f.read(), "text")

    def test_a_locked_key_is_unlocked_once_for_all_readers(self):
        m = self.data()
        key, words = os.path.join(m.data, "keys", "private.pem"), os.path.join(self.folder, "words")
        with open(os.open(words, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write("open sesame\n")
        subprocess.run(["openssl", "pkcs8", "-topk8", "-in", key, "-out", key + ".new", "-passout", "file:" + words], check=True)
        os.rename(key + ".new", key)
        m.start()
        name = self.archive(m, a="text", b="more")
        path = m.path("archives", name, "files")
        self.refused("ENOKEY", open, os.path.join(path, "a"))
        subprocess.run([Programs.cli, "unlock", "--passphrase-file", words], env=m.environment(), check=True)
        for n, want in (("a", "text"), ("b", "more")):
            with open(os.path.join(path, n)) as f:
                self.assertEqual(f.read(), want)

    def test_the_cache_keeps_its_limit_and_what_is_open_reads_on(self):
        m = self.mount(config={"CACHE_LIMIT": "4MiB"})
        rng = random.Random(3)
        want = {"f%02d" % i: rng.randbytes(900000) for i in range(12)}
        name = self.archive(m, **want)
        files = m.path("archives", name, "files")
        with open(os.path.join(files, "f00"), "rb") as kept:
            for n, data in want.items():
                with open(os.path.join(files, n), "rb") as f:
                    self.assertEqual(f.read(), data)
            self.assertEqual(kept.read(), want["f00"])
        self.assertLessEqual(sum(os.stat(p).st_blocks * 512 for p in self.cache(m)), 4 << 20)
        self.assertGreater(len(self.cache(m)), 1)

    def test_what_was_fetched_is_there_without_the_store(self):
        m = self.mount()
        name = self.archive(m, a="text")
        path = m.path("archives", name, "files/a")
        with open(path) as f:
            f.read()
        self.assertEqual(m.stop(), 0)
        os.rename(os.path.join(m.data, "store"), os.path.join(m.data, "store.away"))
        m.start()
        with open(path) as f:
            self.assertEqual(f.read(), "text")

    def test_five_archives_read_by_four_processes_compare_equal(self):
        m = self.mount()
        rng = random.Random(4)
        want = {}
        for k in range(5):
            names = ["a%d/s%d/f%d" % (k, i % 3, i) for i in range(60)]
            data = {n: rng.randbytes(rng.choice((10, 3000, 70000))) for n in names}
            name = self.archive(m, **data)
            want.update({name + "/files/" + n: hashlib.sha512(data[n]).hexdigest() for n in rng.sample(names, 20)})
        self.assertEqual(len(want), 100)
        text = json.dumps(want).encode()
        readers = [subprocess.Popen([PYTHON, "-c", READER, m.path("archives"), str(i)], stdin=subprocess.PIPE,
                                    stderr=subprocess.PIPE) for i in range(4)]
        for r in readers:
            r.stdin.write(text)
            r.stdin.close()
        for r in readers:
            said = r.stderr.read()
            r.stderr.close()
            self.assertEqual((r.wait(), said), (0, b""))

    def test_a_reader_that_gives_up_does_not_hold_the_mount(self):
        m = self.mount(config={"COMPRESSION": "none"})
        rng = random.Random(5)
        name = self.archive(m, big=rng.randbytes(64 << 20), small="small")
        files = m.path("archives", name, "files")
        reader = subprocess.Popen(["cat", os.path.join(files, "big")], stdout=subprocess.DEVNULL)
        reader.kill()
        until(lambda: reader.poll() is not None, "the reader ends")
        with open(os.path.join(files, "small")) as f:
            self.assertEqual(f.read(), "small")


if __name__ == "__main__":
    main()
