"""What the emulator knows, on disk: it survives being killed and started again.

Documents (JSON) in SQLite under (kind, parent, name), bytes in files of a folder beside it. The
clock can be put forward, so that a test needs not wait for hours of thawing.
"""
import json
import os
import secrets
import sqlite3
import threading
import time

from emulator_settings import DEFAULTS


class State:
    def __init__(self, folder):
        self.folder = folder
        self.lock = threading.RLock()
        os.makedirs(os.path.join(folder, "data"), exist_ok=True)
        self.db = sqlite3.connect(os.path.join(folder, "state.db"), check_same_thread=False,
                                  isolation_level=None)
        # A killed process loses nothing with either; the machine's own crash is not tested here.
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=OFF")
        self.db.execute("CREATE TABLE IF NOT EXISTS doc(kind TEXT, parent TEXT, name TEXT, body TEXT,"
                        " PRIMARY KEY(kind, parent, name)) WITHOUT ROWID")
        self.settings = dict(DEFAULTS, **(self.get("settings", "", "") or {}))

    # -- documents --

    def get(self, kind, parent, name):
        with self.lock:
            row = self.db.execute("SELECT body FROM doc WHERE kind=? AND parent=? AND name=?",
                                  (kind, parent, name)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, kind, parent, name, body):
        with self.lock:
            self.db.execute("INSERT OR REPLACE INTO doc VALUES(?, ?, ?, ?)",
                            (kind, parent, name, json.dumps(body)))

    def delete(self, kind, parent, name):
        with self.lock:
            self.db.execute("DELETE FROM doc WHERE kind=? AND parent=? AND name=?", (kind, parent, name))

    def scan(self, kind, parent, after="", limit=-1):
        """(name, body) in order of the names' bytes, those behind `after`."""
        with self.lock:
            rows = self.db.execute(
                "SELECT name, body FROM doc WHERE kind=? AND parent=? AND name>? ORDER BY name LIMIT ?",
                (kind, parent, after, limit)).fetchall()
        return [(name, json.loads(body)) for name, body in rows]

    # -- bytes --

    def save(self, data):
        """Keeps bytes; returns a piece: its file's name and its size."""
        name = secrets.token_hex(12)
        with open(os.path.join(self.folder, "data", name), "wb") as f:
            f.write(data)
        return {"file": name, "size": len(data)}

    def drop(self, pieces):
        for piece in pieces:
            try:
                os.unlink(os.path.join(self.folder, "data", piece["file"]))
            except FileNotFoundError:
                pass

    def copy(self, pieces):
        made = []
        for piece in pieces:
            name = secrets.token_hex(12)
            os.link(os.path.join(self.folder, "data", piece["file"]),
                    os.path.join(self.folder, "data", name))
            made.append({"file": name, "size": piece["size"]})
        return made

    def read(self, pieces, offset=0, length=None, chunk=1 << 20):
        """Yields the bytes of pieces that stand one behind the other."""
        if length is None:
            length = sum(p["size"] for p in pieces) - offset
        for piece in pieces:
            if offset >= piece["size"]:
                offset -= piece["size"]
                continue
            with open(os.path.join(self.folder, "data", piece["file"]), "rb") as f:
                f.seek(offset)
                offset = 0
                while length > 0 and (data := f.read(min(chunk, length))):
                    length -= len(data)
                    yield data

    # -- settings and clock --

    def now(self):
        return time.time() + self.settings.get("advanced", 0)

    def change(self, **changes):
        unknown = set(changes) - set(DEFAULTS)
        if unknown:
            raise KeyError(", ".join(sorted(unknown)))
        with self.lock:
            self.settings.update(changes)
            self.put("settings", "", "", self.settings)

    def advance(self, seconds):
        """None: back to the true time."""
        with self.lock:
            ahead = self.settings.get("advanced", 0)
            self.settings["advanced"] = 0 if seconds is None else ahead + seconds
            self.put("settings", "", "", self.settings)
