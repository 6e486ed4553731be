#!/usr/bin/python3
"""The main job: mount, stage, commit, find it listed; all of it as root and as an ordinary user."""
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from mount import MountCase, Programs, is_dead, is_mounted, main, unmount, until  # noqa: E402


class Basic(MountCase):
    def staged(self):
        m = self.mount()
        m.write("letters/one.txt", "dear\n" * 100, 0o640)
        m.write("letters/sub/two.txt", os.urandom(70000))
        os.symlink("one.txt", m.path("letters/link"))
        os.utime(m.path("letters/one.txt"), ns=(1, 1234567890123456789))
        return m

    def test_what_is_staged_becomes_a_stored_archive_that_opens_without_us(self):
        m = self.staged()
        before = m.path("letters")
        subprocess.run(["cp", "-a", before, self.folder], check=True)
        status, said = m.sh("echo 'letters of the year' > .commit")
        self.assertEqual((status, said), (0, ""))
        name = m.wait("stored")
        self.assertRegex(name, r"^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ_letters-of-the-year$")
        self.assertEqual(m.text("description"), "letters of the year\n")
        restored = m.restore()
        self.same_tree(os.path.join(restored, "letters"), os.path.join(self.folder, "letters"))
        m.settled()

    def test_the_root_shows_only_our_names_after_a_commit(self):
        m = self.staged()
        self.assertEqual(sorted(os.listdir(m.point)), [".commit", ".status", "archives", "jobs", "letters"])
        m.commit()
        self.assertEqual(sorted(os.listdir(m.point)), [".commit", ".status", "archives", "jobs"])
        self.assertFalse(os.path.exists(m.path("letters")))

    def test_an_archive_lists_what_it_holds_also_after_a_new_mount(self):
        m = self.staged()
        m.commit()
        name = m.wait("stored")

        def look():
            files = m.path("archives", name, "files")
            st = os.lstat(os.path.join(files, "letters/one.txt"))
            self.assertEqual((oct(st.st_mode), st.st_size, st.st_mtime_ns), ("0o100640", 500, 1234567890123456789))
            self.assertEqual(os.readlink(os.path.join(files, "letters/link")), "one.txt")
            self.assertEqual(sorted(os.listdir(os.path.join(files, "letters"))), ["link", "one.txt", "sub"])
            with open(os.path.join(files, "letters/one.txt")) as f:
                self.assertEqual(f.read(), "dear\n" * 100)

        look()
        self.assertEqual(m.stop(), 0)
        m.start()
        self.assertEqual(m.archives(), [name])
        self.assertEqual(m.state(name), "stored")
        look()

    def test_sums_are_what_sha512sum_checks(self):
        m = self.staged()
        subprocess.run(["cp", "-a", m.path("letters"), self.folder], check=True)
        m.commit()
        name = m.wait("stored")
        r = subprocess.run(["sha512sum", "--strict", "-c", m.path("archives", name, "SHA512SUMS")], cwd=self.folder,
                           stdout=subprocess.PIPE, text=True)
        self.assertEqual(r.returncode, 0, r.stdout)
        self.assertEqual(len(r.stdout.splitlines()), 2)

    def test_reading_commit_counts_what_is_staged_now(self):
        m = self.mount()
        self.assertIn("staged now: nothing", m.read(".commit"))
        for n in range(1, 4):  # each at once after the last: nothing of an older count may be shown
            m.write("d%d/file" % n, "x" * 1000)
            word = lambda what: "%d %s%s" % (n, what, "s" * (n > 1))  # noqa: E731
            self.assertIn("staged now: %s, %s, 0 links, %d.0 kB" % (word("file"), word("folder"), n), m.read(".commit"))
        m.commit("counted")
        said = m.read(".commit")
        self.assertIn("staged now: nothing", said)
        self.assertIn("counted is ", said)

    def test_virtual_files_tell_their_exact_size(self):
        m = self.staged()
        m.commit()
        name = m.wait("stored")
        names = [".commit", ".status", "archives/STATUS.txt"]
        names += [os.path.join("archives", name, n)
                  for n in ("description", "state", "info.json", "SHA512SUMS", "log", ".retry", ".abort")]
        for n in names:
            copy = os.path.join(self.folder, "copy")
            subprocess.run(["cp", m.path(n), copy], check=True)
            self.assertEqual(os.stat(m.path(n)).st_size, os.stat(copy).st_size, n)
            self.assertGreater(os.stat(copy).st_size, 0, n)
            os.unlink(copy)

    def test_info_is_json_that_tells_what_was_archived(self):
        m = self.staged()
        m.commit()
        m.wait("stored")
        info = m.info()
        self.assertEqual((info["state"], info["files"], info["dirs"], info["symlinks"], info["bytes"]),
                         ("stored", 2, 2, 1, 70500))

    def test_sigterm_ends_it_cleanly_and_the_mountpoint_is_free(self):
        m = self.staged()
        self.assertEqual(m.stop(signal.SIGTERM), 0, m.said())
        self.assertFalse(is_mounted(m.point))
        self.assertEqual(os.listdir(m.point), [])
        m.start()
        self.assertEqual(m.read("letters/one.txt"), "dear\n" * 100)

    def test_a_daemon_says_when_it_is_ready_and_ends_with_its_mount(self):
        m = self.data(keys=False)
        r = subprocess.run([Programs.fs, m.point], env=m.environment(), stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(r.returncode, 0, r.stdout)
        self.assertIn("made a key pair", r.stdout)
        self.assertTrue(m.ready())
        with open(os.path.join(m.data, "mount.pid")) as f:
            pid = json.load(f)["pid"]
        m.write("a", "b")
        m.commit()
        m.wait("stored")
        until(lambda: unmount(m.point).returncode == 0, "unmount")
        until(lambda: is_dead(pid), "the daemon ends")

    def test_unmounting_in_the_middle_of_a_commit_finishes_it(self):
        m = self.staged()
        m.write("more", os.urandom(3 << 20))
        name = m.commit()
        self.assertEqual(m.unmount(), 0)
        m.start()
        self.assertEqual(m.state(name), "stored")
        m.settled()


if __name__ == "__main__":
    main()
