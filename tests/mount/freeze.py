#!/usr/bin/python3
"""Committing freezes exactly what is staged: open handles, links, what changes, what cannot be read, and the way back."""
import contextlib
import ctypes
import errno
import mmap
import os
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from calls import link_open  # noqa: E402
from mount import MountCase, NOBODY, main, until  # noqa: E402


class Away(MountCase):
    """For tests that need a commit to stay unfinished: its store's folder is taken away and brought back."""

    def held(self, config=None):
        self.store = os.path.join(self.folder, "store")
        os.mkdir(self.store)
        m = self.mount(dict(config or {}, VAULT="dir:" + self.store))
        return m

    def take_store(self):
        os.rename(self.store, self.store + ".away")

    def bring_store(self, m, archive=None):
        m.wait("waiting", archive)
        os.rename(self.store + ".away", self.store)
        m.retry(archive)


class Handles(Away):
    def test_what_is_open_for_reading_goes_on_with_the_old_bytes(self):
        m = self.held()
        self.take_store()
        m.write("a", "old")
        with open(m.path("a")) as f:
            m.commit()
            m.write("a", "new")
            self.assertEqual(f.read(), "old")
        self.assertEqual(m.read("a"), "new")
        self.assertEqual(m.read("archives", m.latest(), "files", "a"), "old")
        self.bring_store(m)
        m.wait("stored")

    def test_handles_of_the_frozen_tree_change_nothing(self):
        m = self.held()
        self.take_store()
        os.mkdir(m.path("d"))
        m.write("d/a", "old")
        f = os.open(m.path("d/a"), os.O_RDONLY)
        d = os.open(m.path("d"), os.O_RDONLY)
        m.commit()
        try:
            for fn, args, kw in ((os.fchmod, (f, 0o600), {}), (os.utime, (f,), {}), (os.setxattr, (f, "user.x", b"x"), {}),
                                 (os.mkdir, ("new",), {"dir_fd": d}), (os.unlink, ("a",), {"dir_fd": d}),
                                 (os.rename, ("a", "b"), {"src_dir_fd": d, "dst_dir_fd": d}),
                                 (os.symlink, ("x", "l"), {"dir_fd": d}), (os.open, ("n", os.O_CREAT | os.O_WRONLY), {"dir_fd": d}),
                                 (os.open, ("a", os.O_WRONLY), {"dir_fd": d})):
                with self.subTest(fn=fn.__name__), self.assertRaises(OSError) as c:
                    fn(*args, **kw)
                self.assertIn(errno.errorcode[c.exception.errno], ("ESTALE", "ENOENT"))
        finally:
            os.close(f)
            os.close(d)
        self.assertEqual(m.read("archives", m.latest(), "files", "d", "a"), "old")
        self.bring_store(m)
        m.wait("stored")
        self.assertEqual(m.info()["files"], 1)

    def test_what_has_no_name_is_no_business_of_a_commit(self):
        m = self.held()
        self.take_store()
        m.write("d/a", "staged")
        folder = os.open(m.path("d"), os.O_RDONLY)
        unnamed = os.open(m.point, os.O_TMPFILE | os.O_RDWR, 0o600)
        removed = os.open(m.write("b"), os.O_RDWR)
        os.unlink(m.path("b"))
        first = m.commit()
        for fd in (unnamed, removed):
            os.write(fd, b"goes on")
            os.ftruncate(fd, 4)
            os.fchmod(fd, 0o640)
            os.setxattr(fd, "user.x", b"y")
            self.assertEqual((os.fstat(fd).st_nlink, os.pread(fd, 9, 0)), (0, b"goes"))
        self.refused("ESTALE", link_open, unnamed, "/proc/self/fd/%d/n" % folder)
        link_open(unnamed, m.path("n"))
        self.assertEqual(m.refusal(), "EBUSY")
        os.write(unnamed, b" on")
        for fd in (folder, unnamed, removed):
            os.close(fd)
        second = m.commit()
        self.assertEqual([os.listdir(m.path("archives", a, "files")) for a in (first, second)], [["d"], ["n"]])
        self.bring_store(m, first)
        for a, name, text in ((first, "d/a", "staged"), (second, "n", "goes\0\0\0 on")):
            m.wait("stored", a)
            with open(os.path.join(m.restore(a), name)) as f:
                self.assertEqual(f.read(), text)

    def test_nothing_is_written_into_what_was_archived_and_removed(self):
        """As by a name that the kernel has not forgotten yet."""
        m = self.mount()
        kept = [os.open(m.write(n, "staged"), os.O_PATH) for n in ("a", "words")]
        os.rename(m.path("words"), m.path(".commit"))
        m.wait("stored")
        for fd in kept:
            path = "/proc/self/fd/%d" % fd
            self.assertEqual(os.stat(path).st_nlink, 0)
            for call in ((os.open, path, os.O_WRONLY), (os.open, path, os.O_RDWR | os.O_TRUNC), (os.truncate, path, 0), (os.chmod, path, 0o600)):
                self.refused("ESTALE", *call)
            os.close(fd)

    def test_paths_lead_to_the_new_area_at_once(self):
        m = self.mount()
        for k in range(20):
            os.makedirs(m.path("d/e"))
            m.write("d/e/a", "x%d" % k)
            m.commit()
            self.assertFalse(os.path.exists(m.path("d")), k)
            os.mkdir(m.path("d"))
            m.write("d/b", "y")
            self.assertEqual(os.listdir(m.path("d")), ["b"])
            os.unlink(m.path("d/b"))
            os.rmdir(m.path("d"))

    def test_a_shared_writable_mapping_counts_as_open_for_writing(self):
        m = self.mount()
        m.write("a", b"." * 4096)
        fd = os.open(m.path("a"), os.O_RDWR)
        mem = mmap.mmap(fd, 4096)
        os.close(fd)
        mem[:3] = b"abc"
        self.assertEqual(m.refusal(), "EBUSY")
        mem.close()
        m.commit()
        m.wait("stored")

    def test_writers_in_flight_lose_nothing_and_nothing_twice(self):
        m = self.mount()
        stop, written = threading.Event(), []

        def writer(w):
            k = 0
            while not stop.is_set():
                name = "w%d-%d" % (w, k)
                try:
                    m.write(name, name * 50)
                    written.append(name)
                except OSError as e:  # the freeze came between making and writing: the program is told
                    assert errno.errorcode[e.errno] in ("ESTALE", "ENOENT"), e
                k += 1
                time.sleep(0.001)

        threads = [threading.Thread(target=writer, args=(w,)) for w in range(3)]
        for t in threads:
            t.start()
        done = 0
        while done < 6:
            try:
                m.commit("round %d" % done)
                done += 1
            except OSError as e:
                self.assertIn(errno.errorcode[e.errno], ("EBUSY", "ENODATA"))
        stop.set()
        for t in threads:
            t.join()
        found = [n for n in os.listdir(m.point) if n.startswith("w")]
        for n in found:
            self.assertEqual(m.read(n), n * 50)
        for a in m.archives():
            m.wait("stored", a)
            restored = m.restore(a)
            for n in os.listdir(restored):
                with open(os.path.join(restored, n)) as f:
                    self.assertEqual(f.read(), n * 50)
                found.append(n)
        self.assertEqual(sorted(found), sorted(set(found)), "nothing twice")
        self.assertEqual(set(written) - set(found), set(), "nothing lost")


