"""A new machine, the store and the private key: the catalogue is there again, as it was."""
import glob
import json
import lzma
import os
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from cli import TOP, CliCase, main, until  # noqa: E402


class Recover(CliCase):
    def setUp(self):
        super().setUp()
        self.keys()
        self.config('{"VAULT": "dir:%s"}' % self.path("disk"))
        self.ag("init")
        for i in range(3):
            self.write("src/f", "content %d\n" % i)
            self.write("src/gr\u00fc\u00df", "x" * i)
            self.backup("src", message="number %d" % i)
        shutil.copy(self.private, self.path("kept.pem"))

    def seen(self):
        out = [self.ag("list").out, self.ag("list", "--json").out]
        for line in out[0].splitlines():
            name = line.split()[0]
            out += [self.ag("show", "--json", name).out, self.ag("files", name).out]
        return out

    def lose_the_machine(self):
        shutil.rmtree(self.data)

    def test_everything_is_listed_as_before(self):
        before = self.seen()
        self.lose_the_machine()
        r = self.ag("recover", "--key", "kept.pem", say="3 archives recovered")
        self.assertEqual(len(r.out.splitlines()), 3)
        self.assertEqual(self.seen(), before)
        self.ag("recover", "--key", "kept.pem", say="0 archives recovered, 3 known already")
        self.assertEqual(self.seen(), before)

    def test_what_came_back_can_be_restored(self):
        self.lose_the_machine()
        self.ag("recover", "--key", "kept.pem")
        self.ag("restore", "--key", "kept.pem", "--to", "to", "latest")
        self.assertEqual(self.read(os.path.join("to", self.path("src/f")[1:])), b"content 2\n")
        self.ag("verify")

    def test_a_store_that_is_somewhere_else_now(self):
        self.lose_the_machine()
        os.rename(self.path("disk"), self.path("elsewhere"))
        self.config('{"VAULT": "dir:%s"}' % self.path("elsewhere"))
        self.ag("recover", "--key", "kept.pem")
        self.ag("restore", "--key", "kept.pem", "--to", "to", "latest")

    @unittest.skipIf(os.geteuid() != 0, "mounts read-only")
    def test_a_disk_that_is_mounted_read_only_is_good_enough(self):
        self.lose_the_machine()
        disk = self.path("disk")
        done = subprocess.run("mount --bind '%s' '%s' && mount -o remount,ro,bind '%s'" % (disk, disk, disk), shell=True,
                              capture_output=True)
        if done.returncode != 0:
            self.skipTest("cannot mount")
        self.addCleanup(subprocess.run, ["umount", disk])
        self.ag("recover", "--key", "kept.pem", say="3 archives recovered")
        self.ag("restore", "--key", "kept.pem", "latest", "--to", "to")
        self.ag("verify")
        self.ag("verify", "--data", "--key", "kept.pem")

    def test_damage_is_named_and_the_rest_kept(self):
        listed = json.loads(self.ag("list", "--json").out)["archives"]
        names = [a["name"] for a in sorted(listed, key=lambda a: a["id"])]
        self.lose_the_machine()
        manifests = sorted(glob.glob(self.path("disk", "manifests", "*", "*")))
        volumes = sorted(glob.glob(self.path("disk", "archives", "*", "*")))
        os.unlink(manifests[0])
        os.unlink(volumes[1])
        r = self.ag("recover", "--key", "kept.pem", status=3, say="2 archives recovered, 0 known already, 0 not ours, 1 damaged")
        self.assertIn(names[0] + ": its manifest is missing", r.err)
        self.assertIn(names[1] + " is damaged", r.err)
        self.assertNotIn(names[2] + " is", r.err)
        self.assertIn("autoglacier verify --repair", r.err)

    def test_a_lost_manifest_is_written_again(self):
        before = self.seen()
        name = before[0].split()[0]
        lost = glob.glob(self.path("disk", "manifests", "*", "*"))
        self.lose_the_machine()
        for path in lost:
            os.unlink(path)
        self.ag("recover", "--key", "kept.pem", status=3)
        self.ag("verify", name, status=1)
        self.assertIn("its manifest was written into the store again", self.ag("verify", "--repair", name).out)
        self.assertNotIn("again", self.ag("verify", "--repair", name).out)
        self.assertEqual(self.ag("verify", "--repair").out.count("again"), 2)
        os.truncate(lost[0], 700)
        r = self.ag("verify", "--data", "--key", "kept.pem", status=1)
        self.assertIn("the manifest is damaged", r.out)
        self.ag("verify", "--data", "--key", "kept.pem", "--repair")
        listed = self.ag("list", "--json").out
        self.lose_the_machine()
        self.ag("recover", "--key", "kept.pem", say="3 archives recovered, 0 known already, 0 not ours, 0 damaged")
        self.assertEqual(self.ag("list", "--json").out, listed)

    def test_a_manifest_is_not_written_again_where_nothing_may_be_written(self):
        lost = glob.glob(self.path("disk", "manifests", "*", "*"))[0]
        os.unlink(lost)
        os.rename(self.path("disk"), self.path("other"))
        os.mkdir(self.path("disk"))
        self.ag("verify", "--repair", status=1, say="disk")
        self.assertEqual(os.listdir(self.path("disk")), [])

    def test_a_wrong_passphrase_finds_nothing(self):
        self.locked_keys("sesame")
        shutil.copy(self.private, self.path("locked.pem"))
        self.lose_the_machine()
        shown = self.on_terminal("recover", "--key", "locked.pem", status=1,
                                 answers=[("assphrase", "a"), ("assphrase", "b"), ("assphrase", "c")])
        self.assertIn("passphrase", shown)
        self.assertEqual(self.ag("list").out, "")
        self.on_terminal("recover", "--key", "locked.pem", answers=[("assphrase", "sesame")])
        self.assertEqual(len(self.ag("list").out.splitlines()), 3)

    def test_a_locked_key_without_a_terminal_is_no_foreign_key(self):
        self.locked_keys("sesame")
        self.ag("recover", "--key", self.private, status=1, say="locked")

    def test_archives_for_other_keys_are_not_ours(self):
        self.lose_the_machine()
        self.ag("genkeys", "other.pem", "other.pub")
        self.ag("recover", "--key", "other.pem", say="3 not ours")
        self.assertEqual(self.ag("list").out, "")

    def test_beside_a_mount_the_archives_appear_in_it(self):
        if not os.path.exists("/dev/fuse"):
            self.skipTest("there is no /dev/fuse")
        before = self.seen()
        self.lose_the_machine()
        self.keys()
        self.addCleanup(self.ag, "stop", status=None)
        self.ag("mount", "glacier")
        self.assertEqual(os.listdir(self.path("glacier/archives")), ["STATUS.txt"])
        self.ag("recover", "--key", "kept.pem", say="3 archives recovered")
        until(lambda: len(os.listdir(self.path("glacier/archives"))) == 4, "three archives in the mount")
        self.assertEqual(self.seen(), before)
        name = before[0].split()[0]
        inside = os.path.join("glacier/archives", name)
        self.assertEqual(self.read(inside + "/info.json").decode(), self.ag("show", "--json", name).out)
        self.assertEqual(self.read(os.path.join(inside, "files", self.path("src/f")[1:])), b"content 0\n")
        self.assertEqual(self.ag("recover", "--key", "kept.pem").out, "")

    def test_it_is_no_backup_of_a_store_that_is_not_there(self):
        self.lose_the_machine()
        os.rename(self.path("disk"), self.path("away"))
        self.ag("recover", "--key", "kept.pem", status=1, say="is not there")
        self.ag("recover", status=2, say="--key")
        self.ag("recover", "--key", "no.pem", status=1, say="no key at")


