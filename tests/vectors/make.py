#!/usr/bin/python3
"""Prints seal.txt: what python3-cryptography computes for the steps of the sealed format.

It shares no code with the program, so the two keep each other honest. The values are fixed: running
it again prints the same file. Lines (bytes in hex, "-" for none):

    kdf DATA_KEY MESSAGE_ID KEY COMMITMENT
    header KEY BODY TAG
    frame KEY MESSAGE_ID NUMBER regular|final LENGTH WIRE_SHA256

The plaintext of a frame is byte(i) = (7 i + i / 256) mod 256.
"""
import hashlib
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FRAME = 1048544


def fixed(name, n):
    return hashlib.shake_256(b"autoglacier test vector " + name.encode()).digest(n)


def derive(data_key, message_id, info):
    return HKDF(hashes.SHA512(), 32, message_id, info).derive(data_key)


def plaintext(n):
    return bytes((7 * i + i // 256) % 256 for i in range(n))


def frame(key, message_id, number, final, n):
    kind = b"AWSKMSEncryptionClient Final Frame" if final else b"AWSKMSEncryptionClient Frame"
    aad = message_id + kind + struct.pack(">IQ", number, n)
    iv = bytes(8) + struct.pack(">I", number)
    head = b"\xff\xff\xff\xff" if final else b""
    head += struct.pack(">I", number) + iv
    head += struct.pack(">I", n) if final else b""
    return head + AESGCM(key).encrypt(iv, plaintext(n), aad)


def main():
    for name in ("one", "two", "three"):
        data_key, message_id = fixed(name + " key", 32), fixed(name + " id", 32)
        key = derive(data_key, message_id, b"\x04\x78DERIVEKEY")
        commitment = derive(data_key, message_id, b"COMMITKEY")
        print("kdf", data_key.hex(), message_id.hex(), key.hex(), commitment.hex())
    key, message_id = fixed("frame key", 32), fixed("frame id", 32)
    for n in (1, 16, 100, 700):
        body = fixed("header", n)
        print("header", key.hex(), body.hex(), AESGCM(key).encrypt(bytes(12), b"", body).hex())
    cases = [(1, False, FRAME), (2, False, FRAME), (0xFFFFFFFE, False, FRAME)]
    cases += [(n + 1, True, n) for n in (0, 1, 15, 16, 17, 1000, FRAME - 1, FRAME)]
    cases += [(0xFFFFFFFE, True, 5)]
    for number, final, n in cases:
        digest = hashlib.sha256(frame(key, message_id, number, final, n)).hexdigest()
        kind = "final" if final else "regular"
        print("frame", key.hex(), message_id.hex(), number, kind, n, digest)


if __name__ == "__main__":
    main()