class Links(Away):
    def setUp(self):
        super().setUp()
        self.outside = os.path.join(self.folder, "outside")
        os.makedirs(self.outside + "/sub")
        for name in ("one", "sub/two"):
            with open(os.path.join(self.outside, name), "w") as f:
                f.write("text of " + name)
        os.symlink("one", self.outside + "/inner")
        os.symlink("../../elsewhere", self.outside + "/leads out")

    def archived(self, m, wanted="stored"):
        m.commit()
        m.wait(wanted)
        return m.restore()

    def test_a_link_at_the_top_stands_for_its_target(self):
        m = self.mount()
        os.symlink(self.outside + "/one", m.path("file"))
        os.symlink(self.outside, m.path("folder"))
        os.symlink(self.outside + "/inner", m.path("link to a link"))
        restored = self.archived(m)
        self.assertTrue(os.path.isfile(restored + "/file") and not os.path.islink(restored + "/file"))
        self.assertTrue(os.path.isdir(restored + "/folder") and not os.path.islink(restored + "/folder"))
        with open(restored + "/folder/sub/two") as f:
            self.assertEqual(f.read(), "text of sub/two")
        with open(restored + "/link to a link") as f:
            self.assertEqual(f.read(), "text of one")
        self.same_tree(self.outside, restored + "/folder")
        self.assertTrue(os.path.exists(self.outside + "/one"), "sources stay")
        m.settled()
        self.assertEqual([n for n in os.listdir(m.point) if n in ("file", "folder")], [])

    def test_deeper_links_stay_links_and_those_that_lead_out_are_counted(self):
        m = self.mount()
        os.symlink(self.outside, m.path("folder"))
        os.mkdir(m.path("d"))
        os.symlink(self.outside + "/one", m.path("d/deep"))
        os.symlink("other", m.path("d/near"))
        restored = self.archived(m)
        self.assertEqual(os.readlink(restored + "/d/deep"), self.outside + "/one")
        self.assertEqual(os.readlink(restored + "/folder/inner"), "one")
        self.assertGreater(m.info()["warnings"], 0)
        self.assertIn("2", " ".join(m.info()["warning_texts"]))

    def test_a_relative_link_is_meant_from_the_mountpoint(self):
        m = self.mount()
        os.symlink("../../outside/one", m.path("relative"))
        restored = self.archived(m)
        with open(restored + "/relative") as f:
            self.assertEqual(f.read(), "text of one")

    def test_a_link_to_something_staged_is_archived(self):
        m = self.mount()
        m.write("a", "text")
        os.mkdir(m.path("d"))
        m.write("d/b", "text")
        os.symlink("a", m.path("near"))
        os.symlink(m.path("d"), m.path("whole path"))
        m.commit()
        m.wait(("stored", "incomplete"))
        files = os.listdir(m.path("archives", m.latest(), "files"))
        self.assertTrue({"a", "d"} <= set(files), files)
        staged = [n for n in os.listdir(m.point) if n in ("near", "whole path")]
        self.assertEqual(sorted(staged + [n for n in files if n in ("near", "whole path")]), ["near", "whole path"],
                         "in the archive or back in staging, never lost")

    def test_the_data_folder_and_the_mount_are_never_entered(self):
        m = self.mount()
        os.symlink(m.data, m.path("data"))
        os.symlink(m.path("archives"), m.path("archive of archives"))
        os.symlink(m.point, m.path("myself"))
        os.symlink(self.folder, m.path("parent of both"))
        m.write("a", "text")
        m.commit()
        m.wait(("stored", "incomplete"), m.latest())
        restored = m.restore()
        everything = subprocess.run(["find", restored], stdout=subprocess.PIPE, text=True, errors="replace").stdout
        for forbidden in ("catalog.db", "private.pem", "/staging/", ".esdk", "STATUS.txt"):
            self.assertNotIn(forbidden, everything)
        self.assertIn("/outside/sub/two", everything)

    def test_a_link_to_what_is_no_file_goes_back(self):
        m = self.mount()
        os.symlink("/dev/null", m.path("device"))
        os.mkfifo(self.outside + "/pipe")
        os.symlink(self.outside + "/pipe", m.path("pipe"))
        m.write("a", "text")
        restored = self.archived(m, "incomplete")
        self.assertEqual(os.listdir(restored), ["a"])
        until(lambda: {"device", "pipe"} <= set(os.listdir(m.point)), "links are back")
        for name in ("device", "pipe"):
            self.assertIn(name, m.text("log"))

    def test_looking_through_links_back_into_the_mount_comes_to_an_end(self):
        m = self.held()
        self.take_store()
        os.symlink(self.folder, m.path("above"))
        os.symlink(self.outside, self.folder + "/chain")
        os.symlink(self.folder + "/chain", m.path("round"))
        name = m.commit()
        m.wait("waiting")
        os.unlink(self.folder + "/chain")
        os.symlink(m.path("archives", name, "files", "round"), self.folder + "/chain")
        for command in ("find -L archives | head -2000", "ls -lRL archives | head -2000", "cat archives/*/files/round"):
            status, said = m.sh(command)  # a time-out fails it
            self.assertNotIn("/files/above/one/mnt/archives/", said)
        self.assertEqual(m.state(name), "waiting")
        os.unlink(self.folder + "/chain")
        m.sh("echo yes > archives/%s/.abort" % name)
        until(lambda: os.path.islink(m.path("above")), "it is back")

    def test_files_shows_targets_until_stored(self):
        m = self.held()
        self.take_store()
        os.symlink(self.outside, m.path("folder"))
        os.symlink(self.outside + "/one", m.path("file"))
        name = m.commit()
        m.wait("waiting")
        self.assertEqual(m.read("archives", name, "files", "file"), "text of one")
        self.assertEqual(m.read("archives", name, "files", "folder", "sub", "two"), "text of sub/two")
        self.refused("EROFS", open, m.path("archives", name, "files", "file"), "w")
        self.bring_store(m)
        m.wait("stored")

    def test_links_are_followed_with_the_rights_of_their_owner(self):
        if os.geteuid() != 0:
            self.skipTest("root's mount")
        m = self.mount()
        for p in (self.folder, m.folder):
            os.chmod(p, 0o755)
        secret = os.path.join(self.folder, "secret")
        with open(secret, "w") as f:
            f.write("root's own")
        os.chmod(secret, 0o600)
        code = "import os, sys; os.setgid(%d); os.setuid(%d); os.symlink(sys.argv[1], sys.argv[2])" % (NOBODY, NOBODY)
        subprocess.run(["/usr/bin/python3", "-c", code, secret, m.path("theirs")], check=True)
        os.symlink(secret, m.path("mine"))
        restored = self.archived(m, "incomplete")
        self.assertEqual(os.listdir(restored), ["mine"])
        self.assertIn("theirs", m.text("log"))
        until(lambda: os.path.islink(m.path("theirs")), "their link is back")

    def test_what_users_make_belongs_to_them(self):
        if os.geteuid() != 0:
            self.skipTest("root's mount")
        m = self.mount()
        for p in (self.folder, m.folder):
            os.chmod(p, 0o755)
        code = ("import os, sys; os.setgroups([4242]); os.setgid(%d); os.setuid(%d); os.chdir(sys.argv[1]); os.mkdir('d'); "
                "open('d/a', 'w').write('x'); os.chown('d/a', -1, 4242); os.symlink('a', 'd/l'); os.mkfifo('d/p'); "
                "os.unlink('d/p')" % (NOBODY, NOBODY))
        subprocess.run(["/usr/bin/python3", "-c", code, m.point], check=True)
        for name, gid in (("d", NOBODY), ("d/a", 4242), ("d/l", NOBODY)):
            st = os.lstat(m.path(name))
            self.assertEqual((st.st_uid, st.st_gid), (NOBODY, gid), name)
        r = subprocess.run(["/usr/bin/python3", "-c",
                            "import os, sys; os.setgid(%d); os.setuid(%d); open(sys.argv[1], 'w').write('x')" % (NOBODY, NOBODY),
                            m.path(".commit")], stderr=subprocess.PIPE, text=True)
        self.assertIn("Permission denied", r.stderr)
        restored = self.archived(m)
        self.assertEqual(os.lstat(restored + "/d/a").st_gid, 4242)


