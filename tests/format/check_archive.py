#!/usr/bin/python3
"""Reads an archive as doc/FORMAT.md describes it and checks every claim of that page.

    check_archive.py --key PEM [--passphrase-file FILE] [--source FOLDER]
        --manifest OBJECT VOLUME...

Shares no code with the program: the sealed messages are opened by rescue.py's reader, everything
else is read here. FOLDER is what was archived, under its path without the first slash.
"""
import argparse
import base64
import bz2
import hashlib
import importlib.util
import io
import json
import lzma
import os
import re
import struct
import subprocess
import sys
import tarfile
import zlib

FRAME, MIB, BLOCK = 1048544, 1 << 20, 16 << 20
HERE = os.path.dirname(os.path.abspath(__file__))


def load_rescue():
    path = os.path.join(HERE, "../../tools/rescue.py")
    spec = importlib.util.spec_from_file_location("rescue", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rescue = load_rescue()


def check(ok, words):
    if not ok:
        raise SystemExit(f"FAILED: {words}")


# ---- the sealed message


class Object:
    """A sealed object: what is stored, and what is in it."""

    def __init__(self, path, key):
        self.path = path
        with open(path, "rb") as f:
            self.stored = f.read()
        f = io.BytesIO(self.stored)
        gcm, self.message_id, self.context = rescue.read_header(f, key)
        header = f.tell()
        self.plain = b"".join(rescue.frames(f, gcm, self.message_id))
        p = len(self.plain)
        full = -(-p // FRAME) - 1 if p else 0
        size = header + full * MIB + (p - full * FRAME) + 40
        check(size == len(self.stored), f"{path}: the size is not what the page computes")

    def tree_hash(self):
        leaves = range(0, len(self.stored), MIB)
        row = [hashlib.sha256(self.stored[i : i + MIB]).digest() for i in leaves]
        while len(row) > 1:
            pairs = [b"".join(row[i : i + 2]) for i in range(0, len(row), 2)]
            row = [hashlib.sha256(p).digest() if len(p) == 64 else p for p in pairs]
        return row[0].hex()


# ---- the compressed file: decode() is one block, whole() a file or several joined


def xz_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def xz_blocks(data):
    """(offset, length, size of the content) of each Block, from the Index. Checks the Stream."""
    check(data[:6] == b"\xfd7zXZ\0" and data[-2:] == b"YZ", "not a .xz file")
    check(data[6:8] == b"\0\1" == data[-4:-2], "the check of the .xz file is not CRC32")
    backward = (struct.unpack("<I", data[-8:-4])[0] + 1) * 4
    at = len(data) - 12 - backward
    check(data[at] == 0, "no Index where the Footer says")
    count, at = xz_varint(data, at + 1)
    blocks, offset = [], 12
    for _ in range(count):
        unpadded, at = xz_varint(data, at)
        size, at = xz_varint(data, at)
        length = (unpadded + 3) // 4 * 4
        # a Block Header: flags C0 (both sizes, one filter), the sizes, filter 21 (LZMA2)
        check(data[offset + 1] == 0xC0, "a Block without its sizes, or with several filters")
        packed, p = xz_varint(data, offset + 2)
        plain, p = xz_varint(data, p)
        check(plain == size and data[p] == 0x21, "a Block Header that differs from the Index")
        check(packed == unpadded - (data[offset] + 1) * 4 - 4, "a Block with a wrong size")
        blocks.append((offset, length, size))
        offset += length
    check(offset == len(data) - 12 - backward, "something between the Blocks and the Index")
    return blocks


def xz_decode(packed):
    head = (packed[0] + 1) * 4
    _, at = xz_varint(packed, 2)
    size, at = xz_varint(packed, at)
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 64 << 20}]
    d = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    plain = d.decompress(packed[head:])
    check(len(plain) == size, "a Block with another length than its header says")
    rest = len(d.unused_data) // 4 * 4  # without the padding: the check
    check(rest == 4 and packed[-4:] == struct.pack("<I", zlib.crc32(plain)), "a wrong CRC32")
    return plain


def gz_decode(packed):
    d = zlib.decompressobj(31)
    plain = d.decompress(packed) + d.flush()
    check(d.eof and not d.unused_data, "not one gzip member")
    check(packed[3] == 0 and packed[4:8] == bytes(4), "a gzip member with name or time")
    return plain


def bz2_decode(packed):
    d = bz2.BZ2Decompressor()
    plain = d.decompress(packed)
    check(d.eof and not d.unused_data, "not one bzip2 stream")
    return plain


def tool(*command):
    def run(data):
        r = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if r.returncode != 0:
            raise ValueError(r.stderr.decode())
        return r.stdout

    return run


def zst_decode(packed):
    check(packed[4] & 0x04 == 0, "a zstd frame with a checksum")
    check(packed[4] & 0xE0 != 0, "a zstd frame without its content size")
    return tool("zstd", "-dcq")(packed)


