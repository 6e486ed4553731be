#!/usr/bin/python3
"""What goes wrong around us: full, vanished, read-only and foreign places, damaged files. The reason is said, nothing is lost, and
it goes on when the cause is gone."""
import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from mount import MountCase, Programs, is_mounted, main, until  # noqa: E402


class Disks(MountCase):
    """Small disks of our own, where the tests may mount; skipped by name where not."""

    def loop(self, name):
        """A filesystem with an identity, that can be unplugged and plugged in: (mount, unmount)."""
        image, path = os.path.join(self.folder, name + ".img"), os.path.join(self.folder, name)
        os.mkdir(path)
        with open(image, "w") as f:
            f.truncate(32 << 20)
        if not shutil.which("mkfs.ext4"):
            self.skipTest("no mkfs.ext4")
        subprocess.run(["mkfs.ext4", "-q", image], check=True)

        def plug():
            r = subprocess.run(["mount", "-o", "loop", image, path], stderr=subprocess.PIPE, text=True)
            if r.returncode != 0:
                self.skipTest("no right to mount an image: " + r.stderr.strip())

        plug()
        self.addCleanup(subprocess.run, ["umount", "-l", path], stderr=subprocess.DEVNULL)
        return path, plug, lambda: subprocess.run(["umount", path], check=True)

    @staticmethod
    def resize(path, options):
        subprocess.run(["mount", "-o", "remount," + options, path], check=True)

    @staticmethod
    def again(m):
        """It goes on by itself after ten seconds, which one test waits for; the others ask for it."""
        m.retry()

    def waits_saying(self, m, *words):
        m.wait("waiting")
        said = m.read(".status")
        for w in words:
            self.assertIn(w, said)

    def test_a_full_staging_disk_is_an_error_of_write_and_of_commit(self):
        d = self.disk("disk", "32m")
        m = self.data()
        shutil.rmtree(m.home)
        m.home, m.data = d, os.path.join(d, "data")
        m.start()
        m.write("a", os.urandom(6 << 20))
        with self.assertRaises(OSError) as c:
            m.write("b", os.urandom(30 << 20))
        self.assertEqual(errno.errorcode[c.exception.errno], "ENOSPC")
        self.assertEqual(m.refusal(), "ENOSPC")
        self.assertIn("make room", m.read(".commit"))
        self.assertEqual(m.sh("echo text > .commit")[0] != 0, True)
        os.unlink(m.path("b"))
        until(lambda: os.statvfs(m.point).f_bavail * os.statvfs(m.point).f_frsize > 12 << 20, "room")
        m.commit()
        m.wait("stored")
        m.settled()

    def test_a_disk_that_fills_up_while_packing_makes_the_commit_wait(self):
        d = self.disk("disk", "40m")
        m = self.data()
        shutil.rmtree(m.home)
        m.home, m.data = d, os.path.join(d, "data")
        m.start()
        m.write("a", os.urandom(20 << 20))
        m.commit()
        self.waits_saying(m, "space")
        self.resize(d, "size=120m")
        self.again(m)
        m.wait("stored")
        m.settled()

    def test_a_full_store_makes_the_commit_wait(self):
        store = self.disk("store", "8m")
        m = self.mount({"VAULT": "dir:" + store})
        content = os.urandom(9 << 20)
        m.write("a", content)
        m.commit()
        self.waits_saying(m, store, "space")
        self.assertEqual(os.path.getsize(m.path("archives", m.latest(), "files", "a")), len(content))
        self.resize(store, "size=64m")
        self.again(m)
        m.wait("stored")
        with open(m.restore() + "/a", "rb") as f:
            self.assertEqual(f.read(), content)
        m.settled()

    def test_a_read_only_store_makes_the_commit_wait(self):
        store = self.disk("store", "64m")
        m = self.mount({"VAULT": "dir:" + store})
        self.resize(store, "ro")
        m.write("a", "text")
        m.commit()
        self.waits_saying(m, store)
        self.resize(store, "rw")
        self.again(m)
        m.wait("stored")

    def test_a_store_that_is_unplugged_is_waited_for_and_its_empty_folder_not_filled(self):
        store, plug, unplug = self.loop("store")
        m = self.mount({"VAULT": "dir:" + store})
        m.write("a", "text")
        m.commit("first")
        m.wait("stored")
        unplug()
        m.write("b", "text")
        m.commit("second")
        self.waits_saying(m, store)
        self.assertEqual(os.listdir(store), [])
        self.assertEqual(m.stop(), 0)
        m.start()  # a mount does not need its store
        self.assertEqual(m.state(), "waiting")
        plug()
        m.wait("stored")
        for a in m.archives():
            self.assertEqual(m.state(a), "stored")

    def test_a_source_disk_that_is_unplugged_is_waited_for_and_named(self):
        disk, plug, unplug = self.loop("source")
        with open(disk + "/photo", "w") as f:
            f.write("on the other disk")
        m = self.mount(env={"AUTOGLACIER_CRASH_AT": "freeze-exchanged"})
        os.symlink(disk, m.path("photos"))
        try:
            m.commit()
        except (OSError, AssertionError):
            pass
        self.assertEqual(m.wait_end(), -signal.SIGKILL, "a build with crash points")
        unplug()
        m.env.clear()
        m.start()
        self.waits_saying(m, "photos")
        plug()
        self.again(m)
        m.wait("stored")
        with open(m.restore() + "/photos/photo") as f:
            self.assertEqual(f.read(), "on the other disk")


