#!/usr/bin/python3
"""Writes the seeds of fuzz_seal into corpus/seal: small messages under the data key b"k" * 32.

A seed is named by what it is, or by the rule that it breaks.
"""
import os
import struct
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FRAME = 1048544
ID = bytes(range(32))
NAME = b"0123456789abcdef" * 4


def derive(info):
    return HKDF(hashes.SHA512(), 32, ID, info).derive(b"k" * 32)


GCM = AESGCM(derive(b"\x04\x78DERIVEKEY"))


def field(b):
    return struct.pack(">H", len(b)) + b


def context(*pairs):
    if not pairs:
        return b""
    return struct.pack(">H", len(pairs)) + b"".join(field(k) + field(v) for k, v in pairs)


def edk(provider=b"autoglacier", name=NAME, wrapped=b"wrapped"):
    return field(provider) + field(name) + field(wrapped)


def header(start=b"\x02\x04\x78", aad=b"", edks=(edk(),), count=None, kind=2, frame=FRAME):
    body = start + ID + field(aad)
    body += struct.pack(">H", len(edks) if count is None else count) + b"".join(edks)
    body += struct.pack(">BI", kind, frame) + derive(b"COMMITKEY")
    return body + GCM.encrypt(bytes(12), b"", body)


def final(text, number=1, iv=None, aad_number=None):
    iv = bytes(8) + struct.pack(">I", number) if iv is None else iv
    aad = ID + b"AWSKMSEncryptionClient Final Frame"
    aad += struct.pack(">IQ", number if aad_number is None else aad_number, len(text))
    head = b"\xff\xff\xff\xff" + struct.pack(">I", number) + iv + struct.pack(">I", len(text))
    return head + GCM.encrypt(iv, text, aad)


def main(folder):
    two = context((b"autoglacier-archive", b"seed"), (b"autoglacier-volume", b"1"))
    hello = header() + final(b"hello")
    seeds = {
        "ok-empty": header() + final(b""),
        "ok-one-byte": header() + final(b"x"),
        "ok-context": header(aad=two) + final(b"hello, context"),
        "ok-two-recipients": header(edks=(edk(wrapped=b"not ours"), edk())) + final(b"hello"),
        "ok-other-provider": header(edks=(edk(b"aws-kms", b"arn", b"x" * 99), edk())) + final(b""),
        "ok-64-recipients": header(edks=(edk(),) * 64) + final(b"hello"),
        "fail-not-ours": header(edks=(edk(wrapped=b"not ours"),)) + final(b"hello"),
        "fail-version-1": header(start=b"\x01\x04\x78") + final(b"hello"),
        "fail-suite-0578": header(start=b"\x02\x05\x78") + final(b"hello"),
        "fail-not-framed": header(kind=1) + final(b"hello"),
        "fail-frame-length": header(frame=4096) + final(b"hello"),
        "fail-no-recipient": header(edks=()) + final(b"hello"),
        "fail-65-recipients": header(edks=(edk(),) * 65) + final(b"hello"),
        "fail-recipients-missing": header(count=9) + final(b"hello"),
        "fail-name": header(edks=(edk(name=b"me"),)) + final(b"hello"),
        "fail-context-unsorted": header(aad=context((b"b", b""), (b"a", b""))) + final(b""),
        "fail-context-count": header(aad=b"\xff\xff\0\1a\0\1b") + final(b""),
        "fail-header-cut": header()[:-1],
        "fail-no-frame": header(),
        "fail-frame-cut": hello[:-1],
        "fail-appended": hello + b"x",
        "fail-twice": hello + hello,
        "fail-second-frame-first": header() + final(b"hello", number=2),
        "fail-iv": header() + final(b"hello", iv=bytes(12)),
        "fail-tag": hello[:-1] + bytes([hello[-1] ^ 1]),
        "fail-empty-file": b"",
    }
    os.makedirs(folder, exist_ok=True)
    for name, data in seeds.items():
        with open(os.path.join(folder, "seal-" + name), "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main(sys.argv[1])
