#!/usr/bin/python3
"""The life of archives in a bucket: with the command line and in a mount, one machine and two.

Runs under with_rgw (an S3 server that somebody else wrote, whose classes can be read at once) and under with_emulator
(where DEEP_ARCHIVE must be thawed first).
"""
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import bucket  # noqa: E402
from mount import MountCase, PATIENCE, Programs, main, until  # noqa: E402


class Life(MountCase):
    def prefix(self):
        return "life/" + self.id().split(".")[-1]

    def machine(self, name="one", **config):
        m = self.data(bucket.config(self.prefix(), **config), name=name)
        m.env["XDG_RUNTIME_DIR"] = self.folder
        return m

    def cli(self, m, *words, status=0):
        """Runs a command; what it printed."""
        r = subprocess.run([Programs.cli, *words], cwd=self.folder, env=m.environment(), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        self.assertEqual(r.returncode, status, r.stdout + r.stderr)
        return r.stdout if status == 0 else r.stdout + r.stderr

    def sources(self, name="source", n=30):
        top = os.path.join(self.folder, name)
        os.makedirs(os.path.join(top, "sub"))
        for i in range(n):
            with open(os.path.join(top, "sub" if i % 2 else "", "file %d (ä)" % i), "wb") as f:
                f.write(os.urandom(1000 * i) + b"text " * i)
        return top

    def restored(self, m, archive, *paths):
        """Restores with the command line; the folder."""
        to = os.path.join(self.folder, "out-%d" % len(os.listdir(self.folder)))
        self.cli(m, "restore", archive, *paths, "--to", to, "--wait")
        return to

    # ---- the command line ----

    def test_the_command_line_archives_verifies_and_restores(self):
        m, top = self.machine(), self.sources()
        self.cli(m, "init")
        self.cli(m, "backup", "-m", "words", top)
        listed = json.loads(self.cli(m, "list", "--json"))
        self.assertEqual(len(listed["archives"] if isinstance(listed, dict) else listed), 1)
        self.assertIn("file 7 (ä)", self.cli(m, "files", "latest"))
        self.cli(m, "verify", "latest")
        self.cli(m, "status")
        keys = bucket.objects(self.prefix())
        classes = {k.split("/")[2]: o.get("StorageClass", "STANDARD") for k, o in keys.items()}
        self.assertEqual(classes.get("archives"), bucket.storage_class(), keys)
        self.assertEqual(classes.get("manifests"), "STANDARD", keys)
        self.assertEqual(bucket.uploads(self.prefix()), [])
        out = self.restored(m, "latest")
        self.same_tree(top, out + top, owners=False)

    def test_one_file_comes_back_alone(self):
        m, top = self.machine(), self.sources()
        self.cli(m, "backup", "-m", "words", top)
        path = (top + "/file 6 (ä)").lstrip("/")
        out = self.restored(m, "latest", path)
        with open(os.path.join(out, path), "rb") as a, open("/" + path, "rb") as b:
            self.assertEqual(a.read(), b.read())
        self.assertEqual(sum(len(f) for _, _, f in os.walk(out)), 1)

    def test_what_it_costs_is_told(self):
        m, top = self.machine(), self.sources()
        self.cli(m, "backup", "-m", "words", top)
        self.assertIn(bucket.storage_class(), self.cli(m, "cost"))
        json.loads(self.cli(m, "cost", "latest", "--json"))

    def test_a_deleted_archive_is_gone_from_the_bucket(self):
        m, top = self.machine(), self.sources()
        self.cli(m, "backup", "-m", "kept", top)
        self.cli(m, "backup", "-m", "deleted", top)
        before = bucket.objects(self.prefix())
        self.cli(m, "delete", "--yes", "latest")
        gone = set(before) - set(bucket.objects(self.prefix()))
        self.assertEqual(len(gone), 2, gone)  # a volume and its manifest
        self.assertIn("kept", self.cli(m, "list"))
        self.cli(m, "verify")

    def test_a_new_machine_recovers_from_bucket_and_key(self):
        m, top = self.machine(), self.sources()
        self.cli(m, "backup", "-m", "the first", top)
        self.cli(m, "backup", "-m", "the second", os.path.join(top, "sub"))
        new = self.machine("new")
        key = os.path.join(m.data, "keys", "private.pem")
        shutil.rmtree(os.path.join(new.data, "keys"))
        self.cli(new, "recover", "--key", key)
        for text in ("the-first", "the-second"):
            self.assertIn(text, self.cli(new, "list"))
        self.assertEqual(self.cli(new, "files", "latest"), self.cli(m, "files", "latest"))
        out = os.path.join(self.folder, "recovered")
        self.cli(new, "restore", "latest", "--to", out, "--key", key, "--wait")
        self.same_tree(os.path.join(top, "sub"), out + os.path.join(top, "sub"), owners=False)

    def test_an_object_that_was_lost_or_changed_is_noticed(self):
        m, top = self.machine(), self.sources()
        self.cli(m, "backup", "-m", "words", top)
        key = [k for k in bucket.objects(self.prefix()) if "/archives/" in k][0]
        self.cli(m, "verify", "latest")
        bucket.client().put_object(Bucket=bucket.name(), Key=key, Body=b"x", StorageClass=bucket.storage_class())
        self.assertIn(key.split("/", 2)[2], self.cli(m, "verify", "latest", status=1))
        bucket.client().delete_object(Bucket=bucket.name(), Key=key)
        self.assertIn("missing", self.cli(m, "verify", "latest", status=1))

    # ---- a mount ----

    def test_a_mount_archives_and_shows_what_is_stored(self):
        m = self.machine().start()
        m.write("notes", "some text\n" * 1000)
        m.write("deep/er/photo", os.urandom(3 << 20))
        m.commit("summer")
        m.wait("stored")
        self.assertEqual(sorted(os.listdir(m.path("archives", m.latest(), "files"))), ["deep", "notes"])
        self.assertEqual(os.stat(m.path("archives", m.latest(), "files", "deep/er/photo")).st_size, 3 << 20)
        until(lambda: m.leftovers() == [], m.leftovers)
        self.assertEqual(bucket.uploads(self.prefix()), [])
        m.stop()

    def test_a_mount_restores_what_is_asked_for(self):
        m = self.machine().start()
        content = os.urandom(2 << 20)
        m.write("photo", content)
        m.commit("one photo")
        name = m.wait("stored")
        with open(m.path("archives", name, ".restore"), "w") as f:
            f.write("bulk photo\n")

        def read():
            try:
                with open(m.path("archives", name, "files", "photo"), "rb") as f:
                    return f.read()
            except OSError:
                return None
        until(read, lambda: m.text("log", name) + m.read(".status"))
        self.assertEqual(read(), content)
        m.stop()

    def test_a_volume_of_many_parts_is_whole(self):
        m = self.machine(COMPRESSION="none", VOLUME_SIZE="64MiB").start()
        content = os.urandom(10 << 20) * 9 + b"end"
        m.write("large", content)
        m.commit("several parts, two volumes")
        m.wait("stored")
        archives = [k for k in bucket.objects(self.prefix()) if "/archives/" in k]
        self.assertGreaterEqual(len(archives), 2)
        m.stop()
        out = self.restored(m, "latest")
        with open(os.path.join(out, "large"), "rb") as f:
            self.assertEqual(f.read(), content)

    # ---- two machines ----

    def test_two_machines_share_a_bucket_and_leave_each_other_alone(self):
        one, two = self.machine("one"), self.machine("two")
        shutil.rmtree(os.path.join(two.data, "keys"))
        shutil.copytree(os.path.join(one.data, "keys"), os.path.join(two.data, "keys"))
        top = self.sources(n=5)
        for m in (one, two):
            m.start()
            m.write("of " + m.folder.rsplit("/", 1)[1], os.urandom(100000))
            m.commit("mine")
        for m in (one, two):
            m.wait("stored")
            self.assertEqual(len(m.archives()), 1)
            m.stop()
        origins = {k.split("/")[3] for k in bucket.objects(self.prefix()) if "/archives/" in k}
        self.assertEqual(len(origins), 2)
        self.cli(one, "backup", "-m", "more", top)
        self.cli(two, "verify")
        self.cli(one, "verify")


if __name__ == "__main__":
    bucket.require()
    main()
