#!/usr/bin/python3
"""The life of archives in cold stores, a Glacier vault and a bucket with DEEP_ARCHIVE, on the emulator: what works on a
folder works there, only later."""
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), HERE]

import emulated  # noqa: E402
from emulator_glacier import is_node  # noqa: E402
from mount import MountCase, PATIENCE, Programs, main, until  # noqa: E402

THAW = 3600


class Cold:
    """Tests for both; `url` and what differs are in the classes below."""

    @classmethod
    def setUpClass(cls):
        cls.server = emulated.Emulated(page=3, thaw_seconds=THAW, job_seconds=THAW)
        cls.addClassCleanup(cls.server.stop)
        cls.places = 0

    def setUp(self):
        super().setUp()
        self.server.behave()
        self.server.advance(None)
        type(self).places += 1
        self.place = "place-%d" % self.places
        self.make_place()

    def machine(self, name="one", **config):
        c = {"VAULT": self.url(), "ENDPOINT_URL": self.server.url, "REGION_NAME": "us-east-1", "COMPRESSION": "zstd",
             "AWS_ACCESS_KEY_ID": emulated.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": emulated.SECRET_KEY,
             "STORAGE_CLASS": "DEEP_ARCHIVE", "COST_LIMIT": 1000}
        c.update(config)
        m = self.data(c, name=name)
        m.env["XDG_RUNTIME_DIR"] = self.folder
        return m

    def run_cli(self, m, *words, **more):
        return subprocess.run([Programs.cli, *words], cwd=self.folder, env=m.environment(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE,
                              start_new_session=True, **more)

    def cli(self, m, *words, status=0):
        """Runs a command; all that it said."""
        r = self.run_cli(m, *words)
        self.assertEqual(r.returncode, status, r.stdout + r.stderr)
        return r.stdout + r.stderr

    def client(self, service):
        import botocore.session
        client = botocore.session.get_session().create_client(
            service, "us-east-1", endpoint_url=self.server.url, aws_access_key_id=emulated.ACCESS_KEY,
            aws_secret_access_key=emulated.SECRET_KEY)
        self.addCleanup(client.close)
        return client

    def copy_of_key(self, m):
        return shutil.copy(os.path.join(m.data, "keys", "private.pem"), os.path.join(self.folder, "copy.pem"))

    def in_time(self, m, *words, status=0):
        """A command that waits for the store, whose clock runs on meanwhile; what it said."""
        done = []
        thread = threading.Thread(target=lambda: done.append(self.run_cli(m, *words)))
        asked = self.asked()
        thread.start()
        while thread.is_alive():
            thread.join(0.2)
            if self.asked() != asked:  # and not longer: what was thawed would be gone before a slow machine has read it
                asked = self.asked()
                self.server.advance(THAW + 1)
        self.assertEqual(done[0].returncode, status, done[0].stdout + done[0].stderr)
        return done[0].stdout + done[0].stderr

    def recover(self, m, key, status=0):
        return self.in_time(m, "recover", "--key", key, status=status)

    def sources(self, n=12):
        top = os.path.join(self.folder, "source")
        os.makedirs(os.path.join(top, "sub"))
        for i in range(n):
            with open(os.path.join(top, "sub" if i % 2 else "", "file %d (ä)" % i), "wb") as f:
                f.write(os.urandom(100000 * i) + b"text " * i)
        return top

    def asked(self):
        """How many retrievals of archives were asked for, and granted."""
        return len([e for e in self.server.requests(self.retrieval) if 200 <= e["status"] < 300])

    # ---- the command line ----

    def test_command_line_archives_and_verifies(self):
        m, top = self.machine(), self.sources()
        self.cli(m, "init")
        self.cli(m, "backup", "-m", "words", top)
        self.assertIn("file 7 (ä)", self.cli(m, "files", "latest"))
        self.assertIn("stored", self.cli(m, "list"))
        before = self.asked()
        self.cli(m, "verify", "latest")
        self.cli(m, "verify", "--key", self.copy_of_key(m))
        self.cli(m, "show", "latest")
        self.assertEqual(self.asked(), before, "looking asked for a retrieval")
        self.assertEqual(self.uploads(), [])

    def test_command_line_restores_one_file_and_then_everything(self):
        m, top = self.machine(), self.sources(4)
        self.cli(m, "backup", "-m", "words", top)
        path, out = (top + "/file 2 (ä)").lstrip("/"), os.path.join(self.folder, "out")
        before = self.asked()
        self.assertIn("USD", self.cli(m, "restore", "latest", path, "--to", out, "--dry-run"))
        self.assertEqual(self.asked(), before, "looking asked for a retrieval")
        self.in_time(m, "restore", "latest", path, "--to", out, "--wait")
        with open(os.path.join(out, path), "rb") as a, open("/" + path, "rb") as b:
            self.assertEqual(a.read(), b.read())
        self.assertEqual(sum(len(files) for _, _, files in os.walk(out)), 1)
        self.in_time(m, "restore", "latest", "--to", out + "-all", "--wait")
        self.same_tree(top, out + "-all" + top, owners=False)
        self.assertIn("VAULT" if self.empty == 0 else "DEEP_ARCHIVE", self.cli(m, "cost", "latest"))

    def test_archive_that_is_deleted_is_gone_from_the_store(self):
        m, top = self.machine(), self.sources(3)
        self.cli(m, "backup", "-m", "words", top)
        self.assertGreaterEqual(self.objects(), 2)
        self.cli(m, "delete", "--yes", "latest")
        self.assertEqual(self.objects(), self.empty)
        self.assertNotIn("stored", self.cli(m, "list"))

    def test_new_machine_recovers_everything(self):
        m, top = self.machine(), self.sources(3)
        for text in ("first words", "second words"):
            self.cli(m, "backup", "-m", text, top)
        listed = self.cli(m, "list")
        new = self.machine("two")
        shutil.rmtree(os.path.join(new.data, "keys"))
        key = os.path.join(m.data, "keys", "private.pem")
        self.recover(new, key)
        self.assertEqual(self.cli(new, "list"), listed)
        self.cli(new, "verify")
        again = self.cli(new, "recover", "--key", key)
        self.assertIn("2 known already", again)
        self.assertEqual("its inventory of 20" in again, self.empty == 0, again)
        out = os.path.join(self.folder, "out")
        self.in_time(new, "restore", "latest", "--to", out, "--key", key, "--wait")
        self.same_tree(top, out + top, owners=False)

    def test_archive_without_its_manifest_is_recovered_from_its_thawed_end(self):
        m, top = self.machine(), self.sources(3)
        self.cli(m, "backup", "-m", "words", top)
        listed = self.cli(m, "list")
        self.remove_manifests()
        new, key = self.machine("two"), os.path.join(m.data, "keys", "private.pem")
        self.assertIn("recover again when it is thawed", self.recover(new, key, status=3))
        self.server.advance(THAW + 1)
        self.assertIn("it was read from the archive's own end", self.recover(new, key, status=3))
        self.assertEqual(self.cli(new, "list"), listed)

    # ---- a mount ----

    def restored(self, m, archive, words, path, content):
        """Asks in the mount, waits as long as it takes, and reads."""
        with self.assertRaises(OSError):
            with open(m.path("archives", archive, "files", path), "rb") as f:
                f.read()
        with open(m.path("archives", archive, ".restore"), "w") as f:
            f.write(words + "\n")
        until(lambda: "asked the store" in m.text("log", archive), lambda: m.read(".status"))  # for every piece
        self.assertIn(m.state(archive), ("restoring", "stored"))
        self.server.advance(THAW + 1)

        def read():
            try:
                with open(m.path("archives", archive, "files", path), "rb") as f:
                    return f.read()
            except OSError:
                return None
        until(read, lambda: m.text("log", archive) + m.read(".status"))
        self.assertEqual(read(), content)

    def test_mount_archives_and_restores_one_file(self):
        m = self.machine().start()
        photo = os.urandom(3 << 20)
        m.write("notes", "some text\n" * 1000)
        m.write("deep/er/photo", photo)
        m.commit("summer")
        name = m.wait("stored")
        self.assertEqual(sorted(os.listdir(m.path("archives", name, "files"))), ["deep", "notes"])
        until(lambda: m.leftovers() == [], m.leftovers)
        self.restored(m, name, "bulk deep/er/photo", "deep/er/photo", photo)
        m.stop()

    def test_volumes_of_several_parts_are_whole(self):
        m = self.machine(COMPRESSION="none", VOLUME_SIZE="32MiB", UPLOAD_CONCURRENCY=3).start()
        content = os.urandom(10 << 20) * 7 + b"end"
        m.write("large", content)
        m.commit("three volumes")
        name = m.wait("stored")
        self.assertGreaterEqual(len(m.info(name)["volumes"]), 3)
        m.stop()
        out = os.path.join(self.folder, "out")
        self.in_time(m, "restore", "latest", "--to", out, "--wait")
        with open(os.path.join(out, "large"), "rb") as f:
            self.assertEqual(f.read(), content)

    # ---- two machines ----

    def test_two_machines_share_a_store_and_leave_each_other_alone(self):
        one, two = self.machine("one"), self.machine("two")
        for m in (one, two):
            m.start()
            m.write("of " + os.path.basename(m.folder), os.urandom(100000))
            m.commit("mine")
        for m in (one, two):
            m.wait("stored")
            self.assertEqual(len(m.archives()), 1)
            m.stop()
        held = self.objects()
        self.assertGreaterEqual(held, 4)
        self.cli(one, "delete", "--yes", "latest")
        self.assertEqual(self.objects(), held - 2)
        self.cli(two, "verify")
        out = os.path.join(self.folder, "out")
        self.in_time(two, "restore", "latest", "--to", out, "--wait")
        self.assertEqual(os.listdir(out), ["of " + os.path.basename(two.folder)])

    def test_restore_goes_on_after_the_daemon_was_killed(self):
        m = self.machine().start()
        content = os.urandom(1 << 20)
        m.write("photo", content)
        m.commit("one")
        name = m.wait("stored")
        before = self.asked()
        with open(m.path("archives", name, ".restore"), "w") as f:
            f.write("standard all\n")
        until(lambda: self.asked() > before, lambda: m.read(".status"))
        m.kill()
        m.clean()
        self.server.advance(THAW + 1)
        m.start()

        def read():
            try:
                with open(m.path("archives", name, "files", "photo"), "rb") as f:
                    return f.read()
            except OSError:
                return None
        until(read, lambda: m.text("log", name) + m.read(".status"))
        self.assertEqual(read(), content)
        self.assertEqual(self.asked(), before + 1, "it was paid for twice")
        m.stop()


class InVault(Cold, MountCase):
    retrieval = "InitiateJob"
    empty = 0

    def url(self):
        return "glacier://" + self.place

    def make_place(self):
        m = self.machine("maker")
        self.cli(m, "init")

    def documents(self, kind):
        with sqlite3.connect(os.path.join(self.server.folder, "state.db"), timeout=PATIENCE) as db:
            rows = db.execute("SELECT body FROM doc WHERE kind = ? AND parent = ?", (kind, self.place)).fetchall()
        return [d for d in (json.loads(r[0]) for r in rows) if "deleted" not in d]

    def objects(self):
        return len(self.documents("archive"))

    def uploads(self):
        return self.documents("upload")

    def remove_manifests(self):
        with sqlite3.connect(os.path.join(self.server.folder, "state.db"), timeout=PATIENCE) as db:
            for name, body in db.execute("SELECT name, body FROM doc WHERE kind = 'archive' AND parent = ?", (self.place,)):
                if ":manifests/" in json.loads(body)["description"]:
                    self.client("glacier").delete_archive(accountId="-", vaultName=self.place, archiveId=name)

    def test_descriptions_hold_name_and_text_unless_they_are_private(self):
        m, top = self.machine(), self.sources(2)
        self.cli(m, "backup", "-m", "Fotos & Briefe", top)
        texts = sorted(d["description"] for d in self.documents("archive"))
        self.assertRegex(texts[0], r"^autoglacier:archives/[0-9a-f]{8}/\S+-0001\.tar\.zst\.esdk Fotos%20%26%20Briefe$")
        self.assertRegex(texts[1], r"^autoglacier:manifests/")
        m = self.machine("two", PRIVATE_DESCRIPTIONS=True)
        self.cli(m, "backup", "-m", "Geheimnis", top)
        self.assertEqual([d for d in self.documents("archive") if "Geheimnis" in d["description"]], [])

    def test_one_file_of_a_large_archive_is_retrieved_by_ranges(self):
        m = self.machine(COMPRESSION="none").start()
        m.write("big", os.urandom(40 << 20))
        m.write("small", "some text\n")
        m.commit("summer")
        name = m.wait("stored")
        volumes, before = m.info(name)["volumes"], self.asked()
        with open(m.path("archives", name, ".restore"), "w") as f:
            f.write("small\n")
        until(lambda: "asked the store" in m.text("log", name), lambda: m.read(".status"))
        self.assertGreaterEqual(self.asked(), before + 2)
        self.server.advance(THAW + 1)
        until(lambda: m.state(name) == "restored", lambda: m.text("log", name) + m.read(".status"))
        with open(m.path("archives", name, "files", "small")) as f:
            self.assertEqual(f.read(), "some text\n")
        m.stop()
        self.assertTrue(all(is_node(j["start"], j["end"], j["size"]) for j in self.documents("job")))  # so all was checked
        jobs = [(j["start"], j["end"]) for j in self.documents("job")]
        whole = sum(v["size"] for v in volumes)
        self.assertLess(len(jobs), 6, jobs)
        self.assertIn((0, 1 << 20), jobs)  # the header
        start, end = max(jobs)
        self.assertEqual(start % (1 << 20), 0)
        self.assertGreater(start, 30 << 20)
        self.assertLess(sum(b - a for a, b in jobs), whole / 2)

    def test_piece_that_the_vault_lost_is_asked_for_again(self):
        m = self.machine(COMPRESSION="none").start()
        m.write("big", os.urandom(40 << 20))
        m.write("small", "some text\n")
        m.commit("summer")
        name = m.wait("stored")
        with open(m.path("archives", name, ".restore"), "w") as f:
            f.write("small\n")
        until(lambda: "asked the store" in m.text("log", name), lambda: m.read(".status"))
        asked = self.asked()
        with sqlite3.connect(os.path.join(self.server.folder, "state.db"), timeout=PATIENCE) as db:
            lost = db.execute("DELETE FROM doc WHERE kind = 'job' AND parent = ? AND json_extract(body, '$.start') > 0",
                              (self.place,)).rowcount
        db.close()
        self.assertGreater(lost, 0)
        self.server.advance(THAW + 1)
        until(lambda: self.asked() == asked + lost, lambda: m.text("log", name) + m.read(".status"))
        self.server.advance(THAW + 1)
        until(lambda: m.state(name) == "restored", lambda: m.text("log", name) + m.read(".status"))
        with open(m.path("archives", name, "files", "small")) as f:
            self.assertEqual(f.read(), "some text\n")
        self.assertEqual(self.asked(), asked + lost)

    def test_missing_vault_is_not_made_by_the_way(self):
        m, top = self.machine(VAULT="glacier://" + self.place + "-slip"), self.sources(1)
        r = self.run_cli(m, "backup", "-m", "words", top)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("autoglacier init", r.stderr)
        self.assertEqual(len(self.server.requests("CreateVault")), len(
            [e for e in self.server.requests("CreateVault") if not e["path"].endswith("-slip")]))
        said = self.cli(m, "init")
        self.assertIn("made the store", said)
        self.assertIn("glacier:UploadMultipartPart", said)

    def test_verify_names_the_inventory_it_goes_by(self):
        m, top = self.machine(), self.sources(1)
        self.cli(m, "backup", "-m", "words", top)
        self.assertIn("the store confirmed what was stored", self.cli(m, "verify"))
        key = os.path.join(m.data, "keys", "private.pem")
        until_done = self.recover(self.machine("two"), key)
        self.assertIn("0 damaged", until_done)
        self.assertIn("by its inventory of 20", self.cli(self.machine("two"), "verify"))

    def test_book_of_names_that_was_lost_comes_back_from_the_inventory(self):
        m, top = self.machine(), self.sources(1)
        self.cli(m, "backup", "-m", "words", top)
        for name in os.listdir(m.data):
            if name.startswith("vaults.db"):
                os.unlink(os.path.join(m.data, name))
        self.assertIn("verify again in some hours", self.cli(m, "verify", status=1))
        self.assertIn("inventory", self.cli(m, "delete", "--yes", "latest", status=1))
        self.server.advance(THAW + 1)
        self.assertIn("by its inventory of 20", self.cli(m, "verify"))
        self.cli(m, "delete", "--yes", "latest")
        self.assertEqual(self.objects(), 0)

    def test_archive_that_somebody_deleted_is_missed_with_the_next_inventory(self):
        m, top = self.machine(), self.sources(1)
        self.cli(m, "backup", "-m", "words", top)
        with sqlite3.connect(os.path.join(m.data, "vaults.db"), timeout=PATIENCE) as book:
            archive, = book.execute("SELECT archive FROM object WHERE name LIKE 'archives/%'").fetchone()
            # As if it had been stored three days ago.
            book.execute("UPDATE object SET created = created - 3 * 86400 * 1000000000")
        with sqlite3.connect(os.path.join(m.data, "catalog.db"), timeout=PATIENCE) as catalog:
            catalog.execute("UPDATE archive SET stored = stored - 3 * 86400 * 1000000000")
        client = self.client("glacier")
        client.delete_archive(accountId="-", vaultName=self.place, archiveId=archive)
        self.assertIn("asked for a newer inventory", self.cli(m, "verify"))
        self.server.advance(THAW + 1)
        said = self.cli(m, "verify", status=1)
        self.assertIn("it is missing", said)


class InDeepArchive(Cold, MountCase):
    retrieval = "RestoreObject"
    empty = 1  # the store's id

    def url(self):
        return "s3://%s/pre" % self.place

    def make_place(self):
        self.client("s3").create_bucket(Bucket=self.place)

    def objects(self):
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.place)
        return sum(len(page.get("Contents", [])) for page in pages)

    def remove_manifests(self):
        client = self.client("s3")
        for o in client.list_objects_v2(Bucket=self.place, Prefix="pre/manifests/")["Contents"]:
            client.delete_object(Bucket=self.place, Key=o["Key"])

    def test_object_that_was_lost_or_changed_is_noticed(self):
        m, top = self.machine(), self.sources(1)
        self.cli(m, "backup", "-m", "words", top)
        client = self.client("s3")
        key, = [o["Key"] for o in client.list_objects_v2(Bucket=self.place, Prefix="pre/archives/")["Contents"]]
        client.put_object(Bucket=self.place, Key=key, Body=b"x", StorageClass="DEEP_ARCHIVE")
        self.assertIn(key[len("pre/"):], self.cli(m, "verify", "latest", status=1))
        client.delete_object(Bucket=self.place, Key=key)
        self.assertIn("missing", self.cli(m, "verify", "latest", status=1))

    def uploads(self):
        return self.client("s3").list_multipart_uploads(Bucket=self.place).get("Uploads", [])


if __name__ == "__main__":
    emulated.require()
    main()