KINDS = {
    ".tar.xz": (None, xz_decode, tool("xz", "-dc")),
    ".tar.gz": (b"\x1f\x8b\x08", gz_decode, tool("gzip", "-dc")),
    ".tar.bz2": (b"BZh", bz2_decode, tool("bzip2", "-dc")),
    ".tar.zst": (b"\x28\xb5\x2f\xfd", zst_decode, tool("zstd", "-dcq")),
    ".tar": (None, lambda packed: packed, lambda packed: packed),
}


def kind_of(path):
    return re.search(r"-\d{4,}(\.tar(\.\w+)?)\.esdk$", path).group(1)


def last_block(kind, data):
    """The last 1,536 bytes of the tar, found from the end of the last volume."""
    magic, decode, _ = KINDS[kind]
    if kind == ".tar":
        return data[-1536:]
    if kind == ".tar.xz":
        offset, length, _ = xz_blocks(data)[-1]
        return decode(data[offset : offset + length])
    tail = data[-4096:]
    at = len(tail)
    while (at := tail.rfind(magic, 0, at)) >= 0:
        try:
            plain = decode(tail[at:])
        except (ValueError, OSError, zlib.error, EOFError, SystemExit):
            continue
        if len(plain) == 1536 and plain.endswith(bytes(1024)):
            return plain
    raise SystemExit("FAILED: the last block was not found")


# ---- the manifest


def lines_of(text):
    check(text.endswith(b"\n"), "the manifest does not end with a newline")
    check(all(len(line) <= MIB for line in text.split(b"\n")), "a line longer than 1 MiB")
    lines = [json.loads(line) for line in text.splitlines()]
    order = ["manifest", "path", "chain", "root", "unchanged", "missed", "block", "object", "event", "end"]
    kinds = [next(iter(line)) for line in lines]
    check(set(kinds) <= set(order), "a line of a kind that the page does not have")
    check(kinds == sorted(kinds, key=order.index), "the lines are not in the order of the page")
    check(kinds[0] == "manifest" and kinds.count("manifest") == 1, "line 1 is not the archive")
    check(kinds[-1] == "end" and kinds.count("end") == 1, "the last line is not the end")
    check(kinds.count("chain") <= 1, "two lines of what it was made from")
    check(lines[-1]["members"] == kinds.count("path"), "the end counts other members")
    check(lines[-1]["blocks"] == kinds.count("block"), "the end counts other blocks")
    by_kind = {name: [x for x, k in zip(lines, kinds) if k == name] for name in order}
    check(re.fullmatch(r"-?\d+\.\d{9}", lines[0]["created_unix"]), "a time is written otherwise")
    return by_kind


def bytes_of(line, key):
    exact = line.get(key + "_base64")
    if exact is None:
        return line[key].encode()
    raw = base64.b64decode(exact, validate=True)
    check(raw.decode("utf-8", "replace") == line[key] or "\ufffd" in line[key], "two names differ")
    return raw


def digest_of(file):
    digest = hashlib.sha512()
    while piece := file.read(MIB):
        digest.update(piece)
    return digest.hexdigest()


def seconds(t):
    """A pax time as the manifest writes it. Before 1970 the fraction counts up from the seconds."""
    whole, _, part = t.partition(".")
    ns = int(whole) * 10**9 + int(part.ljust(9, "0")[:9])
    return f"{'-' if ns < 0 else ''}{abs(ns) // 10**9}.{abs(ns) % 10**9:09d}"


def check_members(lines, tar):
    """Each line of a member against the tar that Python reads."""
    archive = tarfile.open(fileobj=io.BytesIO(tar), errors="surrogateescape", encoding="utf-8")
    seen = {os.fsencode(m.name): m for m in archive}  # the later one counts
    starts = sorted(m.offset for m in archive.getmembers()) + [len(tar) - 1024]
    manifest = archive.getmembers()[-1]
    check(manifest.name == ".autoglacier/manifest.jsonl", "the last member is not the manifest")
    del seen[b".autoglacier/manifest.jsonl"]
    check(len(seen) == len(lines), "the manifest has other members than the tar")
    check([x["offset"] for x in lines] == sorted(x["offset"] for x in lines), "not in tar's order")
    for line in lines:
        path = bytes_of(line, "path")
        m = seen.get(path)
        check(m is not None, f"{path!r} is not in the tar")
        kind = "d" if m.isdir() else "l" if m.issym() else "h" if m.islnk() else "f"
        check(kind == line["type"], f"{path!r} is of another type")
        check(m.offset == line["offset"], f"{path!r} has another offset")
        end = starts[starts.index(m.offset) + 1]
        check(end - m.offset == line["length"], f"{path!r} has another length")
        check(f"{m.mode:04o}" == line["mode"], f"{path!r} has another mode")
        check((m.uid, m.gid) == (line["uid"], line["gid"]), f"{path!r} has other owners")
        mtime = m.pax_headers.get("mtime", str(int(m.mtime)))
        check(seconds(mtime) == line["mtime"], f"{path!r} has another time")
        if kind == "f":
            check(m.size == line["size"], f"{path!r} has another size")
            check(digest_of(archive.extractfile(m)) == line["sha512"], f"{path!r}: SHA-512")
        if kind in "lh":
            check(os.fsencode(m.linkname) == bytes_of(line, "link"), f"{path!r}: other link")


