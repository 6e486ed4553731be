#!/usr/bin/python3
"""Opens autoglacier archives without autoglacier.

    rescue.py --key private.pem [-o OUT] FILE...                    one compressed tar file of all
    rescue.py --key private.pem --list FILE...                      what is in the archive
    rescue.py --key private.pem --extract DIR [--only PATH] FILE... the files, or some of them

FILE... are the volumes of one archive (ID-0001.tar.xz.esdk, ID-0002.tar.xz.esdk and so on). For
--list and --extract they may stand in any order and some may be missing or damaged: what can be had
is extracted, the rest is named. There the archive's manifest (manifests/.../ID.jsonl.xz.esdk) may be
given as well; it is needed only if the last volume is lost.

Needs Python 3.7 and python3-cryptography, for archives compressed with zstd also the command zstd;
no network, no configuration. The format is described in doc/FORMAT.md.

Every piece of 1 MiB is authenticated before it is written. OUT grows as OUT.partial and gets its
name when the last byte was good; so do extracted files, once their SHA-512 is right. Nothing is ever
overwritten, and nothing is written outside DIR.
"""
import argparse
import base64
import bisect
import bz2
import fnmatch
import getpass
import grp
import hashlib
import hmac
import io
import json
import lzma
import os
import pwd
import re
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zlib

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


# ---- one volume, read anywhere


class Volume:
    """The decrypted file of a volume; read() gives bytes whose frames were found good."""

    def __init__(self, path, key):
        self.path = path
        self.file = open(path, "rb")
        self.gcm, self.message_id, self.context = read_header(self.file, key)
        self.number = int(self.context.get("autoglacier-volume", "1"))
        self.start = self.file.tell()
        body = os.fstat(self.file.fileno()).st_size - self.start - 40
        self.full, rest = divmod(max(body, 0), 1 << 20)
        self.size = self.full * FRAME + min(rest, FRAME)
        self.kept = (None, b"")

    def frame(self, index):
        if self.kept[0] == index:
            return self.kept[1]
        final = index == self.full
        n = self.size - index * FRAME if final else FRAME
        self.file.seek(self.start + (index << 20))
        number = struct.pack(">I", index + 1)
        head = (b"\xff\xff\xff\xff" if final else b"") + number + bytes(8) + number
        head += struct.pack(">I", n) if final else b""
        if self.file.read(len(head)) != head:
            raise Refused(f"{self.path}: there is no frame {index + 1} where it should be")
        kind = b"AWSKMSEncryptionClient Final Frame" if final else b"AWSKMSEncryptionClient Frame"
        aad = self.message_id + kind + number + struct.pack(">Q", n)
        try:
            plain = self.gcm.decrypt(bytes(8) + number, self.file.read(n + 16), aad)
        except (InvalidTag, ValueError) as e:
            raise Refused(f"{self.path}: frame {index + 1} was altered or damaged") from e
        self.kept = (index, plain)
        return plain

    def read(self, at, n):
        if at < 0 or n < 0 or at + n > self.size:
            raise Refused(f"{self.path}: it is too short: something was cut off")
        out = b""
        while n > 0:
            index, skip = divmod(at, FRAME)
            piece = self.frame(index)[skip : skip + n]
            out += piece
            at += len(piece)
            n -= len(piece)
        return out

    def pieces(self, at=0):
        """Everything from `at` on."""
        while at < self.size:
            n = min(FRAME - at % FRAME, self.size - at)
            yield self.read(at, n)
            at += n


# ---- compression

XZ_HEAD = b"\xfd7zXZ\0\0\1" + struct.pack("<I", zlib.crc32(b"\0\1"))
MAGICS = (("xz", b"\xfd7zXZ\0"), ("gz", b"\x1f\x8b\x08"), ("bz2", b"BZh"), ("zst", b"\x28\xb5\x2f\xfd"))


def kind_of(start):
    return next((kind for kind, magic in MAGICS if start.startswith(magic)), "tar")


