#!/usr/bin/python3
"""contract_vault.py TEST_STORE: the contract of stores on the emulator, as vaults, with small pages and with faults."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import emulated  # noqa: E402

# Bytes that change on the way are noticed by the vault, or by the tree hash of what comes back.
FAULTS = (
    {"op": "UploadMultipartPart", "kind": "corrupt", "p": 0.1},
    {"op": "GetJobOutput", "kind": "corrupt", "p": 0.1},
    {"kinds": ["503", "429"], "p": 0.03},  # a second of waiting each, or several
    {"kinds": ["500", "408", "timeout", "cut-before", "cut-in", "cut-after", "cut-answer"], "p": 0.12},
)


def run(program, server, name):
    env = server.environment()
    env["AWS_ENDPOINT_URL"] = server.url
    return subprocess.run([program, "glacier://" + name], env=env).returncode


def main(program):
    with emulated.Emulated(page=2) as server:
        plain = run(program, server, "plain")
        server.behave(*FAULTS)
        return plain or run(program, server, "faults")


if __name__ == "__main__":
    emulated.require()
    sys.exit(main(sys.argv[1]))
