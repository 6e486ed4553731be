"""mount, umount, stop, unlock, and what commands do beside a mount."""
import errno
import json
import os
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from cli import CliCase, Programs, is_mounted, main, until  # noqa: E402
from mount import is_dead, skip_all  # noqa: E402


class MountCase(CliCase):
    def setUp(self):
        super().setUp()
        self.point = self.path("glacier")
        self.addCleanup(self.end)

    def end(self):
        for _ in range(3):
            subprocess.run([Programs.cli, "stop"], env=self.environment(), stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if is_mounted(self.point):
                subprocess.run(["fusermount3", "-u", "-z", self.point], stderr=subprocess.DEVNULL)

    def pid(self):
        with open(os.path.join(self.data, "mount.pid")) as f:
            return json.load(f)["pid"]

    def commit(self, text="words"):
        with open(os.path.join(self.point, ".commit"), "w") as f:
            f.write(text + "\n")

    def stored(self, n=1):
        until(lambda: [a["state"] for a in json.loads(self.ag("list", "--json").out)["archives"]] == ["stored"] * n,
              lambda: self.ag("status").out)


class Mount(MountCase):
    def test_the_session_of_a_new_user(self):
        self.ag("mount", "glacier", say="made a key pair")
        self.assertTrue(is_mounted(self.point))
        self.write("photos/1.jpg", "a picture")
        subprocess.run(["cp", "-r", self.path("photos"), self.point], check=True)
        self.commit("photos, summer")
        self.stored()
        self.assertEqual(self.ag("files", "latest").out.splitlines(), ["photos", "photos/1.jpg"])
        self.ag("restore", "latest", "--to", "back")
        self.assertEqual(self.read("back/photos/1.jpg"), b"a picture")
        self.ag("umount", "glacier")
        self.assertFalse(is_mounted(self.point))

    def test_the_mountpoint_comes_from_the_configuration_or_is_glacier_at_home(self):
        self.keys()
        self.ag("mount")
        self.assertTrue(is_mounted(self.point))
        self.ag("umount")
        self.point = self.path("elsewhere")
        self.config(json.dumps({"MOUNTPOINT": self.point}))
        self.ag("mount")
        self.assertTrue(is_mounted(self.point))
        self.ag("umount")
        self.assertFalse(is_mounted(self.point))

    def test_a_second_mount_is_refused_and_names_the_first(self):
        self.keys()
        self.ag("mount", "glacier")
        self.ag("mount", "glacier", status=1)
        self.ag("mount", "other", status=1, say=self.point)
        self.assertFalse(is_mounted(self.path("other")))

    def test_a_place_that_is_none_is_refused(self):
        self.write("file", "x")
        self.ag("mount", "file", status=1, say="is not a folder")
        self.write("full/x", "x")
        self.ag("mount", "full", status=1, say="not empty")

    def test_commands_work_beside_a_mount(self):
        self.keys()
        self.ag("mount", "glacier")
        self.write("f", "text")
        self.backup("f")
        self.ag("verify")
        self.assertEqual(len(os.listdir(os.path.join(self.point, "archives"))), 2)

    def test_a_detached_backup_is_done_by_the_mount(self):
        self.keys()
        self.ag("mount", "glacier")
        self.write("f", "text")
        self.ag("backup", "--detach", "-m", "words", "f", status=4)
        self.stored()

    def test_a_mount_takes_up_what_was_queued_before(self):
        self.keys()
        self.write("f", "text")
        self.ag("backup", "--detach", "-m", "words", "f", status=4)
        self.ag("mount", "glacier")
        self.stored()

    def test_the_configuration_named_is_passed_on(self):
        self.keys()
        path = self.write("other.json", json.dumps({"COMPRESSION": "zstd"}), 0o600)
        self.ag("--config", path, "mount", "glacier")
        self.write("glacier/f", "text")
        self.commit()
        self.stored()
        self.assertIn("zstd", self.ag("show", "latest").out)

    def test_in_the_foreground_it_ends_with_the_unmount(self):
        self.keys()
        p = subprocess.Popen([Programs.cli, "mount", "-f", self.point], env=self.environment(), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        until(lambda: is_mounted(self.point) and os.path.exists(os.path.join(self.data, "mount.pid")), "mount")
        self.ag("umount", self.point)
        out, _ = p.communicate(timeout=120)
        self.assertEqual(p.returncode, 0, out)


class Umount(MountCase):
    def test_nothing_mounted_is_an_error(self):
        self.ag("umount", status=1, say="nothing is mounted")
        os.mkdir(self.point)
        self.ag("umount", "glacier", status=1, say="is not an autoglacier mount")
        self.ag("umount", "not-there", status=1, say="not-there")

    def test_a_mount_in_use_is_kept_and_said_so(self):
        self.keys()
        self.ag("mount", "glacier")
        self.write("glacier/f", "text")
        with open(os.path.join(self.point, "f")):
            self.ag("umount", status=1, say="is in use")
            self.assertTrue(is_mounted(self.point))
        until(lambda: subprocess.run([Programs.cli, "umount"], env=self.environment(), capture_output=True).returncode == 0,
              "umount")

    def kill(self):
        """Kills the program of the mount, and leaves the mount."""
        pid = self.pid()
        os.kill(pid, 9)
        until(lambda: is_dead(pid), "the program is dead")
        with self.assertRaises(OSError) as caught:
            os.listdir(self.point)
        self.assertIn(caught.exception.errno, (errno.ENOTCONN, errno.ECONNABORTED))

    def die(self):
        self.ag("mount", "glacier")
        self.kill()

    def test_a_mount_of_a_dead_program_is_taken_away_and_said_so(self):
        self.keys()
        for name in ((), (self.point,), ("glacier",), ("./glacier/",)):
            self.die()
            self.ag("umount", *name, say=self.point + " was a dead mount")
            self.assertFalse(is_mounted(self.point))
            self.ag("umount", status=1, say="nothing is mounted")

    def test_a_dead_mount_that_is_in_use_is_taken_away(self):
        self.keys()
        self.ag("mount", "glacier")
        self.write("glacier/f", "text")
        with open(os.path.join(self.point, "f")):
            self.kill()
            self.ag("umount", say="was a dead mount")
            self.assertFalse(is_mounted(self.point))

    def test_status_and_mount_tell_of_a_dead_mount(self):
        self.keys()
        self.die()
        self.ag("status", say=self.point + " is a dead mount")
        self.ag("mount", "glacier", say="glacier was a dead mount")
        self.assertEqual(os.listdir(self.point).count("archives"), 1)
        self.assertNotIn("dead mount", self.ag("status").err)

    def test_a_mountpoint_with_blanks_in_its_name_is_found(self):
        self.keys()
        self.point = self.path("a folder\twith\\odd name")
        self.ag("mount", self.point)
        self.ag("umount", self.point)
        self.ag("mount", self.point)
        self.ag("mount", self.point, status=1, say="is mounted already")
        self.ag("umount")


class Stop(MountCase):
    def test_it_unmounts_and_the_program_is_gone(self):
        self.keys()
        self.ag("mount", "glacier")
        pid = self.pid()
        self.ag("stop")
        self.assertFalse(is_mounted(self.point))
        self.assertTrue(is_dead(pid))
        self.ag("stop", say="nothing is running")

    def test_a_job_goes_on_after_the_next_mount(self):
        self.keys()
        self.config('{"COMPRESSION": "bzip2", "COMPRESSION_WORKERS": 1}')
        self.ag("mount", "glacier")
        self.write("glacier/big", os.urandom(4000000).hex())
        self.commit()
        self.ag("stop")
        self.assertFalse(is_mounted(self.point))
        self.ag("mount", "glacier")
        self.stored()
        self.ag("verify", "--data")

    def test_a_number_of_a_stranger_is_left_alone(self):
        self.keys()
        self.ag("init")
        with open(os.path.join(self.data, "mount.pid"), "w") as f:
            json.dump({"pid": os.getpid(), "mountpoint": self.point}, f)
        self.ag("stop", say="nothing is running")


class Unlock(MountCase):
    def setUp(self):
        super().setUp()
        self.write("pw", "correct horse\n", 0o600)
        self.locked_keys("correct horse")
        self.write("f", "text")
        self.backup("f")
        self.ag("mount", "glacier")

    def test_other_commands_use_the_unlocked_keys_until_they_are_locked(self):
        self.ag("restore", "latest", "--to", "no", status=1, say="is locked")
        self.on_terminal("unlock", answers=[("Passphrase of", "correct horse")])
        self.ag("restore", "latest", "--to", "yes")
        self.ag("verify", "--data")
        self.ag("unlock", "--lock")
        self.ag("restore", "latest", "--to", "no", status=1, say="is locked")

    def test_the_mount_reads_files_only_while_it_is_unlocked(self):
        name = os.listdir(os.path.join(self.point, "archives"))
        name.remove("STATUS.txt")
        path = os.path.join(self.point, "archives", name[0], "files", self.path("f")[1:])
        with self.assertRaises(OSError) as locked:
            open(path, "rb").close()
        self.assertEqual(errno.errorcode[locked.exception.errno], "ENOKEY")
        self.ag("unlock", "--passphrase-file", "pw")
        with open(path, "rb") as f:
            self.assertEqual(f.read(), b"text")

    def test_a_wrong_passphrase_is_refused_and_the_right_one_stays(self):
        self.ag("unlock", "--passphrase-file", "pw")
        self.ag("unlock", "--passphrase-file", "-", stdin="wrong\n", status=1, say="passphrase is wrong")
        self.ag("restore", "latest", "--to", "yes")

    def test_the_time_is_over_after_a_while(self):
        self.ag("unlock", "--for", "1s", "--passphrase-file", "pw", say="unlocked for 1 s")
        until(lambda: subprocess.run([Programs.cli, "verify", "--data"], env=self.environment(), stdin=subprocess.DEVNULL,
                                     capture_output=True, start_new_session=True).returncode == 1, "locked again")

    def test_the_passphrase_is_nowhere_to_be_seen(self):
        self.ag("unlock", "--passphrase-file", "pw")
        with open("/proc/%d/cmdline" % self.pid(), "rb") as f:
            self.assertNotIn(b"correct horse", f.read())
        for folder, _, files in os.walk(self.home):
            for name in files:
                path = os.path.join(folder, name)
                if os.path.isfile(path):
                    with open(path, "rb") as f:
                        self.assertNotIn(b"correct horse", f.read(), path)

    def test_the_socket_is_for_its_user_alone_and_goes_with_the_mount(self):
        path = os.path.join(self.data, "agent.sock")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.ag("umount")
        until(lambda: not os.path.exists(path), "the socket is gone")
        self.ag("unlock", "--passphrase-file", "pw", status=1, say="autoglacier mount")

    def test_a_key_without_a_passphrase_needs_no_unlocking(self):
        self.ag("stop")
        shutil.rmtree(self.home)
        os.mkdir(self.home, 0o700)
        self.keys()
        self.ag("mount", "glacier")
        self.ag("unlock", "--passphrase-file", "pw", say="nothing to unlock")


class Watch(MountCase):
    def test_it_shows_a_job_and_ends_when_it_is_stored(self):
        self.keys()
        self.config('{"COMPRESSION": "bzip2", "COMPRESSION_WORKERS": 1}')
        self.ag("mount", "glacier")
        self.write("glacier/big", os.urandom(9000000).hex())
        self.commit("watched")
        shown = []
        t = threading.Thread(target=lambda: shown.append(self.ag("status", "--watch").out))
        t.start()
        t.join(120)
        self.assertFalse(t.is_alive())
        self.assertIn("_watched", shown[0])
        self.assertIn("Last stored:", shown[0])


if __name__ == "__main__":
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or not shutil.which("fusermount3"):
        skip_all("/dev/fuse and fusermount3")
    main()
