#!/usr/bin/python3
"""A power cut at every named point: of what was not synced nothing is left, and no staged byte is lost."""
import json
import os
import shutil
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from crash import CONFIG  # noqa: E402
from mount import main, until  # noqa: E402
from powercut_case import PowerCutCase, require  # noqa: E402

POINTS = ["freeze-json", "commit-row", "commit-exchanged", "freeze-exchanged", "gathering", "volume-begin", "part", "store-synced",
          "volume-written", "volume-confirmed", "volume-done", "volume-begin:2", "walked", "volume-written:2", "volume-confirmed:2",
          "volume-done:2", "packed", "manifest-stored", "stored", "back-moved", "given-back", "tree-released"]


class PowerCut(PowerCutCase):
    def test_of_a_staged_tree_that_is_on_the_disk_nothing_is_lost(self):
        for point in POINTS:
            with self.subTest(point=point):
                m = self.data(CONFIG, name=point)
                m.start()
                self.stage(m)
                self.assertEqual(m.stop(), 0)
                self.cut(m, point)
                m.start()
                self.finish(m)
                self.assertEqual(m.stop(), 0)
                shutil.rmtree(m.folder)

    def test_what_was_not_yet_on_the_disk_harms_nothing(self):
        """Staged a moment before the cut: what is gone is gone, but the next start works and what is stored is whole."""
        for point in ("commit-row", "commit-exchanged", "freeze-exchanged", "gathering", "volume-begin", "stored"):
            with self.subTest(point=point):
                m = self.data(CONFIG, name=point)
                self.cut(m, point, lambda m=m: self.stage(m))
                m.start()
                for a in m.archives():
                    m.wait(("stored", "incomplete"), a)
                    m.restore(a)
                m.write("after", "it works")
                m.wait(("stored", "incomplete"), m.commit("after"))
                self.assertEqual(m.stop(), 0)
                shutil.rmtree(m.folder)

    def test_a_machine_that_went_down_before_the_sync_is_warned_of_and_the_tree_is_kept(self):
        m = self.data(CONFIG)
        m.start(AUTOGLACIER_CRASH_AT="freeze-exchanged")
        self.stage(m, special=False)
        self.commit_and_die(m)
        with sqlite3.connect(os.path.join(m.data, "catalog.db")) as db:
            db.execute("update archive set boot_id = 'another boot'")
        db.close()
        m.start()
        m.wait("stored")
        self.assertIn("went down", m.text("log"))
        until(lambda: os.path.exists(m.path("source/link")), "the tree is back")
        self.same_tree(self.source, m.path("source"))
        self.same_tree(self.source, m.restore() + "/source")

    def test_a_tree_without_its_row_is_adopted(self):
        """A catalogue from before the commit was put back: the frozen tree is found by its folder."""
        m = self.data(CONFIG)
        m.start()
        self.assertEqual(m.stop(), 0)
        before = os.path.join(m.data, "catalog.db")
        shutil.copy(before, before + ".old")
        m.start(AUTOGLACIER_CRASH_AT="gathering")
        self.stage(m, special=False)
        self.commit_and_die(m, "the words")
        for name in ("catalog.db", "catalog.db-wal", "catalog.db-shm"):
            path = os.path.join(m.data, name)
            if os.path.exists(path):
                os.unlink(path)
        os.rename(before + ".old", before)
        m.start()
        self.assertEqual(len(m.archives()), 1)
        self.finish(m, special=False)
        self.assertIn("adopted", m.text("log"))
        self.assertEqual(m.text("description").strip(), "the words")
        self.assertEqual(json.loads(m.text("info.json"))["state"], "stored")


if __name__ == "__main__":
    require()
    main()