def check_source(lines, folder):
    """The source is in the archive, all of it and as it is there."""
    above = b"/"
    want = {os.fsencode(folder)}
    for base, folders, files in os.walk(os.fsencode(folder)):
        want.update(os.path.join(base, name) for name in folders + files)
    have = {os.path.join(above, bytes_of(x, "path").rstrip(b"/")): x for x in lines}
    check(set(have) == want, f"missing or too much: {sorted(want ^ set(have))[:5]}")
    for path, line in have.items():
        if line["type"] == "f":
            with open(path, "rb") as f:
                check(digest_of(f) == line["sha512"], f"{path!r} differs from the source")
        if line["type"] == "l":
            check(os.readlink(path) == bytes_of(line, "link"), f"{path!r}: other link")


def check_blocks(blocks, volumes, kind, tar):
    """The block table finds every byte of the tar."""
    _, decode, _ = KINDS[kind]
    at = 0
    for i, b in enumerate(blocks):
        check(b["block"] == i and b["offset"] == at, f"block {i} is not where the one before ends")
        check(1 <= b["length"] <= BLOCK, f"block {i} has an impossible length")
        plain = volumes[b["volume"] - 1].plain
        packed = plain[b["plain_offset"] : b["plain_offset"] + b["plain_length"]]
        check(decode(packed) == tar[at : at + b["length"]], f"block {i} holds other bytes")
        at += b["length"]
    return at


def check_volumes(lines, volumes):
    check([x["volume"] for x in lines] == list(range(1, len(volumes) + 1)), "other volumes")
    at = 0
    for line, v in zip(lines, volumes):
        check(line["object"].endswith(os.path.basename(v.path)), f"{v.path} has another name")
        check(line["size"] == len(v.stored), f"{v.path} has another size")
        check(line["plain_size"] == len(v.plain), f"{v.path} has another size inside")
        check(line["tree_hash"] == v.tree_hash(), f"{v.path} has another tree hash")
        check(line["message_id"] == v.message_id.hex(), f"{v.path} has another message id")
        check(line["offset"] == at, f"{v.path} begins elsewhere in the tar")
        at += line["length"]
    return at


def check_locator(kind, volumes, tar):
    """From the end of the last volume to the manifest, without anything else."""
    end = last_block(kind, volumes[-1].plain)
    check(end == tar[-1536:], "the last block is not the end of the tar")
    check(end[511:512] == b"\n" and end[512:] == bytes(1024), "the end is not as it should be")
    where = json.loads(end[:512])
    check(where["manifest_locator"] == 1, "the locator is of another version")
    _, decode, whole = KINDS[kind]
    plain = volumes[where["volume"] - 1].plain
    start = where["plain_offset"]
    if kind == ".tar.xz":
        check(start in [offset for offset, _, _ in xz_blocks(plain)], "no Block at plain_offset")
        length = next(n for offset, n, _ in xz_blocks(plain) if offset == start)
        first = decode(plain[start : start + length])
    else:
        first = whole(plain[start:])
    skip = where["offset"] - where["block_offset"]
    text = tar[where["offset"] : where["offset"] + where["size"]]
    check(where["size"] % 512 == 0, "the manifest is not a multiple of 512 bytes long")
    there = first[skip : skip + len(text)]
    check(there != b"" and text.startswith(there), "the manifest is elsewhere")
    check(len(tar) - 1536 == where["offset"] + where["size"], "the locator is not behind it")
    return text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--key", required=True)
    parser.add_argument("--passphrase-file")
    parser.add_argument("--source", help="a folder; without it that is not compared")
    parser.add_argument("--manifest", required=True)
    parser.add_argument("volumes", nargs="+")
    args = parser.parse_args()
    key = rescue.load_key(args.key, args.passphrase_file)
    volumes = [Object(path, key) for path in args.volumes]
    ids = {v.context["autoglacier-archive"] for v in volumes}
    check(len(ids) == 1, "the volumes are of several archives")
    for i, v in enumerate(volumes, 1):
        check(v.context["autoglacier-volume"] == str(i), f"{v.path} is another volume")
    kind = kind_of(volumes[0].path)
    tar = KINDS[kind][2](b"".join(v.plain for v in volumes))

    inner = lines_of(check_locator(kind, volumes, tar))
    outer = lines_of(tool("xz", "-dc")(Object(args.manifest, key).plain))
    check(inner["manifest"][0]["id"] in ids, "the manifest is of another archive")
    check(inner["path"] == outer["path"], "the two manifests have other members")
    check(outer["block"][: len(inner["block"])] == inner["block"], "and other blocks")
    check_members(inner["path"], tar)
    if args.source:
        check_source(inner["path"], args.source)
    end = check_blocks(outer["block"], volumes, kind, tar)
    check(end == len(tar), "the blocks do not cover the tar")
    end = check_volumes(outer["object"], volumes)
    check(end == len(tar), "the volumes do not cover the tar")
    print(
        f"ok: {kind}: {len(volumes)} volumes, {len(outer['block'])} blocks, "
        f"{len(inner['path'])} members are as the page says"
    )


if __name__ == "__main__":
    sys.exit(main())
