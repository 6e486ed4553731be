#!/usr/bin/python3
"""`restore` and `cost` of the command line on a cold store: the price before, one request, status 4, and a mount that goes on."""
import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from cold import HOURS, ColdStore  # noqa: E402
from mount import PATIENCE, MountCase, Programs, main, until  # noqa: E402


class Cold(MountCase):
    def cold(self, settings="delay=0.4", config=None):
        self.store = ColdStore(os.path.join(self.folder, "store"))
        m = self.data(config=dict({"VAULT": self.store.url(settings)}, **(config or {})))
        rng = random.Random(11)
        self.want = {"a/one": rng.randbytes(300000), "a/two": b"two", "b": rng.randbytes(1000)}
        source = os.path.join(self.folder, "source")
        for n, data in self.want.items():
            os.makedirs(os.path.dirname(os.path.join(source, n)), exist_ok=True)
            with open(os.path.join(source, n), "wb") as f:
                f.write(data)
        self.top = source.lstrip("/")
        self.cli(m, 0, "backup", "-m", "letters", source)
        return m

    def begin(self, m, *words, **env):
        return subprocess.Popen([Programs.cli, *words], cwd=self.folder, env=m.environment(**env), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self, p, status):
        out, err = p.communicate(timeout=PATIENCE * 2)
        self.assertEqual(p.returncode, status, out + err)
        return subprocess.CompletedProcess(p.args, p.returncode, out, err)

    def cli(self, m, status, *words, **env):
        return self.end(self.begin(m, *words, **env), status)

    def asked(self):
        return self.store.asked()

    def restores(self, m):
        """What becomes of each."""
        return [r["state"] for r in json.loads(self.cli(m, 0, "show", "latest", "--json").stdout)["restores"]]

    def it_expires(self, m):
        """For the store and for the catalogue."""
        self.store.forgotten()
        with contextlib.closing(sqlite3.connect(os.path.join(m.data, "catalog.db"), timeout=PATIENCE)) as db, db:
            db.execute("UPDATE restore SET ready_until = created")

    def find(self, folder):
        found = {}
        for path, _, files in os.walk(os.path.join(self.folder, folder)):
            for n in files:
                full = os.path.join(path, n)
                name = os.path.relpath(full, os.path.join(self.folder, folder))
                with open(full, "rb") as f:
                    found[name[name.index("source/") + 7:]] = f.read()
        return found

    def folders(self, top):
        """{path: (mode, ns mtime)} of every folder."""
        found = {}
        for path, _, _ in os.walk(top):
            st = os.stat(path)
            found[os.path.relpath(path, top)] = (oct(st.st_mode), st.st_mtime_ns)
        return found

    def test_tree_of_several_cold_archives_comes_back_as_it_was(self):
        m = self.cold("delay=%d" % HOURS)
        source = os.path.join(self.folder, "source")
        os.makedirs(os.path.join(source, "a", "nothing", "in it"))
        os.chmod(os.path.join(source, "a", "nothing"), 0o555)
        os.chmod(os.path.join(source, "a"), 0o750)
        for n in self.want:
            os.utime(os.path.join(source, n), (1700000000, 1700000000))
        self.cli(m, 0, "backup", "-c", "-m", "settled", source)
        self.want["b"] = b"newer"
        with open(os.path.join(source, "b"), "wb") as f:
            f.write(self.want["b"])
        for path, _, _ in os.walk(source):
            os.utime(path, ns=(0, 1600000000123456789 + len(path)))
        self.cli(m, 0, "backup", "-c", "-m", "changed", source)
        self.cli(m, 4, "restore", "--as-of", "2100-01-01", "--to", "back", source)
        self.assertEqual(len(self.asked()), 2)
        self.store.thawed()
        self.cli(m, 0, "restore", "--as-of", "2100-01-01", "--to", "back", "--wait", source)
        self.assertEqual(self.find("back"), self.want)
        self.assertEqual(self.folders(os.path.join(self.folder, "back", self.top)), self.folders(source))
        self.assertEqual(len(self.asked()), 2)

    def test_dry_run_tells_the_price_and_asks_nothing(self):
        m = self.cold()
        r = self.cli(m, 0, "restore", "latest", "--dry-run")
        self.assertRegex(r.stdout, "fetches .* to be thawed")
        self.assertIn("bulk       ready after 12 h to 48 h", r.stdout)
        self.assertIn("USD", r.stdout)
        self.assertEqual(self.asked(), [])
        self.cli(m, 1, "restore", "latest", "no/such/path", "--dry-run")

    def test_it_waits_or_ends_with_status_four_and_asks_once(self):
        m = self.cold("delay=%d" % HOURS)
        r = self.cli(m, 4, "restore", "latest", "--to", "out")
        self.assertIn("accepted", r.stderr)
        self.assertEqual(self.find("out"), {})
        self.store.thawed()
        r = self.cli(m, 0, "restore", "latest", "--to", "out", "--wait", "--tier", "bulk")
        self.assertIn("asked for before", r.stderr)
        self.assertIn("fetched", r.stderr)
        self.assertEqual(r.stdout, "out\n")
        self.assertEqual(self.find("out"), self.want)
        self.assertEqual(len(self.asked()), 1)
        r = self.cli(m, 1, "restore", "latest", "--to", "out")
        self.assertIn("is there already", r.stderr)
        self.cli(m, 0, "restore", "latest", "--to", "out", "--overwrite")
        self.assertEqual(len(self.asked()), 1)

    def test_without_room_in_the_folder_nothing_is_asked(self):
        m = self.cold()
        small = self.disk("disk", "128k")
        r = self.cli(m, 1, "restore", "latest", "--to", os.path.join(small, "out"), "--wait")
        self.assertIn("needs 301 kB", r.stderr)
        self.assertIn("has room for", r.stderr)
        self.assertEqual(self.asked(), [])

    def test_what_is_in_the_way_is_told_before_anything_is_asked(self):
        m = self.cold()
        there = os.path.join(self.folder, "out", self.top, "b")
        os.makedirs(os.path.dirname(there))
        with open(there, "w") as f:
            f.write("mine")
        r = self.cli(m, 1, "restore", "latest", "--to", "out", "--wait")
        self.assertIn("is there already", r.stderr)
        self.assertIn("--overwrite", r.stderr)
        self.assertEqual(self.asked(), [])
        self.cli(m, 0, "restore", "latest", "--to", "out", "--wait", "--overwrite")
        self.assertEqual(self.find("out"), self.want)

    def test_another_key_is_told_before_anything_is_asked(self):
        m = self.cold()
        self.cli(m, 0, "genkeys", "--bits", "2048", "other.pem", "other.pub")
        r = self.cli(m, 1, "restore", "latest", "--to", "out", "--key", "other.pem", "--wait")
        self.assertIn("other.pem does not open", r.stderr)
        self.assertEqual(self.asked(), [])
        self.assertIn("no restore of", self.cli(m, 0, "restore", "latest", "--cancel").stderr)

    def test_what_expired_before_it_was_fetched_is_not_paid_again_unasked(self):
        m = self.cold("delay=0")
        key = os.path.join(m.data, "keys", "private.pem")
        os.rename(key, key + ".away")
        p = self.begin(m, "restore", "latest", "--to", "out", "--wait")
        until(lambda: self.restores(m) == ["needs-key"], lambda: self.restores(m))
        self.it_expires(m)
        r = self.end(p, 1)
        self.assertIn("no private key is here", r.stderr)
        self.assertIn("since no private key was unlocked", r.stderr)
        self.assertEqual(len(self.asked()), 1)
        os.rename(key + ".away", key)
        self.cli(m, 0, "restore", "latest", "--to", "out", "--wait")
        self.assertEqual(self.find("out"), self.want)
        self.assertEqual(len(self.asked()), 2)

    def test_one_path_is_restored_alone(self):
        m = self.cold()
        self.cli(m, 0, "restore", "latest", self.path_of(m, "a/two"), "--to", "out", "--wait")
        self.assertEqual(self.find("out"), {"a/two": b"two"})

    def path_of(self, m, name):
        lines = self.cli(m, 0, "restore", "latest", "--dry-run").stdout.splitlines()
        return [line for line in lines if line.endswith("source/" + name)][0]

    def test_what_costs_too_much_is_refused_with_its_price(self):
        m = self.cold(config={"COST_LIMIT": 0.0000001})
        r = self.cli(m, 1, "restore", "latest", "--to", "out")
        self.assertIn("COST_LIMIT", r.stderr)
        self.assertIn("--max", r.stderr)
        self.assertEqual(self.asked(), [])
        self.cli(m, 0, "restore", "latest", "--to", "out", "--max", "1", "--wait")
        self.assertEqual(self.find("out"), self.want)

    def test_a_mount_goes_on_with_what_a_command_has_asked_for(self):
        m = self.cold("delay=%d" % HOURS)
        self.cli(m, 4, "restore", "latest", "--to", os.path.join(self.folder, "out"))
        self.store.thawed()
        m.start()
        until(lambda: self.find("out") == self.want, lambda: m.read(".status"))
        self.assertEqual(len(self.asked()), 1)
        until(lambda: m.state() == "stored", "a folder's restore is over when it is there")

    def test_a_restore_is_cancelled_without_a_mount(self):
        m = self.cold("delay=%d" % HOURS)
        self.cli(m, 4, "restore", "latest", "--to", "out")
        self.assertIn("restoring", self.cli(m, 0, "list").stdout)
        self.assertIn("cancelled 1 restore of", self.cli(m, 0, "restore", "latest", "--cancel").stderr)
        self.assertNotIn("restoring", self.cli(m, 0, "list").stdout)
        self.assertEqual(self.find("out"), {})

    def test_a_command_that_is_killed_leaves_nothing_half(self):
        m = self.cold("delay=0.2")
        for point in ("thaw-asked", "restore-fetched"):
            self.cli(m, -9, "restore", "latest", "--to", "out", "--wait", AUTOGLACIER_CRASH_AT=point)
        self.cli(m, 0, "restore", "latest", "--to", "out", "--wait")
        self.assertEqual(self.find("out"), self.want)
        self.assertEqual(len(self.asked()), 1)

    def test_cost_tells_storage_requests_and_early_deletion(self):
        m = self.cold()
        r = self.cli(m, 0, "cost")
        self.assertIn("DEEP_ARCHIVE", r.stdout)
        self.assertIn("list prices of", r.stdout)
        c = json.loads(self.cli(m, 0, "cost", "latest", "--json").stdout)
        one, = c["archives"]
        self.assertEqual((one["class"], one["objects"], one["known"]), ("DEEP_ARCHIVE", 1, True))
        month = (one["bytes"] + 40960) / 1e9 * 0.00099
        self.assertAlmostEqual(one["month"]["usd"], month, 6)
        self.assertAlmostEqual(one["delete_now"]["usd"], 6 * month, 5)
        self.assertEqual(sorted(one["restore_all"]), ["bulk", "standard"])
        self.assertEqual(one["restore_all"]["bulk"]["seconds"], [43200, 172800])

    def test_a_table_of_prices_beside_the_configuration_counts(self):
        m = self.cold()
        path = os.path.join(m.home, "prices.json")
        with open(path, "w") as f:
            json.dump({"date": "2031-05-05", "source": "our contract", "egress_gb": 0,
                       "classes": {"DEEP_ARCHIVE": {"storage_gb_month": 1000}}}, f)
        r = self.cli(m, 0, "cost")
        self.assertIn("2031-05-05 (our contract)", r.stdout)
        with open(path, "w") as f:
            f.write('{"date": "2031-05-05", "egress_gb": 0, "classes": {"DEEP_ARCHIVE": {"storage_gb_month": "much"}}}')
        self.assertIn("prices.json", self.cli(m, 1, "cost").stderr)


if __name__ == "__main__":
    main()
