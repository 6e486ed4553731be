#!/usr/bin/python3
"""contract_s3.py TEST_STORE: the contract of stores on the emulator, as a bucket, with small pages and with faults."""
import os
import subprocess
import sys

import botocore.session

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import emulated  # noqa: E402

BUCKET = "contract"
# A byte that changes on its way to the store is noticed by the store; one on the way back by who opens the seal.
FAULTS = (
    {"op": "UploadPart", "kind": "corrupt", "p": 0.1},
    {"kinds": ["500", "503", "429", "408", "timeout", "cut-before", "cut-in", "cut-after", "cut-answer"], "p": 0.15},
    {"op": "CompleteMultipartUpload", "kind": "inside", "p": 0.1},
)


def run(program, server, prefix, *more):
    env = server.environment()
    env["AWS_ENDPOINT_URL"] = server.url
    return subprocess.run([program, "s3://%s/%s" % (BUCKET, prefix), *more], env=env).returncode


def main(program):
    with emulated.Emulated(page=2) as server:
        s3 = botocore.session.Session().create_client(
            "s3", region_name="us-east-1", endpoint_url=server.url,
            aws_access_key_id=emulated.ACCESS_KEY, aws_secret_access_key=emulated.SECRET_KEY)
        s3.create_bucket(Bucket=BUCKET)
        plain = run(program, server, "plain")
        server.set(thaw_seconds=1)
        cold = run(program, server, "cold", "DEEP_ARCHIVE")
        server.behave(*FAULTS)
        return plain or cold or run(program, server, "faults")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
