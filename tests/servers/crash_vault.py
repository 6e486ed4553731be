#!/usr/bin/python3
"""kill -9 on the way to a vault and back: stored once, asked for once, nothing left over."""
import json
import os
import sqlite3
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]

import emulated  # noqa: E402
from mount import MountCase, main, until  # noqa: E402

# Of the whole way only what differs for a vault; the rest is the same for every store.
SENDING = ["upload-begun", "part-sent", "vault-finished", "vault-finished:2"]
ASKING = ["vault-asked", "thaw-asked"]
HOURS = 4 * 3600


class Crash(MountCase):
    @classmethod
    def setUpClass(cls):
        cls.server = emulated.Emulated(job_seconds=HOURS)
        cls.addClassCleanup(cls.server.stop)

    def machine(self, vault):
        import botocore.session
        client = botocore.session.get_session().create_client(
            "glacier", "us-east-1", endpoint_url=self.server.url, aws_access_key_id=emulated.ACCESS_KEY,
            aws_secret_access_key=emulated.SECRET_KEY)
        client.create_vault(accountId="-", vaultName=vault)
        client.close()
        return self.data({"VAULT": "glacier://" + vault, "ENDPOINT_URL": self.server.url, "COMPRESSION": "none",
                          "AWS_ACCESS_KEY_ID": emulated.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": emulated.SECRET_KEY,
                          "COST_LIMIT": 1000}, name=vault)

    def documents(self, kind, vault):
        with sqlite3.connect(os.path.join(self.server.folder, "state.db")) as db:
            rows = db.execute("SELECT body FROM doc WHERE kind = ? AND parent = ?", (kind, vault)).fetchall()
        return [d for d in (json.loads(r[0]) for r in rows) if "deleted" not in d]

    def dies(self, m, fn):
        """The program dies of what fn does."""
        try:
            fn()
        except OSError:
            pass
        self.assertEqual(m.wait_end(), -9, "it was not killed: " + m.said())
        m.clean()
        m.start()

    def test_commit_killed_anywhere_is_stored_once(self):
        for point in SENDING:
            with self.subTest(point=point):
                vault = point.replace(":", "-")
                m = self.machine(vault)
                m.start(AUTOGLACIER_CRASH_AT=point)
                m.write("file", os.urandom(100000))
                self.dies(m, m.commit)
                m.wait("stored")
                until(lambda: m.leftovers() == [], m.leftovers)
                archives = [d["description"].split(" ")[0] for d in self.documents("archive", vault)]
                self.assertEqual(len(archives), len(set(archives)), archives)
                self.assertEqual(len([a for a in archives if ":manifests/" in a]), 1, archives)
                self.assertEqual(len(archives), len(m.info()["volumes"]) + 1, archives)
                until(lambda: self.documents("upload", vault) == [], lambda: self.documents("upload", vault))
                m.stop()

    def test_retrieval_killed_anywhere_is_asked_for_once(self):
        for point in ASKING:
            with self.subTest(point=point):
                m = self.machine("ask-" + point)
                content = os.urandom(1000000)
                m.start()
                m.write("file", content)
                name = m.commit("to be asked for")
                m.wait("stored")
                m.stop()
                m.start(AUTOGLACIER_CRASH_AT=point)

                def ask():
                    with open(m.path("archives", name, ".restore"), "w") as f:
                        f.write("standard all\n")
                self.dies(m, ask)
                until(lambda: len(self.documents("job", "ask-" + point)) > 0, lambda: m.read(".status"))
                self.server.advance(HOURS + 1)

                def read():
                    try:
                        with open(m.path("archives", name, "files", "file"), "rb") as f:
                            return f.read()
                    except OSError:
                        return None
                until(read, lambda: m.text("log", name) + m.read(".status"))
                self.assertEqual(read(), content)
                self.assertEqual(len(self.documents("job", "ask-" + point)), 1)
                m.stop()


if __name__ == "__main__":
    emulated.require()
    main()
