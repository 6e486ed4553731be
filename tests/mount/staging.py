#!/usr/bin/python3
"""The staging area is a real POSIX place: what programs do with files works, and trees arrive whole."""
import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from calls import link_open, names_in_steps  # noqa: E402
from mount import MountCase, Programs, main, until  # noqa: E402

LIBC = ctypes.CDLL(None, use_errno=True)


def renameat2(a, b, flags):
    if LIBC.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags) < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def odd_tree(top):
    """Names, modes and shapes that copies get wrong."""
    os.makedirs(top + "/d/e/f")
    names = [b"plain", "Grüße ☃".encode(), b"new\nline", b"\xff\xfe invalid", b"x" * 255, b" lead", b"-dash", b"a\\b", b"'\"$(x)"]
    for i, n in enumerate(names):
        with open(os.path.join(os.fsencode(top), n), "wb") as f:
            f.write(b"%d\n" % i * (i * 997))
    open(top + "/empty", "w").close()
    with open(top + "/sparse", "wb") as f:
        f.truncate(10 << 20)
        f.seek(5 << 20)
        f.write(b"island")
    os.link(top + "/plain", top + "/d/second name")
    os.link(top + "/plain", top + "/d/e/third name")
    os.symlink("plain", top + "/link")
    os.symlink("/no/where", top + "/dangling")
    os.symlink("d/e", top + "/to a folder")
    os.setxattr(top + "/plain", "user.comment", b"\0binary\xff")
    os.setxattr(top + "/d", "user.folder", b"v" * 200)
    for name, mode in (("none", 0), ("write only", 0o200), ("all", 0o777), ("set", 0o4755), ("group", 0o2755)):
        with open(top + "/" + name, "w") as f:
            f.write(name)
        os.chmod(top + "/" + name, mode)
    os.mkdir(top + "/closed")
    os.chmod(top + "/d/e", 0o1777)
    os.chmod(top + "/closed", 0o500)
    for i, (path, dirs, files) in enumerate(os.walk(top, topdown=False)):
        for n in files + dirs:
            os.utime(os.path.join(path, n), ns=(1, 1_000_000_000_123_456_789 + i), follow_symlinks=False)
    os.utime(top, ns=(1, 987654321_000000001))


class Trees(MountCase):
    """A tree copied in by any program is identical, and comes out of the archive identical."""

    def setUp(self):
        super().setUp()
        self.source = os.path.join(self.folder, "source")
        odd_tree(self.source)
        if os.geteuid() != 0:  # what one cannot read one cannot copy
            for name in ("none", "write only"):
                os.unlink(self.source + "/" + name)

    def copied(self, m, *command):
        subprocess.run(command, check=True, cwd=self.folder, timeout=120)
        self.same_tree(self.source, m.path("source"))
        r = subprocess.run(["diff", "-r", "--no-dereference", self.source, m.path("source")], stdout=subprocess.PIPE, text=True)
        self.assertEqual((r.returncode, r.stdout), (0, ""))

    def archived(self, m):
        m.commit()
        m.wait("stored")
        restored = m.restore()
        self.same_tree(self.source, restored + "/source")
        m.settled()
        return restored

    def test_cp_a(self):
        m = self.mount()
        self.copied(m, "cp", "-a", "source", m.point)
        restored = self.archived(m)
        self.assertLess(os.stat(restored + "/source/sparse").st_blocks * 512, 1 << 20, "holes stay holes")
        if shutil.which("rsync"):
            r = subprocess.run(["rsync", "-aHAXnc", "--itemize-changes", self.source + "/", restored + "/source/"],
                               stdout=subprocess.PIPE, text=True, check=True)
            self.assertEqual(r.stdout, "")

    def test_rsync(self):
        if not shutil.which("rsync"):
            self.skipTest("no rsync")
        m = self.mount()
        self.copied(m, "rsync", "-aHAX", "source", m.point)
        self.copied(m, "rsync", "-aHAX", "--checksum", "--inplace", "source", m.point)
        self.archived(m)

    def test_tar(self):
        m = self.mount()
        subprocess.run(["tar", "-cf", "packed.tar", "--format=posix", "--xattrs", "-S", "source"], cwd=self.folder, check=True)
        self.copied(m, "tar", "-xpf", "packed.tar", "--xattrs", "--xattrs-include=user.*", "-C", m.point)
        self.archived(m)

    def test_cp_r_of_a_system_tree(self):
        m = self.mount()
        subprocess.run(["cp", "-a", "/usr/share/doc/bash", "/usr/share/perl5/Debconf", m.point], check=True)
        keep = os.path.join(self.folder, "keep")
        os.mkdir(keep)
        subprocess.run(["cp", "-a", m.path("bash"), m.path("Debconf"), keep], check=True)
        self.same_tree("/usr/share/doc/bash", m.path("bash"), owners=os.geteuid() == 0)
        m.commit()
        m.wait("stored")
        restored = m.restore()
        for name in ("bash", "Debconf"):
            self.same_tree(keep + "/" + name, restored + "/" + name)

    def test_files_shows_what_was_frozen_and_later_what_is_stored(self):
        m = self.mount()
        subprocess.run(["cp", "-a", "source", m.point], check=True, cwd=self.folder)
        m.commit()
        name = m.wait("stored")
        files = m.path("archives", name, "files", "source")
        wanted, found = tree_without_content(self.source), tree_without_content(files)
        self.assertEqual(wanted, found)


