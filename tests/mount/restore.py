#!/usr/bin/python3
"""Restores from a cold store through the mount: nothing is asked by looking, nothing twice, and every step survives kill -9."""
import errno
import hashlib
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from cold import HOURS, ColdStore  # noqa: E402
from mount import MountCase, main, until  # noqa: E402

# The points at which a restore can die, in the order of its life: before what it asked for is thawed, and after.
ASKING = ("thaw-intended", "thaw-asked", "thaw-noted", "restore-asked", "restore-thawing")
FETCHING = ("restore-file", "restore-file:3", "restore-fetched", "restore-checked", "restore-ready")


class Restore(MountCase):
    def cold(self, settings="delay=0.4", config=None, name="one"):
        """A mount on a simulated cold store, with an archive of a few files; what they hold is self.want."""
        store = ColdStore(os.path.join(self.folder, name + "-store"))
        m = self.mount(config=dict({"VAULT": store.url(settings)}, **(config or {})), name=name)
        m.store = store
        rng = random.Random(7)
        self.want = {"photos/2026/%d.jpg" % i: rng.randbytes(200000) for i in range(4)}
        self.want.update({"photos/2025/old.jpg": rng.randbytes(5000), "with blank/a b.txt": b"blank", "none": b""})
        for n, data in self.want.items():
            m.write(n, data)
        m.commit()
        m.archive = m.wait("stored")
        return m

    def asked(self, m, kind="thaw"):
        return m.store.asked(kind)

    def ask(self, m, text):
        fd = os.open(m.path("archives", m.archive, ".restore"), os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def file(self, m, name):
        return m.path("archives", m.archive, "files", name)

    def same(self, m, *names):
        for n in names:
            with open(self.file(m, n), "rb") as f:
                self.assertEqual(hashlib.sha512(f.read()).hexdigest(), hashlib.sha512(self.want[n]).hexdigest(), n)

    def wait_restored(self, m):
        until(lambda: m.state(m.archive) == "restored",
              lambda: "not restored: " + m.read(".status") + m.text("log", m.archive))

    # ---- looking ----

    def test_a_reader_of_a_cold_file_gets_eremote_and_nothing_is_asked(self):
        m = self.cold()
        for n in self.want:
            if self.want[n]:
                self.refused("EREMOTE", open, self.file(m, n), "rb")
        for n in (".restore", "info.json", "log", "state", "SHA512SUMS", "description"):
            m.text(n, m.archive)
        self.same(m, "none")  # an empty file has nothing to fetch
        self.assertEqual([self.asked(m, k) for k in ("thaw", "state", "get")], [[], [], []])
        self.assertEqual(m.state(m.archive), "stored")

    def test_a_store_that_is_quick_but_charges_is_not_read_by_looking(self):
        m = self.cold("instant=1")
        self.refused("EREMOTE", open, self.file(m, "photos/2025/old.jpg"), "rb")
        self.assertEqual(self.asked(m, "get"), [])
        self.ask(m, "photos/2025")
        self.wait_restored(m)
        self.same(m, "photos/2025/old.jpg")
        self.assertEqual(self.asked(m), [])

    def test_reading_restore_quotes_time_and_price(self):
        m = self.cold()
        text = m.text(".restore", m.archive)
        self.assertIn("bulk       ready after 12 h to 48 h", text)
        self.assertIn("standard", text)
        self.assertNotIn("expedited  ready", text)  # DEEP_ARCHIVE has none
        self.assertIn("USD", text)
        self.assertEqual(len(text.encode()), os.stat(m.path("archives", m.archive, ".restore")).st_size)
        self.assertIn("price: at most", self.priced(m))

    def priced(self, m):
        m.write("staged", "x")
        return m.read(".commit")

    # ---- asking ----

    def test_only_what_was_asked_for_is_restored(self):
        m = self.cold()
        self.ask(m, "bulk photos/2026 \"with blank/a b.txt\"\n")
        self.assertIn(m.state(m.archive), ("restoring", "restored"))
        self.wait_restored(m)
        self.same(m, "photos/2026/0.jpg", "photos/2026/3.jpg", "with blank/a b.txt")
        self.refused("EREMOTE", open, self.file(m, "photos/2025/old.jpg"), "rb")
        self.assertEqual(len(self.asked(m)), 1)
        self.assertEqual(self.asked(m)[0][2], "bulk")
        info, = m.info(m.archive)["restores"]
        self.assertEqual((info["state"], info["paths"], info["done_files"]), ("ready", ["photos/2026", "with blank/a b.txt"], 5))
        self.assertIn("readable until", m.text("log", m.archive))
        self.assertIn("ready: it can be read below files/", m.read(".status"))

    def test_what_is_wrong_is_said_when_it_is_written(self):
        m = self.cold(config={"COST_LIMIT": 0.0000001})
        for text, code in (("\n", "EINVAL"), ("  \n", "EINVAL"), ("max=1\n", "EINVAL"), ("all photos\n", "EINVAL"),
                           ("\"photos\n", "EINVAL"), ("max=much all\n", "EINVAL"), ("photos/2024\n", "ENOENT"),
                           ("expedited all\n", "EINVAL"), ("all\n", "EDQUOT"), ("max=0.00000001 all\n", "EDQUOT")):
            self.refused(code, self.ask, m, text)
        self.assertEqual(self.asked(m), [])
        self.assertIn("more than max=", m.read(".status"))
        self.assertIn("photos/2024 is not in the archive", m.text("log", m.archive))
        self.ask(m, "max=0.01 all\n")
        self.wait_restored(m)
        self.same(m, *self.want)

    def test_asking_twice_asks_the_store_once(self):
        m = self.cold("delay=%d" % HOURS)
        self.ask(m, "all\n")
        self.ask(m, "all\n")
        self.ask(m, "photos\n")
        until(lambda: m.store.asked(), "the store is asked")
        m.store.thawed()
        self.wait_restored(m)
        until(lambda: all(r["state"] == "ready" for r in m.info(m.archive)["restores"]), "all are ready")
        self.ask(m, "none\n")
        self.same(m, *self.want)
        self.assertEqual(len(self.asked(m)), 1)
        self.assertEqual(len(m.info(m.archive)["restores"]), 3)

    def test_a_restore_can_be_cancelled(self):
        m = self.cold("delay=%d" % HOURS)
        self.ask(m, "all\n")
        until(lambda: self.asked(m), "the store is asked")
        self.ask(m, "cancel\n")
        until(lambda: m.state(m.archive) == "stored", lambda: m.read(".status"))
        self.assertIn("restore cancelled", m.text("log", m.archive))
        self.refused("EREMOTE", open, self.file(m, "photos/2025/old.jpg"), "rb")

    def test_what_does_not_fit_into_the_cache_is_fetched_when_it_is_read(self):
        m = self.cold(config={"CACHE_LIMIT": "500kB"})
        said = "only 375 kB are fetched at once"
        self.assertIn(said, m.text(".restore", m.archive))
        self.ask(m, "all\n")
        self.wait_restored(m)
        self.assertIn(said, m.text("log", m.archive))
        info, = m.info(m.archive)["restores"]
        self.assertLess(info["done_files"], info["files"])
        self.same(m, *self.want)
        self.same(m, *self.want)
        self.assertEqual(len(self.asked(m)), 1)
        cache = os.path.join(m.data, "cache")
        self.assertLessEqual(sum(os.stat(os.path.join(cache, n)).st_blocks * 512 for n in os.listdir(cache)), 500000)

    def test_a_full_disk_keeps_nobody_from_reading_what_is_thawed(self):
        disk = self.disk("disk", "24m")
        store = ColdStore(os.path.join(self.folder, "store"))
        m = self.data(config={"VAULT": store.url("delay=0.2")})
        m.store = store
        shutil.rmtree(m.home)
        m.home, m.data = disk, os.path.join(disk, "data")
        m.start()
        self.want = {n: random.Random(n).randbytes(2 << 20) for n in ("a", "b", "c")}
        for n, data in self.want.items():
            m.write(n, data)
        m.commit()
        m.archive = m.wait("stored")
        m.settled()
        with open(os.path.join(disk, "filler"), "wb") as f:
            f.write(bytes(os.statvfs(disk).f_bavail * 4096 - (1 << 20)))
        with self.assertRaises(OSError) as c:
            self.ask(m, "all\n")
        self.assertEqual(errno.errorcode[c.exception.errno], "ENOSPC")
        self.assertIn("needs 2.1 MB, and the disk of", m.read(".status"))
        self.assertEqual(self.asked(m), [])
        with open(os.path.join(disk, "filler"), "r+b") as f:
            f.truncate(os.path.getsize(os.path.join(disk, "filler")) - (3 << 20))
        self.ask(m, "all\n")
        self.wait_restored(m)
        self.assertIn("the rest is fetched when it is read", m.read(".status"))
        with open(self.file(m, "a"), "rb") as f:
            self.assertEqual(f.read(), self.want["a"])
        os.unlink(os.path.join(disk, "filler"))
        self.same(m, *self.want)

    def test_speed_and_time_left_are_shown(self):
        m = self.cold("delay=0.1,get_ms=900")
        self.want = {"big/%d" % i: random.Random(i).randbytes(17 << 20) for i in range(5)}
        for n, data in self.want.items():
            m.write(n, data)
        m.commit()
        m.archive = m.wait("stored")
        self.ask(m, "all\n")
        until(lambda: re.search("fetched .*B/s, .* left", m.read(".status")), lambda: m.read(".status"))
        self.wait_restored(m)
        self.assertNotIn("B/s", m.read(".status"))

    # ---- what stores do ----

    def test_it_expires_and_can_be_asked_for_again(self):
        m = self.cold("delay=0.2,expire=600")
        self.ask(m, "all\n")
        self.wait_restored(m)
        m.stop()
        self.ten_minutes_pass(m)
        m.start()
        until(lambda: m.state(m.archive) == "stored", "it expires")
        self.refused("EREMOTE", open, self.file(m, "photos/2025/old.jpg"), "rb")
        self.assertIn("has expired", m.text("log", m.archive))
        self.assertEqual(os.listdir(os.path.join(m.data, "cache")), [])
        self.ask(m, "photos/2025\n")
        self.wait_restored(m)
        self.same(m, "photos/2025/old.jpg")
        self.assertEqual(len(self.asked(m)), 2)

    def ten_minutes_pass(self, m):
        """For the catalogue and for the store: all their times lie earlier."""
        past = 600 * 10 ** 9
        with sqlite3.connect(os.path.join(m.data, "catalog.db")) as c:
            c.execute("UPDATE restore SET created = created - ?1, ready_until = ready_until - ?1, retry_at = retry_at - ?1", (past,))
            c.execute("UPDATE thaw SET asked = asked - ?1, accepted = accepted - ?1", (past,))
        c.close()
        with open(m.store.path) as f:
            lines = [line.split() for line in f]
        with open(m.store.path, "w") as f:
            for words in lines:
                if words[0] == "thaw":
                    words[5:] = [str(int(t) - past) for t in words[5:]]
                f.write(" ".join(words) + "\n")

    def test_a_refusal_fails_it_in_words(self):
        m = self.cold("refuse=1")
        self.ask(m, "all\n")
        until(lambda: "the store refuses to thaw" in m.read(".status"), "the refusal is told")
        self.assertEqual(m.state(m.archive), "stored")
        self.ask(m, "all\n")
        self.wait_restored(m)

    def test_a_thaw_that_the_store_forgets_is_asked_for_again(self):
        m = self.cold("delay=0,lose=1")
        self.ask(m, "all\n")
        self.wait_restored(m)
        self.assertEqual((len(self.asked(m)), len(self.asked(m, "lost"))), (2, 1))
        self.assertIn("has forgotten", m.text("log", m.archive))
        self.same(m, *self.want)

    def test_without_a_key_it_waits_for_one(self):
        m = self.cold()
        key = os.path.join(m.data, "keys", "private.pem")
        os.rename(key, key + ".away")
        self.ask(m, "all\n")
        until(lambda: m.info(m.archive)["restores"][0]["state"] == "needs-key", lambda: m.read(".status"))
        self.assertEqual(m.state(m.archive), "restoring")
        self.assertIn("needs-key", m.read(".status"))
        self.assertIn("no private key is here", m.text("log", m.archive))
        os.rename(key + ".away", key)
        self.wait_restored(m)
        self.same(m, *self.want)

    # ---- dying ----

    def test_killed_at_every_step_it_ends_without_a_second_request(self):
        m = self.cold("delay=%d" % HOURS)
        for point in ASKING + FETCHING:
            with self.subTest(point):
                before = len(self.asked(m))
                m.stop(signal.SIGKILL)
                m.clean()
                m.start(AUTOGLACIER_CRASH_AT=point)
                self.ask_and_die(m, before if point in FETCHING else None)
                m.clean()
                m.start()
                until(lambda: len(self.asked(m)) > before, "the store is asked")
                m.store.thawed()
                self.wait_restored(m)
                self.same(m, *self.want)
                self.assertEqual(len(self.asked(m)) - before, 1, point)
                self.forget(m)

    def test_killed_at_random_moments_it_ends_without_a_second_request(self):
        m = self.cold("delay=0.2,get_ms=20")
        rng = random.Random(9)
        for i in range(100 if os.environ.get("AUTOGLACIER_LONG") else 4):
            with self.subTest(i):
                before = len(self.asked(m))
                self.ask(m, "all\n")
                for _ in range(rng.randrange(1, 4)):
                    time.sleep(rng.random() * 0.6)  # any moment will do
                    m.kill()
                    m.clean()
                    m.start()
                self.wait_restored(m)
                self.same(m, *self.want)
                asked = len(self.asked(m)) - before
                self.forget(m)
                self.assertEqual(asked, 1)

    def ask_and_die(self, m, before):
        """Where it is to die of what comes afterwards, the store thaws what was asked for; it was asked `before` times."""
        try:
            self.ask(m, "all\n")
        except OSError:
            pass  # it dies while it answers
        if before is not None:
            until(lambda: len(self.asked(m)) > before, "the store is asked")
            m.store.thawed()
        until(lambda: m.process.poll() is not None, "it dies")

    def forget(self, m):
        """The store thaws nothing any more, and the restore is over: as if it had never been asked."""
        self.ask(m, "cancel\n")
        until(lambda: m.state(m.archive) == "stored", "it is over")
        m.store.forgotten()


if __name__ == "__main__":
    main()
