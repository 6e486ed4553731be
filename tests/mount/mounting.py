#!/usr/bin/python3
"""The mount itself: where it may be, who may be second, how it is called, how it ends and is taken up."""
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from mount import BUILD, MountCase, Programs, is_dead, is_mounted, main, until  # noqa: E402


def attempt(m, *args, **env):
    """Runs the mount program to its end, as the command line does: (status, what it said)."""
    r = subprocess.run([Programs.fs, *args], env=m.environment(**env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=120)
    return r.returncode, r.stdout


class Places(MountCase):
    def test_a_folder_that_is_not_empty_is_refused(self):
        m = self.data()
        with open(m.path("mine"), "w"):
            pass
        status, said = attempt(m, m.point)
        self.assertEqual(status, 1)
        self.assertIn("not empty", said)
        self.assertEqual(os.listdir(m.point), ["mine"])

    def test_what_is_no_folder_is_refused(self):
        m = self.data()
        path = os.path.join(m.folder, "file")
        with open(path, "w"):
            pass
        status, said = attempt(m, path)
        self.assertEqual(status, 1)
        self.assertIn("not a folder", said)

    def test_a_missing_mountpoint_is_made_and_that_of_the_configuration_is_the_default(self):
        m = self.data()
        m.point = os.path.join(m.folder, "new", "glacier")
        m.configure({"MOUNTPOINT": m.point})
        m.process = subprocess.Popen([Programs.fs, "-f"], env=m.environment(), stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(m.ready, "mounted on the configured mountpoint")
        self.assertEqual(m.stop(), 0)

    def test_a_second_mount_of_the_same_data_is_refused_by_name(self):
        m = self.mount()
        other = os.path.join(m.folder, "other")
        os.mkdir(other)
        status, said = attempt(m, other)
        self.assertEqual(status, 1)
        self.assertIn("is mounted already on %s;" % m.point, said)
        self.assertFalse(is_mounted(other))
        status, said = attempt(m, m.point)
        self.assertEqual(status, 1)
        self.assertIn("mounted already", said)
        m.write("a", "still works")

    def test_two_data_folders_are_two_mounts(self):
        a, b = self.mount(name="a"), self.mount(name="b")
        a.write("x", "1")
        b.write("x", "2")
        a.commit()
        a.wait("stored")
        self.assertEqual(b.read("x"), "2")
        self.assertEqual(b.archives(), [])

    def test_data_inside_a_mount_is_refused(self):
        m = self.mount()
        other = os.path.join(m.folder, "other")
        os.mkdir(other)
        os.mkdir(m.path("inside"))
        status, said = attempt(m, other, AUTOGLACIER_HOME=m.path("inside"))
        self.assertEqual(status, 1, said)
        self.assertIn("inside", said)
        self.assertEqual(os.listdir(m.path("inside")), [])

    def test_a_dead_mount_is_cleared_away(self):
        m = self.mount()
        m.write("a", "text")
        m.kill()
        self.assertTrue(is_mounted(m.point))
        self.refused("ENOTCONN", os.listdir, m.point)
        m.start()
        self.assertEqual(m.read("a"), "text")

    def test_data_that_is_not_ours_alone_and_broken_configurations_are_named(self):
        m = self.data()
        for text, words in (("{", "CONFIG.json"), ('{"NO_SUCH_KEY": 1}', "NO_SUCH_KEY"), ('{"COMPRESSION": 7}', "COMPRESSION"),
                            ('{"COMPRESSION": "rot13"}', "must be")):
            with open(os.path.join(m.home, "CONFIG.json"), "w") as f:
                f.write(text)
            status, said = attempt(m, m.point)
            self.assertEqual(status, 1)
            self.assertIn(words, said)
            self.assertFalse(is_mounted(m.point))


class Calls(MountCase):
    def test_the_form_of_mount_8_is_understood(self):
        m = self.data()
        status, said = attempt(m, "autoglacier", m.point, "-o", "rw,nosuid,nodev,noatime,_netdev,x-systemd.automount,user")
        self.assertEqual(status, 0, said)
        self.assertTrue(m.ready())
        self.end(m)

    def test_source_may_be_a_configuration(self):
        m = self.data()
        config = os.path.join(m.folder, "other.json")
        with open(config, "w") as f:
            json.dump({"COMPRESSION": "none"}, f)
        for args in ((config, m.point, "-o", "rw"), ("word", m.point, "-o", "rw,config=" + config), ("--config", config, m.point)):
            status, said = attempt(m, *args)
            self.assertEqual(status, 0, said)
            m.write("a", "text")
            m.commit()
            m.wait("stored")
            self.assertEqual(m.info()["compression"], "none")
            self.end(m)

    def test_mount_t_fuse_autoglacier_and_a_line_of_fstab(self):
        if os.geteuid() != 0 or not shutil.which("mount.fuse3") or not os.path.exists(Programs.cli):
            self.skipTest("root, mount.fuse3 and the command line")
        m = self.data()
        env = m.environment(PATH=os.path.dirname(Programs.cli) + ":" + os.environ["PATH"])
        # What mount(8) runs for this type; it looks only in the system's folders, where we are not installed.
        subprocess.run(["mount.fuse3", "autoglacier", m.point, "-t", "fuse.autoglacier", "-o", "noatime"], check=True, env=env)
        until(m.ready, "mounted")
        self.end(m)
        table = os.path.join(m.folder, "fstab")
        with open(table, "w") as f:
            f.write("%s#autoglacier %s fuse noauto,_netdev,allow_other 0 0\n" % (Programs.cli, m.point))
        subprocess.run(["mount", "-T", table, m.point], check=True, env=env)
        until(m.ready, "mounted")
        self.end(m)

    def end(self, m):
        """A daemon without a parent: found by its own note."""
        with open(os.path.join(m.data, "mount.pid")) as f:
            pid = json.load(f)["pid"]
        os.kill(pid, signal.SIGTERM)
        until(lambda: is_dead(pid) and not is_mounted(m.point), "the daemon ends")

    def test_wrong_usage_is_told_from_failure(self):
        m = self.data()
        for args in (("--no-such-option",), ("a", "b", "c"), (m.point, "-o", "no_such_option"), (m.point, "-o")):
            self.assertEqual(attempt(m, *args)[0], 2, args)
        for args in (("--help",), ("--version",)):
            self.assertEqual(attempt(m, *args)[0], 0)

    def test_a_service_manager_is_told_when_it_is_ready(self):
        m = self.data()
        path = os.path.join(m.folder, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(path)
            s.settimeout(120)
            m.spawn(NOTIFY_SOCKET=path)
            said = s.recv(1000).decode()
        self.assertIn("READY=1", said)
        self.assertIn("MAINPID=%d" % m.process.pid, said)
        self.assertTrue(m.ready())
        unit = os.path.join(BUILD, "tools", "autoglacier.service")
        if os.path.exists(unit):
            with open(unit) as f:
                self.assertIn("Type=notify", f.read())
            if shutil.which("systemd-analyze"):
                r = subprocess.run(["systemd-analyze", "verify", "--user", unit], stderr=subprocess.PIPE, text=True,
                                   env=dict(os.environ, XDG_RUNTIME_DIR=self.folder))
                ours = [line for line in r.stderr.splitlines() if "autoglacier" in line
                        and not any(w in line for w in ("not executable", "No such file", "Command 'man"))]
                self.assertEqual(ours, [])

    def test_secrets_are_not_for_others(self):
        m = self.mount()
        m.write("a", "text")
        m.commit()
        m.wait("stored")
        for path, dirs, files in os.walk(m.data):
            if "/staging/" in path + "/":
                continue
            for n in dirs + files:
                mode = os.stat(os.path.join(path, n)).st_mode
                self.assertEqual(mode & 0o077 & ~(0o044 if n == "public.pem" else 0), 0, n)
        with open("/proc/%d/cmdline" % m.process.pid) as f:
            self.assertNotIn("key", f.read().replace(self.folder, "").lower())  # a folder's name is drawn


class Ends(MountCase):
    def large(self, m):
        source = os.path.join(self.folder, "large")
        os.mkdir(source)
        for i in range(4):
            with open("%s/%d" % (source, i), "wb") as f:
                for k in range(200):
                    f.write(os.urandom(1000) * 8)
        subprocess.run(["cp", "-a", source, m.point], check=True)
        return source

    def test_sigterm_in_the_middle_of_a_commit_is_taken_up(self):
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            m = self.mount({"COMPRESSION": "lzma"}, name=sig.name)
            if os.path.exists(os.path.join(self.folder, "large")):
                shutil.rmtree(os.path.join(self.folder, "large"))
            source = self.large(m)
            name = m.commit()
            self.assertEqual(m.stop(sig), 0, m.said())
            self.assertFalse(is_mounted(m.point))
            m.start()
            m.wait("stored", name)
            self.same_tree(source, m.restore() + "/large")
            m.settled()

    def test_a_mount_that_is_in_use_can_be_ended_by_a_signal(self):
        m = self.mount()
        m.write("a", "text")
        fd = os.open(m.path("a"), os.O_RDONLY)
        self.assertEqual(m.stop(), 0)
        with contextlib.suppress(OSError):  # there is nobody left to tell
            os.close(fd)
        m.start()
        self.assertEqual(m.read("a"), "text")

    def test_while_the_unmounted_program_still_works_a_new_mount_is_possible(self):
        m = self.mount({"COMPRESSION": "lzma"})
        source = self.large(m)
        name = m.commit()
        first = m.process
        until(lambda: subprocess.run(["fusermount3", "-u", m.point], stderr=subprocess.DEVNULL).returncode == 0, "unmount")
        m.start()
        m.wait("stored", name)
        self.assertEqual(first.wait(120), 0)
        self.same_tree(source, m.restore() + "/large")

    def test_a_program_that_is_mounted_nowhere_any_more_is_waited_for(self):
        m = self.mount()
        m.unmount()
        with open(os.path.join(m.data, "mount.lock"), "r+") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            end = threading.Timer(0.5, fcntl.lockf, (lock, fcntl.LOCK_UN))
            end.start()
            m.start()
            end.join()

    def test_what_another_program_left_queued_is_taken_up_by_a_mount(self):
        if not os.path.exists(Programs.cli):
            self.skipTest("the command line")
        m = self.data()
        path = os.path.join(self.folder, "file")
        with open(path, "w") as f:
            f.write("text")
        r = subprocess.run([Programs.cli, "backup", "--detach", "-m", "by hand", path], env=m.environment(),
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertIn(r.returncode, (0, 4), r.stdout)
        m.start()
        m.wait("stored")
        self.assertEqual(m.text("description").strip(), "by hand")


if __name__ == "__main__":
    main()