class Changing(Away):
    def test_a_file_that_changes_while_it_is_read_is_kept_as_read_with_a_warning(self):
        m = self.mount({"COMPRESSION": "gzip"})
        source = os.path.join(self.folder, "growing")
        with open(source, "wb") as f:
            f.write(b"0123456789abcdef" * (4 << 16))
        stop = threading.Event()

        def grow():
            with open(source, "ab", buffering=0) as f:
                while not stop.is_set():
                    f.write(b"0123456789abcdef")

        t = threading.Thread(target=grow)
        t.start()
        try:
            for _ in range(40):  # on a busy machine the file may stand still just while it is read
                os.symlink(source, m.path("growing"))
                m.commit()
                m.wait("stored")
                if "growing" in m.text("log"):
                    break
        finally:
            stop.set()
            t.join()
        self.assertIn("growing", m.text("log"))
        restored = m.restore()
        with open(restored + "/growing", "rb") as f:
            self.assertEqual(set(f.read().split(b"0123456789abcdef")), {b""})
        subprocess.run(["sha512sum", "--quiet", "-c", m.path("archives", m.latest(), "SHA512SUMS")], cwd=restored, check=True)

    def test_what_the_owner_closed_to_himself_is_archived_with_its_mode(self):
        m = self.mount()
        m.write("closed/a", "text", 0o000)
        m.write("file", "text", 0o000)
        os.chmod(m.path("closed"), 0)
        m.commit()
        m.wait("stored")
        files = m.path("archives", m.latest(), "files")
        self.assertEqual(oct(os.stat(files + "/file").st_mode), "0o100000")
        self.assertEqual(oct(os.stat(files + "/closed").st_mode), "0o40000")
        m.settled()

    def test_what_cannot_be_read_comes_back_and_is_named(self):
        if os.geteuid() == 0:
            self.skipTest("root reads everything")
        m = self.mount()
        os.symlink("/etc/shadow", m.path("shadow"))
        m.write("a", "text")
        m.commit()
        m.wait("incomplete")
        self.assertIn("shadow", m.text("log"))
        until(lambda: os.path.islink(m.path("shadow")), "the link is back")
        self.assertEqual(m.info()["returned"], 1)