class Golden(CliCase):
    """An archive that must be found for ever."""

    def test_it_is_found_again_and_restored(self):
        golden = os.path.join(TOP, "tests", "golden", "2-archive")
        key = self.write("golden.pem", mode=0o600)
        shutil.copyfile(os.path.join(golden, "private.pem"), key)
        passphrase = self.write("passphrase", mode=0o600)
        shutil.copyfile(os.path.join(golden, "passphrase"), passphrase)
        manifest = glob.glob(os.path.join(golden, "manifest", "*"))[0]
        subprocess.run(["/usr/bin/python3", os.path.join(TOP, "tools", "rescue.py"), "--key", key, "--passphrase-file",
                        passphrase, "-o", self.path("m.xz"), manifest], check=True, capture_output=True)
        with lzma.open(self.path("m.xz")) as f:
            head = json.loads(f.readline())
        self.config('{"VAULT": "dir:%s", "PRIV_RSA_KEY_PASSPHRASE_FILE": "%s"}' % (self.path("disk"), passphrase))
        self.keys()
        self.ag("init")
        for kind, found in (("manifests", [manifest]), ("archives", glob.glob(os.path.join(golden, "*.esdk")))):
            folder = self.path("disk", kind, head["origin"])
            os.makedirs(folder)
            for path in found:
                shutil.copy(path, folder)
        self.assertEqual(self.ag("recover", "--key", key).out, head["name"] + "\n")
        self.ag("restore", "--key", key, "latest", "--to", "to", status=None)
        found = sum(len(folders) + len(files) for _, folders, files in os.walk(self.path("to/tmp")))
        self.assertEqual(len(self.ag("files", "latest").out.splitlines()), found)
        self.ag("verify", "--data", "--key", key)


