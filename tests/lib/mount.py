"""A real mount for a test: its own AUTOGLACIER_HOME, its own mountpoint, gone afterwards.

    class Basic(MountCase):
        def test_a_file_is_archived(self):
            m = self.mount()
            m.write("a", "text")
            m.commit("words")
            m.wait("stored")

    if __name__ == "__main__":
        main()

`main()` understands --as-user: the whole program then gives up root and goes on as an ordinary user (nobody), with copies
of the programs where the build folder cannot be read. The build folder is AUTOGLACIER_BUILD, or build/ beside tests/.
"""
import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("AUTOGLACIER_BUILD", os.path.join(TOP, "build"))
PYTHON = "/usr/bin/python3"
NOBODY = 65534
PATIENCE = 120  # seconds that a condition may take on a loaded machine
FINISHED = ("stored", "incomplete", "failed")
LONG_AGO = (1, 1_500_000_000_123_456_789)  # atime and mtime of sources, in ns


class Programs:
    """Where the programs under test are; copies when an ordinary user cannot reach the build folder."""
    fs = os.path.join(BUILD, "fs", "autoglacierfs")
    cli = os.path.join(BUILD, "tools", "autoglacier")
    rescue = os.path.join(TOP, "tools", "rescue.py")

    @classmethod
    def copy_to(cls, folder):
        os.chmod(folder, 0o755)
        for name in ("fs", "cli", "rescue"):
            path = getattr(cls, name)
            if os.path.exists(path):
                setattr(cls, name, shutil.copy(path, folder))


def skip_all(why):
    """The whole program is skipped, by the runner's convention."""
    print("SKIP: " + why)
    sys.exit(77)


def main():
    if not os.path.exists("/dev/fuse"):
        skip_all("/dev/fuse")
    if not shutil.which("fusermount3"):
        skip_all("fusermount3")
    folder = None
    if "--as-user" in sys.argv:
        sys.argv.remove("--as-user")
        if os.geteuid() == 0:
            if not os.access("/dev/fuse", os.R_OK | os.W_OK) or not os.stat("/dev/fuse").st_mode & 0o006 == 0o006:
                skip_all("/dev/fuse is not open to ordinary users")
            folder = tempfile.mkdtemp(prefix="autoglacier-programs-")
            Programs.copy_to(folder)
            status = run_as_nobody(folder)
            shutil.rmtree(folder)
            sys.exit(status)
    unittest.main(verbosity=2)


def run_as_nobody(home):
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        os.environ.update(HOME=home, USER="nobody", LOGNAME="nobody")
        os.chdir("/")
        unittest.main(verbosity=2)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def until(condition, what, patience=PATIENCE):
    """Polls until condition() is true, and returns it; fails after `patience` seconds."""
    end = time.monotonic() + patience
    step = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited %d s in vain: %s" % (patience, what() if callable(what) else what))
        time.sleep(step)
        step = min(step * 1.5, 0.2)


def is_mounted(path):
    with open("/proc/self/mountinfo") as f:
        return any(line.split()[4] == path for line in f)