def tree_without_content(top):
    out = {}
    for path, dirs, names in os.walk(os.fsencode(top)):
        for n in dirs + names:
            p = os.path.join(path, n)
            st = os.lstat(p)
            regular = stat.S_ISREG(st.st_mode)
            out[os.path.relpath(p, os.fsencode(top))] = (oct(st.st_mode), st.st_mtime_ns, st.st_uid, st.st_gid,
                                                        st.st_size if regular else 0,
                                                        os.readlink(p) if stat.S_ISLNK(st.st_mode) else None)
    return out


class Calls(MountCase):
    """Single system calls that suites, editors and databases use."""

    def setUp(self):
        super().setUp()
        self.m = self.mount()

    def test_rename_flags(self):
        m = self.m
        m.write("a", "a")
        m.write("b", "b")
        self.refused("EEXIST", renameat2, m.path("a"), m.path("b"), 1)
        renameat2(m.path("a"), m.path("b"), 2)
        self.assertEqual((m.read("a"), m.read("b")), ("b", "a"))
        renameat2(m.path("a"), m.path("c"), 1)
        self.assertFalse(os.path.exists(m.path("a")))
        os.replace(m.path("c"), m.path("b"))
        self.assertEqual(m.read("b"), "b")

    def test_times_in_nanoseconds(self):
        m = self.m
        p = m.write("a")
        os.utime(p, ns=(1_111_111_111_111_111_111, 1_222_222_222_222_222_222))
        st = os.stat(p)
        self.assertEqual((st.st_atime_ns, st.st_mtime_ns), (1_111_111_111_111_111_111, 1_222_222_222_222_222_222))
        os.symlink("a", m.path("l"))
        os.utime(m.path("l"), ns=(5, 1_333_333_333_333_333_333), follow_symlinks=False)
        self.assertEqual(os.lstat(m.path("l")).st_mtime_ns, 1_333_333_333_333_333_333)

    def test_inode_numbers_and_link_counts_are_those_of_one_file(self):
        m = self.m
        m.write("a", "x")
        os.link(m.path("a"), m.path("b"))
        a, b = os.stat(m.path("a")), os.stat(m.path("b"))
        self.assertEqual((a.st_ino, a.st_dev, a.st_nlink), (b.st_ino, b.st_dev, 2))
        os.rename(m.path("b"), m.path("c"))
        self.assertEqual(os.stat(m.path("c")).st_ino, a.st_ino)
        os.unlink(m.path("c"))
        self.assertEqual(os.stat(m.path("a")).st_nlink, 1)
        with os.scandir(m.point) as d:
            self.assertEqual([e.inode() for e in d if e.name == "a"], [a.st_ino])

    def test_mmap_shared_is_seen_by_read_and_the_other_way_round(self):
        m = self.m
        p = m.write("a", b"." * 8192)
        with open(p, "r+b") as f, mmap.mmap(f.fileno(), 8192) as mem:
            mem[4096:4100] = b"here"
            with open(p, "rb") as g:
                self.assertEqual(g.read()[4096:4100], b"here")
            os.pwrite(f.fileno(), b"there", 0)
            self.assertEqual(mem[:5], b"there")
            mem.flush()

    def test_what_a_mapping_changes_stays_in_its_place_also_where_the_file_is_appended_to(self):
        p = self.m.write("a", b"." * 5000)
        with open(p, "a+b") as f, mmap.mmap(f.fileno(), 0) as mem:
            mem[100:104] = b"here"
            mem.flush()
            f.write(b"end")
            f.flush()
            mem[200:205] = b"there"
        with open(p, "rb") as f:
            self.assertEqual(f.read(), b"." * 100 + b"here" + b"." * 96 + b"there" + b"." * 4795 + b"end")

    def test_locks_between_processes(self):
        m = self.m
        p = m.write("a", "x")
        with open(p, "r+b") as f:
            for lock in (fcntl.lockf, fcntl.flock):
                lock(f, fcntl.LOCK_EX)
                script = "import fcntl,sys; f=open(sys.argv[1],'r+b'); fcntl.%s(f, fcntl.LOCK_EX|fcntl.LOCK_NB)" % lock.__name__
                r = subprocess.run([sys.executable, "-c", script, p], stderr=subprocess.PIPE, text=True)
                self.assertIn("Resource temporarily unavailable", r.stderr)
                lock(f, fcntl.LOCK_UN)
                subprocess.run([sys.executable, "-c", script, p], check=True)

    def test_sqlite_works(self):
        if not shutil.which("sqlite3"):
            self.skipTest("no sqlite3")
        for mode in ("wal", "delete"):
            status, said = self.m.sh("sqlite3 %s.db 'pragma journal_mode=%s; create table t(x); insert into t values (42); "
                                     "select x from t; pragma integrity_check'" % (mode, mode))
            self.assertEqual((status, said), (0, "%s\n42\nok\n" % mode))

    def test_fallocate_holes_and_seeking(self):
        m = self.m
        fd = os.open(m.path("a"), os.O_CREAT | os.O_RDWR)
        self.addCleanup(os.close, fd)
        os.posix_fallocate(fd, 0, 1 << 20)
        self.assertEqual(os.fstat(fd).st_size, 1 << 20)
        self.assertGreaterEqual(os.fstat(fd).st_blocks * 512, 1 << 20)
        os.pwrite(fd, b"x" * (1 << 20), 0)
        self.assertEqual(LIBC.fallocate(fd, 3, ctypes.c_long(65536), ctypes.c_long(131072)), 0)
        self.assertEqual(os.pread(fd, 3, 65536), b"\0\0\0")
        os.fsync(fd)
        self.assertEqual(os.lseek(fd, 0, os.SEEK_HOLE), 65536)
        self.assertEqual(os.lseek(fd, 65536, os.SEEK_DATA), 65536 + 131072)
        self.refused("ENXIO", os.lseek, fd, 1 << 20, os.SEEK_DATA)

    def test_seeking_in_a_fresh_file(self):
        fd = os.open(self.m.path("a"), os.O_CREAT | os.O_RDWR)
        self.addCleanup(os.close, fd)
        self.refused("ENXIO", os.lseek, fd, 0, os.SEEK_DATA)
        os.ftruncate(fd, 1 << 20)
        os.pwrite(fd, b"x", 1 << 19)
        self.assertEqual(os.lseek(fd, 0, os.SEEK_DATA), 1 << 19)

    def test_unnamed_files_can_be_given_a_name(self):
        m = self.m
        fd = os.open(m.point, os.O_TMPFILE | os.O_RDWR, 0o600)
        self.addCleanup(os.close, fd)
        os.write(fd, b"x")
        self.assertNotIn("named", os.listdir(m.point))
        link_open(fd, m.path("named"))
        self.assertEqual(m.read("named"), "x")

    def test_unnamed_files_get_no_place_among_our_names(self):
        m = self.m
        m.write("a", "x")
        archive = m.commit()
        m.wait("stored")
        fd = os.open(m.point, os.O_TMPFILE | os.O_RDWR, 0o600)
        self.addCleanup(os.close, fd)
        for name, why in ((".commit", "EEXIST"), (".status", "EEXIST"), ("archives", "EEXIST"), ("jobs", "EEXIST"), (".autoglacier", "EPERM")):
            self.refused(why, link_open, fd, m.path(name))
        os.unlink(m.path(".commit"))
        self.refused("EPERM", link_open, fd, m.path(".commit"))
        why = "EROFS" if os.geteuid() == 0 else "EACCES"
        for folder in ("archives", "jobs", "archives/" + archive, "archives/" + archive + "/files"):
            self.refused(why, os.open, m.path(folder), os.O_TMPFILE | os.O_RDWR)
            self.refused("EPERM" if why == "EROFS" else why, link_open, fd, m.path(folder, "named"))

    def test_folders_read_in_small_steps_show_every_name_once(self):
        m = self.m
        for k in range(6):
            m.write("some name %d" % k)
            m.write("d/some name %d" % k)
        for folder in (".", "d", "archives"):
            path = m.path(folder)
            wanted = sorted(os.listdir(path) + [".", ".."])
            for size in range(64, 600, 8):
                self.assertEqual(names_in_steps(path, size), wanted, (folder, size))

    def test_statfs_is_that_of_the_disk_below(self):
        a, b = os.statvfs(self.m.point), os.statvfs(self.m.data)
        self.assertEqual((a.f_blocks * a.f_frsize, a.f_namemax), (b.f_blocks * b.f_frsize, b.f_namemax))
        self.assertGreater(a.f_bavail, 0)

    def test_copy_file_range_and_sendfile(self):
        m = self.m
        data = os.urandom(300000)
        m.write("a", data)
        with open(m.path("a"), "rb") as a, open(m.path("b"), "wb") as b:
            n = os.copy_file_range(a.fileno(), b.fileno(), len(data))
            while n < len(data):
                n += os.sendfile(b.fileno(), a.fileno(), n, len(data) - n)
        with open(m.path("b"), "rb") as b:
            self.assertEqual(b.read(), data)

    def test_copy_between_filesystems_says_what_makes_programs_copy_by_hand(self):
        m = self.m
        outside = os.path.join(self.folder, "outside")
        with open(outside, "wb") as f:
            f.write(b"x" * 10000)
        with open(outside, "rb") as a, open(m.path("a"), "wb") as b:
            try:
                os.copy_file_range(a.fileno(), b.fileno(), 10000)
            except OSError as e:
                self.assertIn(errno.errorcode[e.errno], ("EXDEV", "ENOSYS", "EINVAL", "EOPNOTSUPP"))
        r = subprocess.run(["cp", "--reflink=always", outside, m.path("c")], stderr=subprocess.PIPE)
        self.assertNotEqual(r.returncode, 0)
        subprocess.run(["cp", "--reflink=auto", outside, m.path("c")], check=True)

    def test_direct_io_and_odd_sizes(self):
        m = self.m
        fd = os.open(m.path("a"), os.O_CREAT | os.O_RDWR | os.O_DIRECT)
        self.addCleanup(os.close, fd)
        os.write(fd, b"x" * 1001)
        self.assertEqual(os.pread(fd, 5000, 0), b"x" * 1001)

    def test_append_of_many_writers_loses_nothing(self):
        p = self.m.write("a")

        def append(c):
            fd = os.open(p, os.O_WRONLY | os.O_APPEND)
            for _ in range(200):
                os.write(fd, c * 50)
            os.close(fd)

        threads = [threading.Thread(target=append, args=(bytes([65 + k]),)) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        with open(p, "rb") as f:
            data = f.read()
        self.assertEqual({c: data.count(c) for c in b"ABCD"}, dict.fromkeys(b"ABCD", 10000))

    def test_appending_can_be_taken_back_and_asked_for_later(self):
        fd = os.open(self.m.path("f"), os.O_CREAT | os.O_RDWR | os.O_APPEND)
        os.write(fd, b"x" * 3_000_001)
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)
        os.pwrite(fd, b"first", 0)
        self.assertEqual((os.fstat(fd).st_size, os.pread(fd, 6, 0)), (3_000_001, b"firstx"))
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"last")
        self.assertEqual(os.pread(fd, 9, 3_000_000), b"xlast")
        os.close(fd)

    def test_an_unlinked_file_can_be_used_and_its_folder_removed(self):
        m = self.m
        os.mkdir(m.path("d"))
        with open(m.path("d/a"), "w+") as f:
            f.write("still here")
            f.flush()
            os.unlink(m.path("d/a"))
            os.rmdir(m.path("d"))
            f.seek(0)
            self.assertEqual(f.read(), "still here")
            self.assertEqual(os.fstat(f.fileno()).st_nlink, 0)
            os.fchmod(f.fileno(), 0o400)

    def test_a_large_folder_lists_every_name_once_also_while_it_changes(self):
        m = self.m
        os.mkdir(m.path("d"))
        names = ["f%05d" % i for i in range(5000)]
        for n in names:
            os.mknod(m.path("d", n))
        self.assertEqual(sorted(os.listdir(m.path("d"))), names)
        beside = os.path.join(m.home, "beside")
        shutil.copytree(m.path("d"), beside)
        found = []
        for folder in (m.path("d"), beside):
            with os.scandir(folder) as it:
                found.append([e.name for e, _ in zip(it, range(100))])
                for n in names[::2]:
                    os.unlink(os.path.join(folder, n))
                found[-1] += [e.name for e in it]
        self.assertEqual(len(found[0]), len(set(found[0])))
        lost = set(names[1::2]) - set(found[1])  # tmpfs of Linux 6.18 loses one
        self.assertLessEqual(set(names[1::2]) - lost, set(found[0]))

    def test_xattrs(self):
        m = self.m
        p = m.write("a")
        os.setxattr(p, "user.one", b"1", os.XATTR_CREATE)
        self.refused("EEXIST", os.setxattr, p, "user.one", b"2", os.XATTR_CREATE)
        self.refused("ENODATA", os.setxattr, p, "user.two", b"2", os.XATTR_REPLACE)
        os.setxattr(p, "user.big", b"x" * 3000)
        self.assertEqual(sorted(os.listxattr(p)), ["user.big", "user.one"])
        os.removexattr(p, "user.one")
        self.refused("ENODATA", os.getxattr, p, "user.one")

    def test_long_paths_and_names(self):
        m = self.m
        here = os.open(m.point, os.O_PATH)
        for _ in range(40):  # deeper than PATH_MAX
            os.mkdir("n" * 200, dir_fd=here)
            below = os.open("n" * 200, os.O_PATH, dir_fd=here)
            os.close(here)
            here = below
        fd = os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=here)
        os.write(fd, b"deep")
        os.close(fd)
        os.close(here)
        self.refused("ENAMETOOLONG", os.mkdir, m.path("x" * 256))
        m.commit()
        m.wait("stored")
        self.assertEqual(m.info()["files"], 1)

    def test_sockets_and_fifos_work_while_staged(self):
        m = self.m
        os.mkfifo(m.path("fifo"))
        r = os.open(m.path("fifo"), os.O_RDONLY | os.O_NONBLOCK)
        w = os.open(m.path("fifo"), os.O_WRONLY)
        os.write(w, b"through")
        self.assertEqual(os.read(r, 10), b"through")
        os.close(r)
        os.close(w)
        here = os.getcwd()
        os.chdir(m.point)
        try:
            with socket.socket(socket.AF_UNIX) as s, socket.socket(socket.AF_UNIX) as c:
                s.bind("socket")
                s.listen(1)
                c.connect("socket")
        finally:
            os.chdir(here)

    def test_the_own_names_cannot_be_reached_by_other_spellings(self):
        m = self.m
        os.mkdir(m.path("d"))
        for name in (".commit", "archives", ".status"):
            m.write("d/" + name, "an ordinary file")
            self.assertEqual(m.read("d", name), "an ordinary file")
        m.commit()
        m.wait("stored")
        self.assertEqual(m.info()["files"], 3)

    def test_the_top_folder_keeps_its_mode_and_times_over_a_commit(self):
        m = self.m
        os.chmod(m.point, 0o750)
        os.setxattr(m.point, "user.mine", b"x")
        m.write("a")
        m.commit()
        self.assertEqual(oct(os.stat(m.point).st_mode & 0o7777), "0o750")
        self.assertEqual(os.getxattr(m.point, "user.mine"), b"x")
        self.assertEqual(m.stop(), 0)
        m.start()
        self.assertEqual(oct(os.stat(m.point).st_mode & 0o7777), "0o750")