@unittest.skipUnless(os.environ.get("AUTOGLACIER_LONG") == "1", "takes minutes")
class Many(CliCase):
    """50 archives with 200,000 members in all; three of them damaged, each in another way."""

    def test_fifty_archives_of_two_hundred_thousand_members(self):
        self.keys()
        self.config('{"VAULT": "dir:%s", "COMPRESSION": "zstd"}' % self.path("disk"))
        self.ag("init")
        for folder in range(40):
            for i in range(99):
                self.write("src/%02d/%d" % (folder, i), "content %d %d\n" % (folder, i))
        for n in range(50):
            self.write("src/00/0", "archive %d\n" % n)
            self.backup("src", message="number %d" % n)
        shutil.copy(self.private, self.path("kept.pem"))
        listed = sorted(json.loads(self.ag("list", "--json").out)["archives"], key=lambda a: a["id"])
        names = [a["name"] for a in listed]
        self.assertGreater(sum(a["files"] + a["dirs"] for a in listed), 199_000)
        before = [[self.ag("show", "--json", n).out, self.ag("files", n).out] for n in names]
        shutil.rmtree(self.data)
        manifests = sorted(glob.glob(self.path("disk", "manifests", "*", "*")))
        volumes = sorted(glob.glob(self.path("disk", "archives", "*", "*")))
        self.assertEqual([len(manifests), len(volumes)], [50, 50])
        os.unlink(volumes[7])
        os.truncate(volumes[20], os.path.getsize(volumes[20]) - 1)
        for path in manifests[33], volumes[33]:
            os.truncate(path, 700)
        began = time.monotonic()
        r = self.ag("recover", "--key", "kept.pem", status=3, say="47 archives recovered, 0 known already, 0 not ours, 3 damaged")
        print("recovered in %.1f s" % (time.monotonic() - began))
        told = [line for line in r.err.splitlines() if "is damaged" in line]
        self.assertEqual(len(told), 3)
        for n, line in zip((7, 20, 33), told):
            self.assertTrue(names[n] in line or listed[n]["id"] in line, line)
        for n in set(range(50)) - {33}:
            self.assertEqual([self.ag("show", "--json", names[n]).out, self.ag("files", names[n]).out], before[n])


if __name__ == "__main__":
    main()
