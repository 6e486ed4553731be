#!/usr/bin/python3
"""kill -9 at every named point and at random moments: each commit ends stored, nothing is lost, nothing is left over."""
import errno
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from crash import CONFIG, CrashCase  # noqa: E402
from mount import MountCase, TOP, crash_points, main, until  # noqa: E402

POINTS = ["freeze-json", "commit-row", "commit-exchanged", "freeze-exchanged", "gathering", "volume-begin", "part", "part:3",
          "store-synced", "volume-written", "volume-confirmed", "volume-done", "volume-begin:2", "walked", "volume-written:2",
          "volume-confirmed:2", "volume-done:2", "packed", "manifest-stored", "stored", "back-moved", "given-back", "tree-released"]
# powercut.py dies at every point every time, and loses more.
FEW = ["commit-exchanged", "part:3", "volume-done", "walked", "back-moved"]
ABORT = ["abort-forgotten", "back-moved", "abort-given-back"]
LONG = bool(os.environ.get("AUTOGLACIER_LONG"))


class Points(CrashCase):
    def test_a_commit_killed_at_any_point_ends_stored(self):
        for point in POINTS if LONG else FEW:
            with self.subTest(point=point):
                m = self.data(CONFIG, name=point)
                m.start(AUTOGLACIER_CRASH_AT=point)
                self.stage(m)
                self.commit_and_die(m)
                m.start()
                self.finish(m)
                self.assertEqual(m.stop(), 0)

    def test_a_killed_abort_is_taken_up(self):
        for point in ABORT:
            with self.subTest(point=point):
                store = os.path.join(self.folder, "store-" + point)
                os.mkdir(store)
                m = self.data(dict(CONFIG, VAULT="dir:" + store), name="abort-" + point)
                m.start()
                os.rename(store, store + ".away")
                self.stage(m)
                name = m.commit()
                m.wait("waiting")
                self.assertEqual(m.stop(), 0)
                m.start(AUTOGLACIER_CRASH_AT=point)
                try:
                    fd = os.open(m.path("archives", name, ".abort"), os.O_WRONLY)
                    os.write(fd, b"yes")
                    os.close(fd)
                except OSError:
                    pass
                self.assertEqual(m.wait_end(), -9, "it was not killed")
                os.rename(store + ".away", store)
                m.start()
                until(lambda: os.path.exists(m.path("source")) and not m.archives(), lambda: os.listdir(m.point))
                self.finish(m)

    def test_the_list_names_every_point(self):
        said = ""
        for path, _, files in os.walk(os.path.join(TOP, "tests")):
            for name in files:
                if name.endswith((".py", ".c")):
                    with open(os.path.join(path, name)) as f:
                        said += f.read()
        with open(os.path.join(TOP, "doc", "DESIGN.md")) as f:
            design = f.read()
        for point in crash_points():
            if point.startswith("vault-"):
                continue  # on the way of a vault, whose tests have an emulator
            with self.subTest(point=point):
                self.assertRegex(said, r'["\' :(]%s["\' :),]' % point, "no test dies there")
                self.assertIn(point, design)


class Moments(MountCase):
    """kill -9 whenever it comes: while writing, committing, packing, between."""

    def stage(self, m, k, rng):
        """A batch of files, each with its own content; what of it was acknowledged."""
        done = {}
        for f in range(rng.randrange(1, 30)):
            name, content = "b%d/f%d" % (k, f), b"%d-%d " % (k, f) * rng.choice((1, 100, 20000))
            m.write(name, content)
            done[name] = content
        return done

    def test_at_random_moments_nothing_is_lost_or_doubled(self):
        rng = random.Random(20261127)
        m = self.data({"COMPRESSION": rng.choice(("gzip", "zstd"))})
        wanted, kills, k = {}, 200 if LONG else 20, 0
        for k in range(kills):
            m.start()
            wait = rng.random() ** 2 * 0.5
            killed = time.monotonic() + wait
            try:
                wanted.update(self.stage(m, k, rng))
                m.commit("batch %d" % k)
            except OSError as e:
                self.assertIn(errno.errorcode[e.errno], ("EBUSY",))
            time.sleep(max(0, killed - time.monotonic()))
            m.kill()
        m.start()
        for a in m.archives():
            m.wait("stored", a)
        found = {}
        for where in [m.restore(a) for a in m.archives()] + [m.point]:
            for d in os.listdir(where):
                if not d.startswith("b"):
                    continue
                for f in os.listdir(os.path.join(where, d)):
                    name = d + "/" + f
                    self.assertNotIn(name, found, "twice")
                    with open(os.path.join(where, d, f), "rb") as content:
                        found[name] = content.read()
        self.assertEqual(sorted(found), sorted(wanted))
        self.assertEqual([n for n in wanted if found[n] != wanted[n]], [])
        until(lambda: not [p for p in m.leftovers() if "/current/" not in p], lambda: m.leftovers())


if __name__ == "__main__":
    main()