class Stores(MountCase):
    def test_a_store_that_was_replaced_by_another_is_not_used(self):
        store = os.path.join(self.folder, "store")
        os.mkdir(store)
        m = self.mount({"VAULT": "dir:" + store})
        m.write("a", "text")
        m.commit()
        m.wait("stored")
        os.rename(store, store + ".ours")
        os.mkdir(store)
        m.write("b", "text")
        m.commit()
        m.wait(("waiting", "failed"))
        self.assertIn(store, m.read(".status"))
        self.assertEqual(os.listdir(store), [])
        os.rmdir(store)
        os.rename(store + ".ours", store)
        m.retry()
        m.wait("stored")

    def test_a_store_that_is_not_there_at_first_use_is_said_and_waited_for(self):
        store = os.path.join(self.folder, "store")
        m = self.mount({"VAULT": "dir:" + store})
        self.assertIn(store, m.said())
        m.write("a", "text")
        m.commit()
        m.wait(("waiting", "failed"))
        self.assertFalse(os.path.exists(store))


class Catalogues(MountCase):
    def stored(self):
        m = self.mount()
        m.write("a", "text")
        m.commit()
        m.wait("stored")
        m.write("staged", "not yet")
        self.assertEqual(m.stop(), 0)
        return m, os.path.join(m.data, "catalog.db")

    def refused_saying(self, m, *words):
        r = subprocess.run([Programs.fs, m.point], env=m.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(r.returncode, 1, r.stdout)
        self.assertFalse(is_mounted(m.point))
        for w in words:
            self.assertIn(w, r.stdout)
        with open(os.path.join(m.data, "staging", "current", "staged")) as f:
            self.assertEqual(f.read(), "not yet")

    def goes_on(self, m):
        m.start()
        self.assertEqual(len(m.archives()), 1)
        m.commit("again")
        m.wait("stored")

    def test_a_catalogue_from_a_newer_version_is_refused(self):
        m, path = self.stored()
        with sqlite3.connect(path) as db:
            version = db.execute("pragma user_version").fetchone()[0]
            db.execute("pragma user_version = 9999")
        db.close()
        self.refused_saying(m, path, "newer")
        with sqlite3.connect(path) as db:
            db.execute("pragma user_version = %d" % version)
        db.close()
        self.goes_on(m)

    def test_a_corrupt_catalogue_is_refused_and_kept(self):
        m, path = self.stored()
        shutil.copy(path, path + ".good")
        with open(path, "rb") as f:
            good = f.read()
        for damaged in (b"not a database at all" * 100, good[:5000], good[:100] + b"\xff" * 4000 + good[4100:]):
            with open(path, "wb") as f:
                f.write(damaged)
            self.refused_saying(m, path)
            with open(path, "rb") as f:
                self.assertEqual(f.read(), damaged, "nothing is overwritten")
        os.rename(path + ".good", path)
        self.goes_on(m)

    def test_a_data_folder_that_cannot_be_written_is_refused_in_words(self):
        if os.geteuid() == 0:
            self.skipTest("root writes everywhere")
        m = self.data()
        os.chmod(m.data, 0o500)
        r = subprocess.run([Programs.fs, m.point], env=m.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(r.returncode, 1)
        self.assertIn(m.data, r.stdout)


class Keys(MountCase):
    def test_the_public_key_alone_is_enough_to_archive(self):
        m = self.data()
        private = os.path.join(m.data, "keys", "private.pem")
        os.rename(private, private + ".safe")
        m.start()
        m.write("a", "text")
        m.commit()
        m.wait("stored")
        os.rename(private + ".safe", private)
        with open(m.restore() + "/a") as f:
            self.assertEqual(f.read(), "text")

    def test_keys_that_are_gone_are_not_made_anew_where_archives_are(self):
        m = self.mount()
        m.write("a", "text")
        m.commit()
        m.wait("stored")
        self.assertEqual(m.stop(), 0)
        keys = os.path.join(m.data, "keys")
        for n in ("private.pem", "public.pem"):
            os.rename(os.path.join(keys, n), os.path.join(m.folder, n))
        r = subprocess.run([Programs.fs, m.point], env=m.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(r.returncode, 1)
        self.assertIn("public.pem", r.stdout)
        self.assertEqual(os.listdir(keys), [])

    def test_a_key_that_turns_bad_before_packing_fails_in_words_and_can_be_retried(self):
        store = os.path.join(self.folder, "store")
        os.mkdir(store)
        m = self.mount({"VAULT": "dir:" + store})
        os.rename(store, store + ".away")
        m.write("a", "text")
        m.commit()
        m.wait("waiting")
        public = os.path.join(m.data, "keys", "public.pem")
        with open(public) as f:
            good = f.read()
        with open(public, "w") as f:
            f.write("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
        os.rename(store + ".away", store)
        m.retry()
        until(lambda: "public.pem" in m.read(".status") or m.state() == "stored", lambda: m.read(".status"))
        if m.state() != "stored":  # recipients are fixed at the commit: it may go on with what it remembers
            with open(public, "w") as f:
                f.write(good)
            m.retry()
        m.wait("stored")


if __name__ == "__main__":
    main()
