#!/usr/bin/python3
"""Buckets of services that are not Amazon's: what one has not got costs what it must, is said, and loses nothing.

On the emulator, told what to lack (emulator_others.py).
"""
import json
import os
import shutil
import sqlite3
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]

import emulated  # noqa: E402
from mount import main, until  # noqa: E402
from trouble import Trouble as Bucket  # noqa: E402

LEAST = ["lists2", "ListParts", "ListMultipartUploads", "conditions", "checksums", "attributes", "encoding", "length", "classes"]


class Others(Bucket):
    def calm(self):
        super().calm()
        self.server.set(lacks=[], page=1000)

    def machine(self, name="one", **config):
        return super().machine(name, **dict({"STORAGE_CLASS": "STANDARD", "VOLUME_SIZE": "24MiB"}, **config))

    def sources(self):
        top = os.path.join(self.folder, "source")
        os.makedirs(top)
        for name, size in (("large", 40 << 20), ("small (ä)", 1000)):
            with open(os.path.join(top, name), "wb") as f:
                f.write(os.urandom(size))
        return top

    def whole_life(self, m):
        """Everything that works elsewhere: several volumes, one file, a machine that is gone, the end."""
        top = self.sources()
        self.said(m, words=("init",), status=0)
        self.said(m, words=("backup", "-m", "words", top), status=0)
        self.said(m, "the store has what was stored", words=("verify",), status=0)
        self.said(m, "every file is as it was archived", words=("verify", "--data"), status=0)
        out, one = os.path.join(self.folder, "out"), (top + "/small (ä)").lstrip("/")
        self.said(m, words=("restore", "latest", one, "--to", out), status=0)
        with open("/" + one, "rb") as a, open(os.path.join(out, one), "rb") as b:
            self.assertEqual(a.read(), b.read())
        new, key = self.machine("new", VAULT=self.vault(m)), os.path.join(m.data, "keys", "private.pem")
        shutil.rmtree(os.path.join(new.data, "keys"))
        self.said(new, words=("recover", "--key", key), status=0)
        again = os.path.join(self.folder, "again")
        self.said(new, words=("restore", "latest", "--key", key, "--to", again), status=0)
        self.same_tree(top, again + top, owners=False)
        self.said(m, words=("delete", "--yes", "latest"), status=0)

    @staticmethod
    def vault(m):
        with open(os.path.join(m.home, "CONFIG.json")) as f:
            return json.load(f)["VAULT"]

    def keys(self):
        return [o["Key"] for o in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def test_a_service_that_has_the_least(self):
        self.server.set(lacks=LEAST)
        self.whole_life(self.machine())
        self.assertEqual([k for k in self.keys() if "/archives/" in k or "/manifests/" in k], [])

    def test_a_service_that_ignores_checksums_says_so_when_asked(self):
        self.server.set(lacks=["sums"])
        m, top = self.machine(), self.sources()
        self.said(m, "it keeps no checksums", words=("init",), status=0)
        self.said(m, words=("backup", "-m", "words", top), status=0)
        self.said(m, "by its sizes", "--data", words=("verify",), status=0)
        self.server.set(lacks=[])
        n = self.machine("two", VAULT="s3://%s/kept" % self.bucket)
        self.assertNotIn("checksums", self.said(n, words=("init",), status=0))
        self.said(n, words=("backup", "-m", "words", top), status=0)
        self.assertNotIn("sizes", self.said(n, words=("verify",), status=0))

    def test_refused_checksums_are_left_out_after_one_refusal(self):
        self.server.set(lacks=["checksums"])
        m = self.machine()
        self.said(m, words=("backup", "-m", "words", self.sources()), status=0)
        refused = [r for r in self.server.requests()[self.before:] if r.get("status") == 400]
        self.assertGreater(len(self.requests("UploadPart")), 4)
        self.assertLessEqual(len(refused), 2, refused)  # init's store, and the job's

    def test_a_wrong_part_is_noticed_without_checksums_of_the_service(self):
        self.server.set(lacks=["checksums"])
        m = self.machine()
        self.said(m, words=("init",), status=0)
        self.server.behave({"op": "UploadPart", "kind": "corrupt", "count": 2})
        self.said(m, words=("backup", "-m", "words", self.sources()), status=0)
        self.server.behave()
        self.said(m, "every file is as it was archived", words=("verify", "--data"), status=0)

    def test_prefixes_come_back_however_lists_write_them(self):
        for i, lacks in enumerate((["encoding"], [])):
            self.server.set(lacks=lacks)
            m = self.machine("m%d" % i, VAULT="s3://%s/my %%41 + ä&b/%s%d" % (self.bucket, "ä" * 200, i))
            self.said(m, words=("backup", "-m", "words", __file__), status=0)
            self.assertTrue(all("my %41 + ä&b/" in k for k in self.keys()), self.keys())
            new, key = self.machine("new%d" % i, VAULT=self.vault(m)), os.path.join(m.data, "keys", "private.pem")
            shutil.rmtree(os.path.join(new.data, "keys"))
            self.said(new, words=("recover", "--key", key), status=0)
            self.said(new, "words", words=("list",), status=0)

    def test_lists_of_the_first_version_are_read_to_their_end(self):
        self.server.set(lacks=["lists2"], page=1)
        m = self.machine()
        for text in ("one", "two", "three"):
            self.said(m, words=("backup", "-m", text, __file__), status=0)
        new, key = self.machine("new"), os.path.join(m.data, "keys", "private.pem")
        shutil.rmtree(os.path.join(new.data, "keys"))
        self.said(new, "3 archives recovered", words=("recover", "--key", key), status=0)

    def test_a_class_that_it_has_not_is_named(self):
        self.server.set(lacks=["classes"])
        self.said(self.machine(STORAGE_CLASS="DEEP_ARCHIVE"), "InvalidStorageClass", "STORAGE_CLASS")

    def test_what_it_cannot_tell_is_said_by_init(self):
        self.server.set(lacks=["ListParts", "ListMultipartUploads"])
        self.said(self.machine(), "does not tell what it has of an upload", "does not list unfinished uploads", status=0)

    @staticmethod
    def is_packed(m):
        """All of the volume is in the spool: only then its upload outlives a kill."""
        with sqlite3.connect("file:%s?mode=ro" % os.path.join(m.data, "catalog.db"), uri=True) as c:
            return c.execute("SELECT count(*) FROM volume WHERE packed").fetchone()[0] == 1

    def killed_while_sending(self):
        m = self.machine(UPLOAD_CONCURRENCY=2, VOLUME_SIZE="1GiB").start()
        m.write("large", os.urandom(40 << 20))
        self.server.behave({"op": "UploadPart", "kind": "500", "skip": 3})
        m.commit("sent in two lives")
        until(lambda: sum(r["status"] == 200 for r in self.requests("UploadPart")) >= 3, lambda: m.read(".status"))
        until(lambda: self.is_packed(m), lambda: m.read(".status"))
        m.kill()
        m.clean()
        self.server.behave()
        m.start()
        m.wait("stored")
        until(lambda: m.leftovers() == [], m.leftovers)
        m.stop()
        self.said(m, "every file is as it was archived", words=("verify", "--data"), status=0)
        return m

    def test_an_upload_whose_parts_are_not_told_begins_anew_and_leaves_nothing(self):
        self.server.set(lacks=["ListParts", "ListMultipartUploads"])
        self.killed_while_sending()
        self.server.set(lacks=[])
        self.assertEqual(self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []), [])

    def test_an_upload_goes_on_where_nothing_keeps_checksums(self):
        self.server.set(lacks=["sums"])
        self.killed_while_sending()
        self.assertEqual(len(self.requests("CreateMultipartUpload")), 1)


if __name__ == "__main__":
    emulated.require()
    main()