class Back(Away):
    def test_fifos_sockets_and_devices_go_back_and_the_rest_is_stored(self):
        m = self.mount()
        os.mkdir(m.path("d"))
        os.chmod(m.path("d"), 0o711)
        os.mkfifo(m.path("d/fifo"))
        os.chmod(m.path("d/fifo"), 0o620)
        here = os.getcwd()
        os.chdir(m.point)
        with socket.socket(socket.AF_UNIX) as s:
            s.bind("socket")
        os.chdir(here)
        names = ["d/fifo", "socket"]
        if os.geteuid() == 0:
            os.mknod(m.path("device"), 0o20600, os.makedev(1, 3))
            names.append("device")
        m.write("d/a", "text")
        m.commit()
        m.wait("incomplete")
        until(lambda: all(os.path.lexists(m.path(n)) for n in names), lambda: os.listdir(m.point))
        self.assertEqual(os.listdir(m.path("d")), ["fifo"])
        self.assertEqual((oct(os.stat(m.path("d")).st_mode), oct(os.stat(m.path("d/fifo")).st_mode)), ("0o40711", "0o10620"))
        for n in names:
            self.assertIn(n, m.text("log"))
        self.assertEqual(os.listdir(m.restore() + "/d"), ["a"])
        self.assertEqual(m.info()["returned"], len(names))

    def test_what_exclude_names_stays_and_litter_is_dropped(self):
        m = self.mount({"EXCLUDE": ["*.bak", "cache/"]})
        for n in ("a", "a.bak", "d/b", "d/b.bak", "cache/c", "d/.DS_Store", ".directory", "d/Thumbs.db", ".goutputstream-ABC"):
            m.write(n, "text")
        said = m.read(".commit")
        self.assertIn("EXCLUDE", said)
        m.commit()
        m.wait("stored")
        until(lambda: all(os.path.exists(m.path(n)) for n in ("cache/c", "a.bak", "d/b.bak")), "what was excluded is back")
        found = sorted(os.path.relpath(os.path.join(p, f), m.point) for top in ("a.bak", "d", "cache", "a", ".directory")
                       for p, _, files in os.walk(m.path(top)) for f in files)
        self.assertEqual(found, ["cache/c", "d/b.bak"])
        self.assertEqual(m.read("a.bak"), "text")
        restored = m.restore()
        everything = sorted(os.path.relpath(os.path.join(p, f), restored) for p, _, fs in os.walk(restored) for f in fs)
        self.assertEqual(everything, ["a", "d/b"])

    def test_what_comes_back_never_overwrites(self):
        m = self.held()
        self.take_store()
        os.mkfifo(m.path("name"))
        os.mkfifo(m.path("free"))
        m.write("a", "text")
        archive = m.commit("clash")
        m.write("name", "a new file")
        self.bring_store(m)
        m.wait("incomplete")
        until(lambda: os.path.isdir(m.path(archive)) and sorted(os.listdir(m.path(archive))) == ["free", "name"],
              lambda: os.listdir(m.point))
        self.assertEqual(m.read("name"), "a new file")

    def test_abort_brings_everything_back(self):
        m = self.held()
        self.take_store()
        m.write("d/a", "text")
        os.utime(m.path("d/a"), ns=(1, 123456789_123456789))
        os.link(m.path("d/a"), m.path("second"))
        os.symlink("/etc/hostname", m.path("link"))
        os.setxattr(m.path("d"), "user.x", b"y")
        archive = m.commit()
        m.wait("waiting")
        self.assertEqual(m.sh("echo yes > archives/%s/.abort" % archive), (0, ""))
        until(lambda: archive not in m.archives(), "the archive is gone")
        until(lambda: all(os.path.lexists(m.path(n)) for n in ("d/a", "second", "link")), lambda: os.listdir(m.point))
        st = os.stat(m.path("d/a"))
        self.assertEqual((st.st_mtime_ns, st.st_nlink, m.read("second")), (123456789_123456789, 2, "text"))
        self.assertEqual((os.readlink(m.path("link")), os.getxattr(m.path("d"), "user.x")), ("/etc/hostname", b"y"))
        os.rename(self.store + ".away", self.store)
        m.commit()
        m.wait("stored")
        self.assertEqual(m.info()["files"] + m.info()["hardlinks"], 3)

    def test_abort_with_a_clash_goes_into_a_folder(self):
        m = self.held()
        self.take_store()
        m.write("a", "old")
        archive = m.commit()
        m.write("a", "new")
        m.sh("echo yes > archives/%s/.abort" % archive)
        until(lambda: os.path.exists(m.path(archive, "a")), lambda: os.listdir(m.point))
        self.assertEqual((m.read("a"), m.read(archive, "a")), ("new", "old"))

    def test_a_stored_archive_cannot_be_aborted(self):
        m = self.mount()
        m.write("a", "text")
        archive = m.commit()
        m.wait("stored")
        fd = os.open(m.path("archives", archive, ".abort"), os.O_WRONLY)
        with self.assertRaises(OSError):
            os.write(fd, b"yes")
        os.close(fd)
        self.assertEqual(m.state(), "stored")
        self.assertIn("stored", m.read(".status"))

    def test_looking_at_abort_and_retry_does_nothing(self):
        m = self.held()
        self.take_store()
        m.write("a", "text")
        archive = m.commit()
        m.wait("waiting")
        for n in (".abort", ".retry"):
            m.read("archives", archive, n)
            m.sh(": > archives/%s/%s; touch archives/%s/%s; echo > archives/%s/%s" % ((archive, n) * 3))
        self.assertEqual(m.state(archive), "waiting")
        self.bring_store(m)
        m.wait("stored")


