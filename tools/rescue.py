#!/usr/bin/python3
"""Opens autoglacier archives without autoglacier.

    rescue.py --key private.pem [--passphrase-file FILE] [-o OUT] FILE...

Takes all volumes of one archive (…-0001.tar.xz.esdk, …-0002.tar.xz.esdk and so on) in order and
writes the one compressed tar file that they hold. Needs Python 3.7 and python3-cryptography, no
network, no configuration. The format is described in doc/FORMAT.md.

Every piece of 1 MiB is authenticated before it is written. The result grows as OUT.partial and gets
its name when the last byte was good; an existing OUT is never overwritten.
"""
import argparse
import getpass
import hmac
import os
import re
import struct
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FRAME = 1048544  # plaintext bytes in every frame but the final one
HEADER_MAX = 128 * 1024
RECIPIENTS_MAX = 64


class Refused(Exception):
    """Says why something was not done."""


# ---- the private key


def read_passphrase(path, key_path, attempt):
    if path:
        if attempt > 0:
            raise Refused(f"the passphrase in {path} does not open {key_path}")
        with open(path, "rb") as f:
            return f.read().rstrip(b"\r\n")
    return getpass.getpass(f"Passphrase of {key_path}: ").encode()


def load_key(path, passphrase_path):
    with open(path, "rb") as f:
        pem = f.read()
    key, passphrase = None, None
    for attempt in range(4):
        try:
            key = serialization.load_pem_private_key(pem, passphrase)
            break
        except TypeError:  # it is encrypted
            pass
        except ValueError as e:
            if passphrase is None:
                raise Refused(f"{path} is not a private key in PEM form") from e
            print("That is not the passphrase.", file=sys.stderr)
        if attempt == 3:
            raise Refused(f"the passphrase of {path} is wrong")
        passphrase = read_passphrase(passphrase_path, path, attempt)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Refused(f"{path} is not an RSA key")
    return key


def fingerprint(key):
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return digest.finalize().hex()


# ---- the header


class Header:
    """Reads the header field by field; `body` keeps what was read, for the tag over it."""

    def __init__(self, file):
        self.file = file
        self.body = b""

    def take(self, n):
        data = self.file.read(n)
        self.body += data
        if len(data) < n:
            raise Refused("the header is cut off")
        if len(self.body) > HEADER_MAX - 16:
            raise Refused("the header is larger than 128 KiB")
        return data

    def u16(self):
        return struct.unpack(">H", self.take(2))[0]

    def field(self):
        return self.take(self.u16())


def parse_context(aad):
    """Pairs of the encryption context, which must stand in ascending order."""
    if not aad:
        return {}
    pairs, at, last = {}, 2, b""
    try:
        for _ in range(struct.unpack_from(">H", aad)[0]):
            texts = []
            for _ in range(2):
                (n,) = struct.unpack_from(">H", aad, at)
                if at + 2 + n > len(aad):
                    raise ValueError
                texts.append(aad[at + 2 : at + 2 + n])
                at += 2 + n
            if texts[0] <= last or b"\0" in texts[0] + texts[1]:
                raise ValueError
            last = texts[0]
            pairs[texts[0].decode()] = texts[1].decode()
    except (struct.error, ValueError) as e:
        raise Refused("the header's encryption context is broken") from e
    if at != len(aad) or not pairs:
        raise Refused("the header's encryption context has a wrong length")
    return pairs


def unwrap(key, wrapped):
    mine = fingerprint(key)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    for name, data in wrapped:
        if name == mine:
            try:
                data_key = key.decrypt(data, oaep)
            except ValueError as e:
                raise Refused("the wrapped data key was altered or damaged") from e
            if len(data_key) != 32:
                raise Refused("the wrapped data key has a wrong length")
            return data_key
    names = ", ".join(name for name, _ in wrapped) or "another program"
    raise Refused(f"it is sealed for {names}; your key is {mine}")


def derive(data_key, message_id, info):
    return HKDF(hashes.SHA512(), 32, message_id, info).derive(data_key)