def is_dead(pid):
    """Gone, or only waiting for its parent to look: not every container has a first process that does."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def unmount(path):
    tool = ["umount", path] if os.geteuid() == 0 else ["fusermount3", "-u", path]
    return subprocess.run(tool, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Keys:
    """One small key pair for all data folders of a program: making one takes a second."""
    private = None

    @classmethod
    def copy_to(cls, folder):
        if cls.private is None:
            make = ["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
            cls.private = subprocess.run(make, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
            cls.public = subprocess.run(["openssl", "pkey", "-pubout"], check=True, input=cls.private,
                                        stdout=subprocess.PIPE).stdout
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chmod(os.path.dirname(folder), 0o700)
        for name, text in (("private.pem", cls.private), ("public.pem", cls.public)):
            fd = os.open(os.path.join(folder, name), os.O_CREAT | os.O_WRONLY, 0o600)
            os.write(fd, text)
            os.close(fd)


class Mount:
    """One data folder and its mount, which may be started and killed many times."""

    def __init__(self, folder, config=None, env=None, keys=True):
        self.folder = folder
        self.home = os.path.join(folder, "home")
        self.data = os.path.join(self.home, "data")
        self.point = os.path.join(folder, "mnt")
        self.log = os.path.join(folder, "daemon.log")
        self.process = None
        self.env = dict(env or {})
        for path in (self.home, self.point):
            os.makedirs(path, exist_ok=True)
        if keys:
            Keys.copy_to(os.path.join(self.data, "keys"))
        if config is not None:
            self.configure(config)

    def configure(self, config):
        path = os.path.join(self.home, "CONFIG.json")
        with open(path, "w") as f:
            json.dump(config, f, indent=2)
        os.chmod(path, 0o600)

    def environment(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AUTOGLACIER_", "AWS_", "XDG_"))}
        env.update(AUTOGLACIER_HOME=self.home, **self.env)
        env.update(more)
        return env

    # ---- the daemon ----

    def spawn(self, *options, **env):
        """Starts the daemon in the foreground and does not wait."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([Programs.fs, "-f", self.point, *options], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=self.environment(**env))
        return self.process

    def start(self, *options, **env):
        self.spawn(*options, **env)
        until(lambda: self.ready() or self.process.poll() is not None, lambda: "mount: " + self.said())
        if self.process.poll() is not None:
            raise AssertionError("the daemon ended with %d: %s" % (self.process.returncode, self.said()))
        return self

    def ready(self):
        try:
            return is_mounted(self.point) and os.path.exists(os.path.join(self.point, "archives"))
        except OSError:
            return False

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def stop(self, sig=signal.SIGTERM):
        """A signal, and the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.wait_end()

    def wait_end(self):
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError("the daemon does not end: " + self.said()) from None

    def unmount(self):
        """Unmounts as a user does, and waits until the daemon has finished its jobs."""
        until(lambda: unmount(self.point).returncode == 0 or not is_mounted(self.point),
              lambda: "unmount: " + unmount(self.point).stdout)
        return self.wait_end()

    def kill(self):
        return self.stop(signal.SIGKILL)

    def clean(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for _ in range(5):
            if not is_mounted(self.point):
                break
            subprocess.run(["fusermount3", "-u", "-z", self.point], stderr=subprocess.DEVNULL)

    # ---- what a user does ----

    def path(self, *names):
        return os.path.join(self.point, *names)

    def write(self, name, content=b"", mode=None):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(content.encode() if isinstance(content, str) else content)
        if mode is not None:
            os.chmod(path, mode)
        return path

    def read(self, *names):
        with open(self.path(*names), errors="surrogateescape") as f:
            return f.read()

    def sh(self, script, *args, shell="sh"):
        """A shell in the mountpoint: (status, what it said)."""
        r = subprocess.run([*shell.split(), "-c", script, shell, *args], cwd=self.point, env=self.environment(),
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, errors="replace", timeout=PATIENCE)
        return r.returncode, r.stdout

    def commit(self, text="test"):
        """Commits in one write; the new archive's name."""
        before = set(self.archives())
        fd = os.open(self.path(".commit"), os.O_WRONLY)
        try:
            os.write(fd, (text + "\n").encode())
        finally:
            os.close(fd)
        new = [a for a in self.archives() if a not in before]
        assert len(new) == 1, new
        return new[0]

    def refusal(self, text="test"):
        """The errno with which a commit is refused."""
        before = self.archives()
        fd = os.open(self.path(".commit"), os.O_WRONLY)
        try:
            os.write(fd, text.encode() if isinstance(text, str) else text)
        except OSError as e:
            assert self.archives() == before
            return errno.errorcode[e.errno]
        finally:
            os.close(fd)
        return None

    def retry(self, archive=None):
        """Asks for the next try at once. If its time has come meanwhile, there is nothing to try again."""
        with contextlib.suppress(OSError), open(self.path("archives", archive or self.latest(), ".retry"), "w") as f:
            f.write("now\n")

    # ---- archives ----

    def archives(self):
        return sorted(n for n in os.listdir(self.path("archives")) if n != "STATUS.txt")

    def latest(self):
        return self.archives()[-1]

    def state(self, archive=None):
        return self.read("archives", archive or self.latest(), "state").strip()

    def info(self, archive=None):
        return json.loads(self.read("archives", archive or self.latest(), "info.json"))

    def text(self, name, archive=None):
        return self.read("archives", archive or self.latest(), name)

    def wait(self, wanted="stored", archive=None):
        """Until the archive is in a state (or one of several)."""
        archive = archive or self.latest()
        wanted = (wanted,) if isinstance(wanted, str) else wanted

        def reached():
            s = self.state(archive)
            if s not in wanted and s in FINISHED:
                raise AssertionError("%s is %s: %s" % (archive, s, self.text("log", archive)))
            return s in wanted

        until(reached, lambda: "%s is %s, not %s: %s" % (archive, self.state(archive), wanted,
                                                         self.text("log", archive)))
        return archive

    def volumes(self, archive=None):
        info = self.info(archive)
        store = info["store"]
        assert store.startswith("dir:"), store
        return [os.path.join(store[4:], v["object"]) for v in info["volumes"]]

    def restore(self, archive=None, to=None):
        """Opens an archive with the rescue program and tar, and returns the folder: no code of ours decides what is right."""
        to = to or tempfile.mkdtemp(dir=self.folder, prefix="restored-")
        packed = to + ".tar"
        key = os.path.join(self.data, "keys", "private.pem")
        subprocess.run([PYTHON, Programs.rescue, "--key", key, "-o", packed, *self.volumes(archive)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(["tar", "-xpf", packed, "--xattrs", "--xattrs-include=user.*", "--same-order",
                        "--exclude=./.autoglacier", "--exclude=.autoglacier", "--warning=no-unknown-keyword", "-C", to], check=True)
        os.unlink(packed)
        return to

    def settled(self):
        """Until all that was left of the work is gone: an archive is stored a moment before."""
        until(lambda: not self.leftovers(), lambda: "left over: %s" % self.leftovers())

    def leftovers(self):
        """What is still in the staging folder and the spool; [] when all work is done."""
        found = []
        for path, _, files in os.walk(os.path.join(self.data, "staging")):
            found += [os.path.join(path, f) for f in files]
        staging = os.path.join(self.data, "staging")
        found += [os.path.join(staging, n) for n in os.listdir(staging) if n != "current"]
        for path, dirs, files in os.walk(os.path.join(self.data, "spool")):
            found += [os.path.join(path, f) for f in files + dirs]
        return sorted(set(found))


class MountCase(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="autoglacier-test-"))
        self.addCleanup(self._remove)
        self.mounts = []

    def _remove(self):
        for m in self.mounts:
            m.clean()
        subprocess.run(["chmod", "-R", "u+rwX", self.folder], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def data(self, config=None, env=None, name="one", keys=True):
        """A data folder, without a mount yet; with keys unless the program is to make its own."""
        m = Mount(os.path.join(self.folder, name), config, env, keys)
        self.mounts.append(m)
        return m

    def mount(self, config=None, env=None, name="one"):
        return self.data(config, env, name).start()

    def run(self, result=None):
        before = len(result.failures) + len(result.errors) if result else 0
        r = super().run(result)
        if result and len(result.failures) + len(result.errors) > before:
            for m in getattr(self, "mounts", []):
                self._tell(m)
        return r

    def tearDown(self):
        # Kept for run(), since the folder is gone by then.
        for m in self.mounts:
            with contextlib.suppress(OSError):
                m.last_words = m.said()

    @staticmethod
    def _tell(m):
        words = getattr(m, "last_words", "")
        if words:
            sys.stderr.write("---- the daemon said:\n%s----\n" % words[-4000:])

    def refused(self, code, fn, *args, **kw):
        """fn(*args) fails with the errno `code` (a name)."""
        with self.assertRaises(OSError) as c:
            fn(*args, **kw)
        self.assertEqual(errno.errorcode[c.exception.errno], code)

    def disk(self, name, size):
        """A small disk of our own, where the tests may mount; else the test is skipped."""
        path = os.path.join(self.folder, name)
        os.mkdir(path)
        r = subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=700,size=" + size, "autoglacier-test", path],
                           stderr=subprocess.PIPE, text=True)
        if r.returncode != 0:
            self.skipTest("no right to mount a small disk: " + r.stderr.strip())
        self.addCleanup(subprocess.run, ["umount", "-l", path], stderr=subprocess.DEVNULL)
        return path

    def same_tree(self, a, b, **kw):
        self.assertEqual(tree(a, **kw), tree(b, **kw))


def make_old(top):
    """Gives all below `top` the same times."""
    for path, dirs, files in os.walk(top, topdown=False):
        for n in dirs + files:
            os.utime(os.path.join(path, n), ns=LONG_AGO, follow_symlinks=False)


def tree(top, owners=True):
    """Everything that must survive, by relative path: type, mode, owner, ns mtime, content, link, xattrs, links together."""
    top = os.fsencode(top)
    out, inodes = {}, {}

    def look(path, rel):
        st = os.lstat(path)
        kind = stat.S_IFMT(st.st_mode)
        entry = {"mode": oct(st.st_mode)}
        if rel:
            entry["mtime"] = st.st_mtime_ns
        if owners:
            entry["owner"] = (st.st_uid, st.st_gid)
        if kind == stat.S_IFLNK:
            entry["link"] = os.readlink(path)
        elif kind == stat.S_IFREG:
            entry["sha"] = digest(path)
            entry["size"] = st.st_size
            if st.st_nlink > 1:
                entry["with"] = inodes.setdefault((st.st_dev, st.st_ino), rel)
        if kind != stat.S_IFLNK:
            entry["xattrs"] = {n: os.getxattr(path, n) for n in os.listxattr(path) if n.startswith("user.")}
        out[rel] = entry
        if kind == stat.S_IFDIR:
            for name in sorted(os.listdir(path)):
                look(os.path.join(path, name), os.path.join(rel, name))

    look(top, b"")
    return out


def digest(path):
    h = hashlib.sha512()
    with open(path, "rb") as f:
        while chunk := f.read(1 << 20):
            h.update(chunk)
    return h.hexdigest()


def crash_points():
    """Every name that core's sources give to a crash point, in the order of a commit's life as far as doc/DESIGN.md tells it."""
    names = set()
    for path in glob.glob(os.path.join(TOP, "core", "*.c")):
        with open(path) as f:
            for part in f.read().split('crash_point("')[1:]:
                names.add(part.split('"')[0])
    return sorted(names)