class Limits(MountCase):
    def limited(self, limit="--nofile=512:512"):
        m = self.data()
        with open(m.log, "ab") as log:
            m.process = subprocess.Popen(["prlimit", limit, Programs.fs, "-f", m.point], stdin=subprocess.DEVNULL, stdout=log,
                                         stderr=log, env=m.environment())
        until(m.ready, m.said)
        return m

    def test_a_limit_on_the_size_of_files_does_not_end_the_mount(self):
        m = self.limited("--fsize=1000000:50000000")
        m.write("a", b"x" * 3000000)
        self.refused("EFBIG", os.truncate, m.path("a"), 60000000)
        self.assertEqual(os.stat(m.path("a")).st_size, 3000000)
        m.commit()
        m.wait("stored")

    def test_unnamed_files_hold_descriptors_only_while_they_are_open(self):
        m = self.limited()
        for _ in range(15):
            fds = [os.open(m.point, os.O_TMPFILE | os.O_WRONLY | flags, 0o600) for flags in (0, os.O_EXCL) for _ in range(50)]
            for fd in fds:
                os.write(fd, b"x" * 5000)
                os.close(fd)
        self.refused("ENODATA", m.commit)

    def test_what_is_opened_goes_before_what_is_only_known(self):
        m = self.limited()
        for k in range(240):
            m.write("f%d" % k, "text")
        files = [open(m.path("f0")) for _ in range(280)]
        self.assertEqual([f.read() for f in files], ["text"] * 280)
        for f in files:
            f.close()
        self.assertEqual(len(os.listdir(m.point)), 244)
        folders = [os.open(m.point, os.O_RDONLY) for _ in range(280)]
        for d in folders:
            os.close(d)

    def test_many_staged_files_do_with_few_descriptors(self):
        """6,000 entries are staged, listed, looked at and archived."""
        m = self.limited()
        for d in range(60):
            os.mkdir(m.path("d%d" % d))
            for f in range(100):
                os.mknod(m.path("d%d" % d, "f%d" % f))
        found = sum(1 for _, _, files in os.walk(m.path()) for f in files if f.startswith("f"))
        self.assertEqual(found, 6000)
        for d in range(0, 60, 7):
            for f in range(100):
                os.stat(m.path("d%d" % d, "f%d" % f))
        m.write("d5/f5", "text")
        self.assertEqual(m.read("d5/f5"), "text")
        m.commit()
        m.wait("stored")
        self.assertEqual(m.info()["files"], 6000)


if __name__ == "__main__":
    main()