class Windows(MountCase):
    def test_open_windows_are_told_when_a_state_changes(self):
        libc = ctypes.CDLL(None, use_errno=True)
        m = self.mount()
        m.write("a", "text")
        fd = libc.inotify_init1(os.O_NONBLOCK)
        self.addCleanup(os.close, fd)
        self.assertGreaterEqual(libc.inotify_add_watch(fd, os.fsencode(m.path("archives")), 0x4 | 0x2 | 0x100), 0)
        m.commit()
        m.wait("stored")

        def told():
            try:
                return os.read(fd, 4096)
            except BlockingIOError:
                return b""

        until(told, "an event for archives/")

    def test_open_windows_see_go_what_was_committed(self):
        """File managers that read a folder once believe in events alone."""
        libc = ctypes.CDLL(None, use_errno=True)
        m = self.mount()
        m.write("a", "text")
        m.write("d/b", "text")
        os.symlink("/etc/hostname", m.path("l"))
        fd = libc.inotify_init1(os.O_NONBLOCK)
        self.addCleanup(os.close, fd)
        self.assertGreaterEqual(libc.inotify_add_watch(fd, os.fsencode(m.point), 0x200), 0)  # IN_DELETE
        seen = set()

        def told():
            with contextlib.suppress(BlockingIOError):
                data = os.read(fd, 65536)
                while data:
                    length = struct.unpack_from("iIII", data)[3]
                    seen.add(data[16:16 + length].rstrip(b"\0"))
                    data = data[16 + length:]
            return {b"a", b"d", b"l"} <= seen

        m.commit()
        until(told, lambda: "events for what is gone: %s" % seen)
        self.assertEqual(sorted(os.listdir(m.point)), [".commit", ".status", "archives", "jobs"])
        self.refused("ENOENT", os.stat, m.path("a"))

    def test_open_windows_see_new_archives(self):
        libc = ctypes.CDLL(None, use_errno=True)
        m = self.mount()
        fd = libc.inotify_init1(os.O_NONBLOCK)
        self.addCleanup(os.close, fd)
        self.assertGreaterEqual(libc.inotify_add_watch(fd, os.fsencode(m.path("archives")), 0x100), 0)  # IN_CREATE
        looks = subprocess.Popen(["/usr/bin/python3", "-c", "import os, sys\nwhile True: os.stat(sys.argv[1])", m.path("archives")])
        self.addCleanup(looks.wait)
        self.addCleanup(looks.kill)
        for _ in range(5):
            m.write("a", "text")
            name = m.commit()
            here = os.open(m.path("archives", name), os.O_RDONLY)
            seen = b""

            def told():
                nonlocal seen
                with contextlib.suppress(BlockingIOError):
                    seen += os.read(fd, 65536)
                return name.encode() in seen

            until(told, "an event for " + name)
            self.assertEqual(os.readlink("/proc/self/fd/%d" % here), m.path("archives", name))
            os.close(here)
            self.assertEqual(oct(os.stat(m.path("archives")).st_mode), "0o40555")
            self.refused("EACCES" if os.geteuid() else "EROFS", os.mkdir, m.path("archives/new"))
            m.wait("stored", name)
        self.assertEqual(len(m.archives()), 5)

    def test_what_is_new_under_a_name_that_went_stays(self):
        m = self.mount()
        for k in range(30):
            for n in "abc":
                m.write(n, "%d" % k)
            m.commit()
            for n in "cba":
                m.write(n, "new %d" % k)
            for _ in range(3):
                self.assertEqual([m.read(n) for n in "abc"], ["new %d" % k] * 3)
        for a in m.archives():
            m.wait("stored", a)
        self.assertEqual([m.read(n) for n in "abc"], ["new 29"] * 3)


if __name__ == "__main__":
    main()
