"""Starts and steers the emulator, for tests written in Python and for with_emulator.

    with Emulated() as server:                  # a fresh folder, removed at the end
        server.behave({"op": "UploadPart", "kind": "503", "count": 2})
        subprocess.run(..., env=server.environment())
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

import ports  # noqa: E402
from emulator_settings import DEFAULTS  # noqa: E402, F401

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
WAIT = 120  # seconds; a loaded machine may be slow


def require():
    """The whole program is skipped where the emulator cannot run."""
    if subprocess.run(["/usr/bin/python3", "-c", "import botocore"], stderr=subprocess.DEVNULL).returncode != 0:
        print("SKIP: python3-botocore, which judges what the emulator is asked")
        sys.exit(77)


class Emulated:
    def __init__(self, folder=None, tls=False, **settings):
        self.own = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="autoglacier-emulator-")
        self.tls, self.process, self.url = tls, None, None
        self.reserved = ports.Reserved()  # also while it is killed, which tests do
        self.start()
        if settings:
            self.set(**settings)

    def start(self):
        """Starts it, on the same port each time; returns when it serves."""
        place = os.path.join(self.folder, "url")
        if os.path.exists(place):
            os.unlink(place)
        command = ["/usr/bin/python3", os.path.join(HERE, "emulator.py"), self.folder, "--port", str(self.reserved.number)]
        if self.tls:
            command.append("--tls")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        end = time.monotonic() + WAIT
        while not os.path.exists(place):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the emulator did not start")
            time.sleep(0.02)
        with open(place) as f:
            self.url = f.read().strip()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(WAIT)
        self.reserved.close()
        if self.own:
            shutil.rmtree(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def environment(self):
        """The environment of a program that is to use it, and nothing else of Amazon's."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        kept.update(AWS_ACCESS_KEY_ID=ACCESS_KEY, AWS_SECRET_ACCESS_KEY=SECRET_KEY,
                    AWS_DEFAULT_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true",
                    AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null",
                    AUTOGLACIER_TEST_ENDPOINT=self.url, AUTOGLACIER_TEST_EMULATOR=self.folder)
        if self.tls:
            kept["AWS_CA_BUNDLE"] = os.path.join(self.folder, "ca.pem")
        return kept

    def control(self, what, value):
        request = urllib.request.Request(f"{self.url}/_emulator/{what}", json.dumps(value).encode())
        with urllib.request.urlopen(request, timeout=WAIT) as answer:
            return json.load(answer)

    def behave(self, *rules):
        """Faults from now on; without any, none."""
        self.control("behaviour", rules)

    def set(self, **settings):
        self.control("settings", settings)

    def advance(self, seconds):
        """Puts the clock of thawing, inventories and expiry forward; None: back to the true time."""
        self.control("advance", seconds)

    def requests(self, operation=None):
        """What was asked so far, oldest first."""
        with open(os.path.join(self.folder, "requests.jsonl")) as f:
            entries = [json.loads(line) for line in f if line.endswith("\n")]
        return [e for e in entries if operation in (None, e.get("operation"))]

    def sent_again(self, operation, kills=(), since=0):
        """Parts that came whole once more although their sender could know of them: [(first time, second time), ...].

        A program that was killed, at one of the times `kills`, knows what it asks for with ListParts, and no more: what it
        had sent may be answered after that.
        """
        came, asked, again = {}, {}, []
        for e in self.requests()[since:]:
            if e.get("operation") == "ListParts":
                asked[e["path"].partition("?")[0]] = e["time"]
            if e.get("operation") != operation or e.get("status") not in (200, 204) or e.get("fault"):
                continue
            part = e["path"], e.get("range")
            first, came[part] = came.get(part), e
            if first and not (any(k <= e["time"] for k in kills) and
                              asked.get(e["path"].partition("?")[0], 0) <= first["ended"]):
                again.append((first, e))
        return again