def read_header(file, key):
    """Returns the cipher, the message id and the encryption context, all authenticated."""
    h = Header(file)
    version, suite = struct.unpack(">BH", h.take(3))
    if version != 2 or suite != 0x0478:
        raise Refused("it is not a sealed archive of message version 2 and suite 0478")
    message_id = h.take(32)
    context = parse_context(h.field())
    count = h.u16()
    if not 1 <= count <= RECIPIENTS_MAX:
        raise Refused(f"its header has {count} wrapped keys; 1 to {RECIPIENTS_MAX} are possible")
    edks = [(h.field(), h.field(), h.field()) for _ in range(count)]
    content_type, frame = struct.unpack(">BI", h.take(5))
    if content_type != 2 or frame != FRAME:
        raise Refused(f"it has frames of {frame} bytes; only {FRAME} is read")
    commitment = h.take(32)
    tag = file.read(16)

    wrapped = [(n.decode("latin-1"), d) for p, n, d in edks if p == b"autoglacier"]
    data_key = unwrap(key, wrapped)
    if not hmac.compare_digest(derive(data_key, message_id, b"COMMITKEY"), commitment):
        raise Refused("the header's key commitment is wrong: it was altered or damaged")
    gcm = AESGCM(derive(data_key, message_id, b"\x04\x78DERIVEKEY"))
    try:
        gcm.decrypt(bytes(12), tag, h.body)
    except (InvalidTag, ValueError) as e:
        raise Refused("the header does not authenticate: it was altered or damaged") from e
    return gcm, message_id, context


# ---- the frames


def frames(file, gcm, message_id):
    """The plaintext of each frame, in order, once its tag was good; ends behind the final one."""
    number, final = 0, False
    while not final:
        number += 1
        start = file.read(4)
        final = start == b"\xff\xff\xff\xff"
        seen = file.read(4) if final else start
        iv = file.read(12)
        if seen != struct.pack(">I", number) or iv != bytes(8) + seen:
            raise Refused(f"there is no frame {number} where it should be")
        n = FRAME
        if final:
            length = file.read(4)
            n = struct.unpack(">I", length)[0] if len(length) == 4 else FRAME + 1
            if n > FRAME:
                raise Refused("the final frame has an impossible length")
        kind = b"AWSKMSEncryptionClient Final Frame" if final else b"AWSKMSEncryptionClient Frame"
        aad = message_id + kind + struct.pack(">IQ", number, n)
        data = file.read(n + 16)
        if len(data) != n + 16:
            raise Refused(f"frame {number} is cut off")
        try:
            yield gcm.decrypt(iv, data, aad)
        except InvalidTag as e:
            raise Refused(f"frame {number} was altered or damaged") from e
    if file.read(1):
        raise Refused("something was appended behind the final frame")


# ---- the files


def output_name(first):
    """ID-0001.tar.xz.esdk becomes ID.tar.xz, here."""
    name = os.path.basename(first)
    if name.endswith(".esdk"):
        name = re.sub(r"-[0-9]{4,}(?=\.)", "", name[: -len(".esdk")], count=1)
        return name
    return name + ".opened"


def check_order(context, number, archive):
    """Is this volume the one that comes next? Its header, which is authentic, says."""
    if context.get("autoglacier-archive") != archive:
        raise Refused("it belongs to another archive than the first file")
    volume = context.get("autoglacier-volume", str(number))
    if volume != str(number):
        raise Refused(f"it is volume {volume}, not {number}: name all volumes, in order")


def rescue_volumes(paths, key, out):
    archive = None
    for number, path in enumerate(paths, 1):
        try:
            with open(path, "rb") as file:
                gcm, message_id, context = read_header(file, key)
                archive = context.get("autoglacier-archive") if number == 1 else archive
                check_order(context, number, archive)
                for plain in frames(file, gcm, message_id):
                    out.write(plain)
        except Refused as e:
            raise Refused(f"{path}: {e}") from e
        print(f"{path}: good", file=sys.stderr)


def rescue(args):
    out_path = args.out or output_name(args.files[0])
    if os.path.lexists(out_path):
        raise Refused(f"{out_path} exists already; choose another name with -o")
    key = load_key(args.key, args.passphrase_file)
    partial = out_path + ".partial"
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with open(fd, "wb") as out:
            rescue_volumes(args.files, key, out)
            out.flush()
            os.fsync(out.fileno())
    except Refused as e:
        raise Refused(f"{e} (what was good before is in {partial})") from e
    os.rename(partial, out_path)
    print(f"wrote {out_path}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(
        description="Opens autoglacier archives without autoglacier: "
        "all volumes of one archive, in order, become one compressed tar file."
    )
    parser.add_argument("--key", required=True, help="the private key (PEM)")
    parser.add_argument("--passphrase-file", help="instead of asking for the key's passphrase")
    parser.add_argument("-o", "--out", help="the file to write; never overwritten")
    parser.add_argument("files", nargs="+", metavar="FILE", help="volumes (.esdk), in order")
    try:
        rescue(parser.parse_args())
    except (Refused, OSError) as e:
        print(f"rescue.py: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
