#!/usr/bin/python3
"""Writes the seeds of fuzz_untar into corpus/untar: small tars.

A seed is named by what it is, or by the rule that it breaks.
"""
import io
import os
import sys
import tarfile

TYPES = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE,
         "char": tarfile.CHRTYPE, "block": tarfile.BLKTYPE, "pipe": tarfile.FIFOTYPE}


def tar(*members, form=tarfile.PAX_FORMAT, end=True):
    """Members are (kind, name, content or target[, pax headers])."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as t:
        for kind, name, what, *pax in members:
            m = tarfile.TarInfo(name)
            m.type = TYPES[kind]
            m.mode = 0o755 if kind == "dir" else 0o644
            m.uid, m.gid, m.mtime = os.geteuid(), os.getegid(), 1000000000.25
            m.pax_headers = pax[0] if pax else {}
            if kind == "file":
                m.size = len(what)
            else:
                m.linkname = what
            t.addfile(m, io.BytesIO(what) if kind == "file" else None)
    data = out.getvalue().rstrip(b"\0")
    data += bytes(-len(data) % 512)
    return data + (bytes(1024) if end else b"")


def pax(**kw):
    return {k.replace("__", "."): v for k, v in kw.items()}


SPARSE = pax(GNU__sparse__major="1", GNU__sparse__minor="0", GNU__sparse__name="holes")
A = ("file", "a", b"content")
WHOLE = tar(("dir", "d", ""), ("file", "d/f", b"hello"), ("link", "d/l", "f"), ("hard", "d/h", "d/f"), A)


def sparse(size, table):
    return ("file", "x", table.ljust(512, b"\0") + b"data", {**SPARSE, "GNU.sparse.realsize": str(size)})


SEEDS = {
    "ok-whole": WHOLE,
    "ok-no-end": tar(A, end=False),
    "ok-empty": tar(),
    "ok-nothing": b"",
    "ok-gnu-long-names": tar(("file", "n" * 200, b"x"), ("link", "l", "t" * 150), form=tarfile.GNU_FORMAT),
    "ok-xattr": tar(("file", "a", b"x", pax(SCHILY__xattr__user__a="b"))),
    "ok-acl": tar(("file", "a", b"x", pax(SCHILY__acl__access="user::rw-,user::r--:7,group::r--,mask::r--,other::---"))),
    "ok-holes": tar(sparse(100000, b"1\n50000\n4\n")),
    "ok-twice": tar(A, ("file", "a", b"later")),
    "ok-folder-closed-and-entered-again": tar(("dir", "d", ""), A, ("file", "d/x", b"y")),
    "ok-absolute": tar(("file", "//a/./b", b"x")),
    "ok-devices-are-left-out": tar(("char", "c", ""), ("block", "b", ""), ("pipe", "p", "")),
    "ok-inner-members-are-left-out": tar(("file", ".autoglacier/manifest.jsonl", b"x"), ("file", ".autoglacier", b"y")),
    "fail-dots": tar(("file", "../beside", b"evil")),
    "fail-dots-within": tar(("file", "a/../../beside", b"evil")),
    "fail-hard-link-to-dots": tar(("hard", "a", "../beside")),
    "fail-below-a-link": tar(("link", "l", ".."), ("file", "l/beside", b"evil")),
    "fail-hard-link-through-a-link": tar(("link", "l", ".."), ("hard", "a", "l/beside")),
    "fail-write-through-a-hard-link": tar(("link", "l", "../beside"), ("hard", "h", "l"), ("file", "h", b"evil")),
    "fail-write-through-a-link": tar(("link", "l", "../beside"), ("file", "l", b"evil")),
    "fail-folder-over-a-link": tar(("link", "l", ".."), ("dir", "l", ""), ("file", "l/beside", b"evil")),
    "fail-file-over-a-folder": tar(("dir", "d", ""), ("file", "d", b"x")),
    "fail-hard-link-to-itself": tar(("hard", "a", "a")),
    "fail-hard-link-to-a-folder": tar(("dir", "d", ""), ("hard", "a", "d")),
    "fail-cut": WHOLE[:1700],
    "fail-size-of-exbibytes": tar(sparse(2**62, b"1\n50000\n4\n")),
    "fail-holes-backwards": tar(sparse(100000, b"2\n50000\n2\n1000\n2\n")),
    "fail-holes-past-the-end": tar(sparse(100, b"1\n50000\n4\n")),
    "fail-no-tar": b"this is no tar at all" * 50,
    "fail-checksum": WHOLE[:100] + b"x" + WHOLE[101:],
    "fail-name-of-300-bytes": tar(("file", "n" * 300, b"x")),
    "fail-bad-pax": WHOLE[:0] + tar(("file", "a", b"x", pax(mtime="x", uid="-1", size="-5"))),
}


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name, data in SEEDS.items():
        with open(os.path.join(folder, "untar-" + name), "wb") as f:
            f.write(data)


main()