def unzstd(data):
    try:
        r = subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE)
    except FileNotFoundError as e:
        raise Refused("the command zstd is needed for this archive") from e
    if r.returncode != 0:
        raise Refused("a block does not decompress")
    return r.stdout


def decode_block(kind, data):
    """One block, as doc/FORMAT.md describes them."""
    try:
        if kind == "xz":
            return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(XZ_HEAD + data)
        if kind == "gz":
            return zlib.decompress(data, 31)
        if kind == "bz2":
            return bz2.decompress(data)
    except (lzma.LZMAError, zlib.error, OSError, ValueError, EOFError) as e:
        raise Refused("a block does not decompress") from e
    return unzstd(data) if kind == "zst" else data


def new_decoder(kind):
    if kind == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ)
    return bz2.BZ2Decompressor() if kind == "bz2" else zlib.decompressobj(31)


def feed(process, pieces, trouble):
    try:
        for piece in pieces:
            process.stdin.write(piece)
    except Exception as e:  # told by the thread that reads
        trouble.append(e)
    finally:
        try:
            process.stdin.close()
        except OSError:
            pass


def unzstd_stream(pieces):
    trouble = []
    with subprocess.Popen(["zstd", "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        feeder = threading.Thread(target=feed, args=(process, pieces, trouble), daemon=True)
        feeder.start()
        piece = process.stdout.read(1 << 20)
        while piece:
            yield piece
            piece = process.stdout.read(1 << 20)
        feeder.join()
    if trouble:
        raise trouble[0]
    if process.returncode != 0:
        raise Refused("the zstd stream is broken")


def decode_stream(kind, pieces):
    """A whole file, or several joined, in pieces."""
    if kind == "tar":
        yield from pieces
    elif kind == "zst":
        yield from unzstd_stream(pieces)
    else:
        decoder = new_decoder(kind)
        for piece in pieces:
            while piece:
                if decoder.eof:
                    decoder = new_decoder(kind)
                yield decoder.decompress(piece)
                piece = decoder.unused_data


def xz_blocks(volume):
    """Place, length in the file and length when decoded of every block, from the file's Index."""
    footer = volume.read(volume.size - 12, 12)
    if footer[-2:] != b"YZ":
        raise Refused(f"{volume.path} does not end as an xz file")
    length = (struct.unpack_from("<I", footer, 4)[0] + 1) * 4
    index = volume.read(volume.size - 12 - length, length)
    if zlib.crc32(index[:-4]) != struct.unpack("<I", index[-4:])[0]:
        raise Refused(f"the index of {volume.path} is damaged")
    at, numbers = 1, []
    while len(numbers) < 1 or len(numbers) <= 2 * numbers[0]:
        value = shift = 0
        while True:
            value |= (index[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if index[at - 1] < 0x80:
                break
        numbers.append(value)
    place = 12
    for unpadded, plain in zip(numbers[1::2], numbers[2::2]):
        yield place, (unpadded + 3) // 4 * 4, plain
        place += (unpadded + 3) // 4 * 4


# ---- the manifest


def last_block(kind, volume):
    if kind == "xz":
        place, length, _ = list(xz_blocks(volume))[-1]
        return decode_block(kind, volume.read(place, length))
    end = volume.read(volume.size - min(volume.size, 4096), min(volume.size, 4096))
    magic = dict(MAGICS).get(kind, b"")
    at = len(end) if magic else len(end) - 1536 + 1
    while at > 0:
        at = end.rfind(magic, 0, at + len(magic) - 1) if magic else at - 1
        if at < 0:
            break
        try:
            block = decode_block(kind, end[at:])
        except Refused:
            continue
        if len(block) == 1536 and not any(block[512:]):
            return block
    raise Refused(f"the end of {volume.path} is not the end of an archive")


class TailManifest:
    """The copy inside the archive, found from the end of its last volume."""

    def __init__(self, kind, volumes):
        self.kind, self.volumes = kind, volumes
        try:
            self.at = json.loads(last_block(kind, volumes[max(volumes)])[:512].decode())
            self.size, self.skip = self.at["size"], self.at["offset"] - self.at["block_offset"]
        except (ValueError, KeyError, IndexError, struct.error) as e:
            raise Refused("the end of the last volume is not the end of an archive") from e

    def packed(self):
        number, place = self.at["volume"], self.at["plain_offset"]
        while number in self.volumes:
            yield from self.volumes[number].pieces(place)
            number, place = number + 1, 0

    def blocks(self):
        number, place = self.at["volume"], self.at["plain_offset"]
        while number in self.volumes:
            for start, length, _ in xz_blocks(self.volumes[number]):
                if start >= place:
                    yield decode_block("xz", self.volumes[number].read(start, length))
            number, place = number + 1, 0

    def text(self):
        skip, left = self.skip, self.size
        for piece in self.blocks() if self.kind == "xz" else decode_stream(self.kind, self.packed()):
            piece, skip = piece[skip:], max(0, skip - len(piece))
            yield piece[:left]
            left -= min(left, len(piece))
            if left == 0:
                return
        raise Refused("the manifest in the archive is cut off")


class FileManifest:
    """The manifest that the store has as an object of its own."""

    def __init__(self, volume):
        self.volume = volume

    def text(self):
        return decode_stream("xz", self.volume.pieces())


def lines_of(manifest):
    rest = b""
    for piece in manifest.text():
        lines = (rest + piece).split(b"\n")
        rest = lines.pop()
        for line in lines:
            if line.strip():
                yield json.loads(line.decode())


def exact(line, key):
    """A name, as bytes."""
    if key + "_base64" in line:
        return base64.b64decode(line[key + "_base64"])
    return line[key].encode()


# ---- the archive


class Archive:
    """The volumes that are there, and the table of blocks where a manifest is found."""

    def __init__(self, paths, key):
        self.volumes, self.manifest, self.total = {}, None, 0
        self.starts, self.blocks = [], []
        self.archive, self.kept, self.trouble = None, (None, b""), []
        files = []
        for path in paths:
            try:
                files.append(Volume(path, key))
            except (Refused, OSError) as e:
                self.trouble.append(f"{path}: {e}")
        for v in files:
            mine = v.context.get("autoglacier-archive")
            if self.archive not in (None, mine):
                raise Refused(f"{v.path}: it belongs to another archive than the first file")
            self.archive = mine
            if v.path.endswith(".jsonl.xz.esdk"):
                self.manifest = FileManifest(v)
            else:
                self.volumes[v.number] = v
        if not files:
            raise Refused("; ".join(self.trouble))
        self.kind = "tar"
        for number in sorted(self.volumes, reverse=True):
            self.kind = kind_of(self.volumes[number].read(0, min(6, self.volumes[number].size)))
        self.find_manifest()

    def find_manifest(self):
        try:
            if not self.manifest:
                self.manifest = TailManifest(self.kind, self.volumes)
            for line in lines_of(self.manifest):
                if line.get("version", 1) != 1:
                    raise Refused("its manifest is of a later version")
                if "block" in line:
                    self.starts.append(line["offset"])
                    self.blocks.append(line)
                if "object" in line or "block" in line:
                    self.total = max(self.total, line["volume"])
        except (Refused, ValueError, KeyError) as e:
            self.manifest = None
            self.trouble.append(f"there is no list of what is in it ({e})")

    def missing(self):
        last = max([self.total] + list(self.volumes))
        return [n for n in range(1, last + 1) if n not in self.volumes]

    def block(self, line):
        if self.kept[0] == line["block"]:
            return self.kept[1]
        volume = self.volumes.get(line["volume"])
        if not volume:
            raise Refused(f"volume {line['volume']} is missing")
        data = decode_block(self.kind, volume.read(line["plain_offset"], line["plain_length"]))
        if len(data) != line["length"]:
            raise Refused(f"{volume.path}: a block has a wrong length")
        self.kept = (line["block"], data)
        return data

    def tar(self, offset, length):
        """Bytes of the tar stream."""
        i = bisect.bisect_right(self.starts, offset) - 1
        while length > 0:
            if i < 0 or i >= len(self.blocks):
                raise Refused("the table of blocks has a gap")
            start = self.starts[i]
            piece = self.block(self.blocks[i])[offset - start : offset - start + length]
            if not piece:
                raise Refused("the table of blocks has a gap")
            yield piece
            offset, length, i = offset + len(piece), length - len(piece), i + 1


class Pieces(io.RawIOBase):
    """A file made of pieces."""

    def __init__(self, pieces):
        self.pieces, self.rest = iter(pieces), b""

    def readable(self):
        return True

    def read(self, n=-1):
        out = []
        while n != 0:
            if not self.rest:
                self.rest = next(self.pieces, b"")
                if not self.rest:
                    break
                continue
            take = self.rest if n < 0 else self.rest[:n]
            out.append(take)
            self.rest = self.rest[len(take) :]
            n = n if n < 0 else n - len(take)
        return b"".join(out)


# ---- writing files


def plain_path(name):
    parts = [p for p in name.split(b"/") if p not in (b"", b".")]
    if b".." in parts or not parts:
        raise Refused("its name leaves the folder")
    return parts


ACL_TAGS = {("user", False): 1, ("user", True): 2, ("group", False): 4, ("group", True): 8, ("mask", False): 16,
            ("other", False): 32}


def acl_value(text):
    """"user::rw-,user:lisa:r--:1000,…" as the kernel keeps it (linux/posix_acl_xattr.h): version 2, then tag, permissions
    and id of each entry, sorted."""
    entries = []
    for part in text.split(","):
        tag, name, rights, number = (part.strip().split(":") + ["", "", ""])[:4]
        who = -1
        if name:
            who = int(number or name) if (number or name).isdigit() else (
                pwd.getpwnam(name).pw_uid if tag == "user" else grp.getgrnam(name).gr_gid)
        bits = sum(bit for letter, bit in zip("rwx", (4, 2, 1)) if letter in rights)
        entries.append((ACL_TAGS[tag, bool(name)], bits, who & 0xffffffff))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in sorted(entries, key=lambda e: (e[0], e[2])))


class Target:
    """The folder that is extracted into. No link in it is followed, nothing in it replaced."""

    def __init__(self, folder):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.folder = os.fsencode(folder)
        self.later = []  # modes and times of folders

    def place(self, name):
        parts = plain_path(name)
        path = self.folder
        for part in parts[:-1]:
            path = os.path.join(path, part)
            if os.path.islink(path):
                raise Refused("a link stands in its way")
            if not os.path.isdir(path):
                os.mkdir(path, 0o700)
        path = os.path.join(path, parts[-1])
        if len(path) > 4000:
            raise Refused("its path is too long for this script")
        return path

    def attributes(self, path, m, mtime):
        follow = not m.issym()
        if os.geteuid() == 0:
            os.chown(path, m.uid, m.gid, follow_symlinks=follow)
        if follow:
            self.extended(path, m.pax_headers, "SCHILY.xattr.", "", lambda v: v.encode("utf-8", "surrogateescape"))
            os.chmod(path, m.mode & 0o7777)
            self.extended(path, m.pax_headers, "SCHILY.acl.", "system.posix_acl_", acl_value)
        os.utime(path, ns=(mtime, mtime), follow_symlinks=follow)

    @staticmethod
    def extended(path, headers, kind, to, convert):
        for key in (k for k in headers if k.startswith(kind)):
            try:
                os.setxattr(path, os.fsencode(to + key[len(kind):]), convert(headers[key]))
            except (OSError, ValueError, KeyError) as e:
                print(f"{show(path)}: {key[7:]} was not set: {getattr(e, 'strerror', None) or e}", file=sys.stderr)

    def file(self, path, m, content, digest):
        partial = os.path.join(os.path.dirname(path), b".rescue-%d.partial" % os.getpid())
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            seen, left = hashlib.sha512(), m.size
            with open(fd, "wb") as out:
                while left > 0:
                    piece = content.read(min(left, 1 << 20))
                    if not piece:
                        raise Refused("it is cut off")
                    seen.update(piece)
                    left -= len(piece)
                    if piece.count(0) == len(piece):
                        out.seek(len(piece), os.SEEK_CUR)  # a hole, or as good as one
                    else:
                        out.write(piece)
                out.truncate(m.size)
            if digest and seen.hexdigest() != digest:
                raise Refused("its content has not the SHA-512 that was recorded")
            os.rename(partial, path)
        except BaseException:
            os.unlink(partial)
            raise

    def member(self, name, m, content, digest=None, mtime=None):
        path = self.place(name)
        mtime = int(m.mtime * 1000000000) if mtime is None else mtime
        link = m.linkname.encode("utf-8", "surrogateescape")
        if m.isdir():
            if os.path.islink(path) or not os.path.isdir(path):
                os.mkdir(path, 0o700)
            self.later.append((path, m, mtime))
            return
        if os.path.lexists(path):
            raise Refused("it is there already")
        if m.islnk():
            if not os.path.lexists(self.place(link)):
                raise Refused(f"it is a hard link to {show(link)}, which has to be extracted with it")
            os.link(self.place(link), path, follow_symlinks=False)
            return
        if m.issym():
            os.symlink(link, path)
        elif m.isfile() or m.issparse():
            self.file(path, m, content, digest)
        else:
            raise Refused("it is a device or pipe")
        self.attributes(path, m, mtime)

    def finish(self):
        for path, m, mtime in reversed(self.later):
            self.attributes(path, m, mtime)


# ---- listing and extracting


def show(name):
    """A name for people: no control characters."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def is_wanted(name, only):
    text = name.decode("utf-8", "surrogateescape")
    return not only or any(
        text == o or text.startswith(o.rstrip("/") + "/") or fnmatch.fnmatchcase(text, o) for o in only
    )


def nanoseconds(text):
    sign = -1 if text.startswith("-") else 1
    seconds, _, fraction = text.lstrip("-").partition(".")
    return sign * (int(seconds) * 1000000000 + int((fraction + "0" * 9)[:9]))


def list_archive(archive, only):
    if not archive.manifest:
        raise Refused("; ".join(archive.trouble) + "; --extract finds what is there all the same")
    for line in lines_of(archive.manifest):
        if "path" in line and is_wanted(exact(line, "path"), only):
            when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(nanoseconds(line["mtime"]) // 1000000000))
            link = " -> " + show(exact(line, "link")) if "link" in line else ""
            print(f"{line['type']} {line['mode']} {line['size']:>12} {when} {show(exact(line, 'path'))}{link}")


NAMES = {"encoding": "utf-8", "errors": "surrogateescape"}


class Extraction:
    def __init__(self, archive, target, only):
        self.archive, self.target, self.only = archive, target, only
        self.done, self.lost, self.late = 0, 0, []

    def one(self, name, what):
        """Does `what` for a member; a failure is named and the rest goes on."""
        try:
            what()
            self.done += 1
        except (Refused, OSError, tarfile.TarError, ValueError) as e:
            why = e.strerror if isinstance(e, OSError) and e.strerror else e
            print(f"NOT EXTRACTED: {show(name)}: {why}", file=sys.stderr)
            self.lost += 1

    def listed(self, line, name):
        pieces = self.archive.tar(line["offset"], line["length"])
        with tarfile.open(fileobj=Pieces(pieces), mode="r|", **NAMES) as t:
            m = t.next()
            if not m:
                raise Refused("its tar member is broken")
            content = t.extractfile(m) if m.isfile() or m.issparse() else None
            self.target.member(name, m, content, line.get("sha512"), nanoseconds(line["mtime"]))

    def link_late(self, line, name):
        """A hard link whose content stands behind it: that changed while it was read, and came once more."""
        if line["type"] != "h" or os.path.lexists(self.target.place(exact(line, "link"))):
            return False
        self.late.append((name, lambda: self.listed(line, name)))
        return True

    def from_manifest(self):
        for line in lines_of(self.archive.manifest):
            if "path" in line:
                name = exact(line, "path")
                if is_wanted(name, self.only) and not self.link_late(line, name):
                    self.one(name, lambda line=line, name=name: self.listed(line, name))
        for name, what in self.late:
            self.one(name, what)

    def streamed(self, t, m):
        name = m.name.encode("utf-8", "surrogateescape")
        if not name.startswith(b".autoglacier/") and is_wanted(name, self.only):
            content = t.extractfile(m) if m.isfile() or m.issparse() else None
            self.one(name, lambda: self.target.member(name, m, content))

    def from_stream(self):
        """Without a list: every run of volumes from its first tar header on."""
        numbers = sorted(self.archive.volumes)
        while numbers:
            run = [numbers.pop(0)]
            while numbers and numbers[0] == run[-1] + 1:
                run.append(numbers.pop(0))
            stream = Pieces(
                p for n in run for p in decode_stream(self.archive.kind, self.archive.volumes[n].pieces())
            )
            head = find_header(stream)
            if not head:
                continue
            stream.rest = head + stream.rest
            try:
                with tarfile.open(fileobj=stream, mode="r|", **NAMES) as t:
                    for m in t:
                        self.streamed(t, m)
            except (tarfile.TarError, Refused, OSError, EOFError) as e:
                print(f"behind that, to the end of volume {run[-1]}, nothing can be read: {e}", file=sys.stderr)
                self.lost += 1


def find_header(stream):
    """The next 512 bytes that are a tar header: the beginning of a volume may be inside a member."""
    while True:
        block = stream.read(512)
        if len(block) < 512:
            return None
        if block[257:262] == b"ustar":
            try:
                tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
                return block
            except tarfile.HeaderError:
                pass


def extract(archive, folder, only):
    target = Target(folder)
    x = Extraction(archive, target, only)
    for why in archive.trouble:
        print(f"NOTE: {why}", file=sys.stderr)
    if archive.missing():
        print("MISSING: volume " + ", ".join(map(str, archive.missing())), file=sys.stderr)
    if archive.manifest:
        x.from_manifest()
    else:
        x.from_stream()
    target.finish()
    print(f"{x.done} extracted, {x.lost} not", file=sys.stderr)
    if x.done + x.lost == 0 and only:
        raise Refused("nothing in the archive is called " + " or ".join(only))
    return 1 if x.lost or archive.missing() or not archive.manifest else 0


def run(args):
    if args.list or args.extract:
        archive = Archive(args.files, load_key(args.key, args.passphrase_file))
        if args.extract:
            return extract(archive, args.extract, args.only)
        return list_archive(archive, args.only) or 0
    if args.only:
        raise Refused("--only goes with --list and --extract")
    rescue(args)
    return 0


def main():
    parser = argparse.ArgumentParser(
        description="Opens autoglacier archives without autoglacier: "
        "all volumes of one archive, in order, become one compressed tar file; or they are listed or extracted."
    )
    parser.add_argument("--key", required=True, help="the private key (PEM)")
    parser.add_argument("--passphrase-file", help="instead of asking for the key's passphrase")
    parser.add_argument("-o", "--out", help="the file to write; never overwritten")
    parser.add_argument("--list", action="store_true", help="only list what is in the archive")
    parser.add_argument("--extract", metavar="DIR", help="extract into this folder, as much as can be had")
    parser.add_argument("--only", action="append", metavar="PATH", help="only this file, folder or pattern")
    parser.add_argument("files", nargs="+", metavar="FILE", help="volumes (.esdk), in order; the manifest")
    try:
        return run(parser.parse_args())
    except (Refused, OSError) as e:
        print(f"rescue.py: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
