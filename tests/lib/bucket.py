"""A bucket for a test: on whatever server with_rgw or with_emulator runs beside it.

    config = bucket.config(prefix="mine")        # a configuration that stores there
    bucket.client().list_objects_v2(...)         # what botocore sees
"""
import atexit
import functools
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import mount  # noqa: E402


def endpoint():
    return os.environ.get("AUTOGLACIER_TEST_ENDPOINT")


def require():
    if not endpoint():
        mount.skip_all("a server: run it under tests/servers/with_rgw or with_emulator")


def is_emulator():
    return "AUTOGLACIER_TEST_EMULATOR" in os.environ


@functools.lru_cache(maxsize=None)
def client(access=None, secret=None):
    import botocore.session
    made = botocore.session.Session().create_client(
        "s3", region_name="us-east-1", endpoint_url=endpoint(), verify=os.environ.get("AWS_CA_BUNDLE"),
        aws_access_key_id=access or os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret or os.environ["AWS_SECRET_ACCESS_KEY"])
    atexit.register(made.close)
    return made


def name():
    bucket = os.environ.get("AUTOGLACIER_TEST_BUCKET")
    if not bucket:
        bucket = os.environ["AUTOGLACIER_TEST_BUCKET"] = "autoglacier-test"
        client().create_bucket(Bucket=bucket)
    return bucket


def storage_class():
    return os.environ.get("AUTOGLACIER_TEST_CLASS", "DEEP_ARCHIVE")


def config(prefix, **more):
    c = {"VAULT": "s3://%s/%s" % (name(), prefix), "ENDPOINT_URL": endpoint(), "REGION_NAME": "us-east-1",
         "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"], "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
         "STORAGE_CLASS": storage_class(), "COMPRESSION": "zstd", "COST_LIMIT": 1000}
    c.update(more)
    return c


def objects(prefix):
    pages = client().get_paginator("list_objects_v2").paginate(Bucket=name(), Prefix=prefix)
    return {o["Key"]: o for page in pages for o in page.get("Contents", [])}


def uploads(prefix):
    pages = client().get_paginator("list_multipart_uploads").paginate(Bucket=name(), Prefix=prefix)
    return [u for page in pages for u in page.get("Uploads", [])]
