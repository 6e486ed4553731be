#!/usr/bin/python3
"""Every system call on names answers in the mount as in a folder of the disk below: each kind of entry, each error of paths,
each right, each bit of the mode, each time that moves. Tables of calls, made on both by several users, compared call by call.

Left out, since FUSE itself answers otherwise: devices cannot be opened (nodev), direct I/O needs no alignment, offsets beyond
what the disk can hold may be sought, chown(-1, -1) leaves the ctime, and a set-group-id bit without the right to execute stays
when others write. In the mount of an ordinary user, programs that he may not read do not run."""
import itertools
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from mount import main  # noqa: E402
from world import ANN, BOB, Compared  # noqa: E402

KINDS = ["file", "folder", "full folder", "fifo", "char", "block", "socket", "link", "dangling", "loop"]
LONG = os.environ.get("AUTOGLACIER_LONG")
R, W, RW = os.O_RDONLY, os.O_WRONLY, os.O_RDWR
CREATE, NEW, CUT, DIR, NOFOLLOW = os.O_CREAT, os.O_EXCL | os.O_CREAT, os.O_TRUNC, os.O_DIRECTORY, os.O_NOFOLLOW
UNNAMED = os.O_TMPFILE

# Calls on one name, "@".
ON_A_NAME = [
    ("mkdir", "@", 0o755), ("rmdir", "@"), ("unlink", "@"), ("symlink", "text", "@"), ("mkfifo", "@", 0o644), ("mknod", "@", "f", 0o644, 0, 0),
    ("mknod", "@", "c", 0o644, 1, 3), ("bind", "@"), ("link", "@", "second"), ("link", "@", "second", True), ("link", "other", "@"),
    ("rename", "@", "second"), ("rename", "other", "@"), ("rename", "@", "@"), ("rename", "other", "@", 1), ("rename", "other", "@", 2),
    ("rename", "@", "other", 2), ("truncate", "@", 5), ("chmod", "@", 0o640), ("lchmod", "@", 0o640), ("chown", "@", 0, 0), ("lchown", "@", -1, -1),
    ("times", "@", 10**18, 10**18), ("times", "@", 10**18, 10**18, False), ("readlink", "@"), ("list", "@"), ("look", "@"), ("stat", "@"),
    ("access", "@", 4), ("access", "@", 1), ("set", "@", "user.x", "v"), ("set", "@", "trusted.x", "v"), ("get", "@", "user.x"),
    ("listxattr", "@"), ("removexattr", "@", "user.x"),
]
ON_A_NAME += [("open", "@", flags, 0o644) for flags in (
    R, W, RW, R | DIR, R | NOFOLLOW, W | CUT, R | CUT, RW | CREATE, RW | NEW, W | CREATE | CUT, W | CREATE | NOFOLLOW, R | CREATE | DIR,
    os.O_PATH, os.O_PATH | NOFOLLOW, W | os.O_APPEND, W | os.O_SYNC, RW | os.O_DIRECT, RW | UNNAMED, R | UNNAMED, W | UNNAMED | CREATE, W | UNNAMED | CUT)]


def some(step, *choices):
    """All combinations; one in `step` of them in a short run, the same ones each time."""
    every = itertools.product(*choices)
    return every if LONG else itertools.islice(every, 0, None, step)


def opens_device(kind, call):
    """A mount is nodev: its devices cannot be opened."""
    return kind in ("char", "block") and call[0] in ("open", "truncate")


class Posix(Compared):
    # ---- kinds and paths ----

    def test_every_call_on_every_kind(self):
        w = self.w
        for kind, call in itertools.product(["none"] + KINDS, ON_A_NAME):
            if opens_device(kind, call):
                continue
            w.fresh()
            w.make(kind)
            w.make("file", "other")
            w.do("root", *[a.replace("@", "n") if isinstance(a, str) else a for a in call])
            w.after()

    def test_every_kind_onto_every_kind(self):
        w = self.w
        for a, b, call in itertools.product(["none"] + KINDS, KINDS, ("rename", "link")):
            w.fresh()
            w.make(a, "a")
            w.make(b, "b")
            w.do("root", call, "a", "b")
            w.after()

    def test_paths_that_lead_nowhere(self):
        w = self.w
        long = "/".join(["d" * 127] * 31)
        w.fresh()
        for kind in KINDS:
            w.make(kind, kind[:4])
        for k in range(31):
            w.do("root", "mkdir", "/".join(["d" * 127] * (k + 1)), 0o755)
        w.make("file", "other")
        w.do("root", "symlink", "folder", "to folder")
        w.do("root", "symlink", "fold", "to fold")
        paths = [k[:4] + "/x" for k in KINDS] + [k[:4] + "/" for k in KINDS] + ["missing/x", "missing/", ".", "..", "fold/.", "fold/..", "",
                 "to fold/", "to fold/.", "to folder/", "other/.", "other/..", "x" * 255, "x" * 256, "fold/" + "x" * 256, "x" * 256 + "/y"]
        paths += [long + "/" + "e" * (4095 - len(long) - 1 - 1 - 127) + "/" + "f" * n for n in (126, 127, 128)]
        paths += [long + "/" + "f" * n for n in (4094 - len(long), 4095 - len(long))]
        changed = ("mkdir", "rmdir", "unlink", "rename", "link", "symlink", "mkfifo", "mknod", "bind", "open")
        for path, call in some(3, paths, ON_A_NAME):
            if call[0] in ("bind", "set", "times", "chown", "chmod") and path in (".", "..", "fold/.."):
                continue
            if path.startswith("char") and opens_device("char", call) or path.startswith("bloc") and opens_device("block", call):
                continue
            if path == ".." and call[0] in ("list",):
                continue
            w.do("root", *[a.replace("@", path) if isinstance(a, str) else a for a in call])
            if call[0] in changed:
                for undo in (("unlink", "second"), ("rmdir", "second"), ("rmdir", path), ("unlink", path), ("open", "other", CREATE | W)):
                    w.do("root", *undo)
        w.after()

    def test_folders_do_not_move_into_themselves_nor_take_dots(self):
        w = self.w
        w.fresh()
        for d in ("a", "a/b", "a/b/c", "e", "e/f"):
            w.do("root", "mkdir", d, 0o755)
        w.make("file", "a/x")
        w.do("root", "link", "a/x", "a/y")
        for pair in (("a", "a/b"), ("a", "a/b/c/d"), ("a/b", "a"), ("a", "e"), ("e", "a/b"), ("a/.", "z"), ("a/..", "z"), ("z", "a/."), ("e", "a/.."), (".", "z"),
                     ("..", "z"), ("a/x", "a/y"), ("a/x/", "q"), ("a/b/", "q"), ("q", "r/"), ("a/y", "s/"), ("e/f", "f2"), ("f2", "a/f3"), ("a/f3", "e/f")):
            for flags in (0, 1, 2, 3, 4):
                w.do("root", "rename", *pair, flags)
                w.after()
        for p in ("e/.", "e/..", "e/", "a/b/..", "..", "."):
            w.do("root", "rmdir", p)
            w.do("root", "unlink", p)
        w.after()

    # ---- rights ----

    def test_rights_on_the_folder(self):
        """Search and write, for its owner, its group and the others, on everything that is done in it."""
        w = self.w
        calls = [("mkdir", "d/new", 0o755), ("open", "d/new", NEW | W, 0o644), ("open", "d/file", W | CREATE), ("symlink", "x", "d/new"), ("mkfifo", "d/new", 0o644),
                 ("bind", "d/new"), ("link", "own", "d/new"), ("link", "d/file", "new"), ("rename", "own", "d/new"), ("rename", "own", "d/file"),
                 ("rename", "d/file", "new"), ("rename", "d/file", "d/new"), ("rename", "d/sub", "new"), ("unlink", "d/file"), ("rmdir", "d/sub"), ("open", "d/file", R),
                 ("open", "d/file", W), ("open", "d", R), ("open", "d", R | DIR), ("open", "d", W | UNNAMED), ("list", "d"), ("look", "d/file"), ("look", "d/none"), ("truncate", "d/file", 1),
                 ("chmod", "d/file", 0o600), ("chown", "d/file", -1, -1), ("times", "d/file", 10**18, 10**18), ("access", "d", 2), ("access", "d", 1),
                 ("access", "d", 4), ("rename", "d", "new"), ("rename", "d", "deep/new"), ("rmdir", "d"), ("readlink", "d/link"), ("get", "d/file", "user.x")]
        for bits, (uid, gid), call in some(5, range(8), ((ANN, 0), (0, 4242), (0, 0)), calls):
            w.fresh()
            w.do("root", "mkdir", "deep", 0o777)
            w.do("root", "chmod", "deep", 0o777)
            w.do("root", "mkdir", "d", 0o755)
            w.make("file", "d/file", uid=ANN)
            w.make("folder", "d/sub", uid=ANN)
            w.do("root", "symlink", "t", "d/link")
            w.make("file", "own", uid=ANN)
            w.do("root", "lchown", "d", uid, gid)
            w.do("root", "chmod", "d", (bits << 6 if uid else 0) | (bits << 3 if gid else 0) | (0 if uid or gid else bits))
            w.do("ann", *call)
            w.after()

    def test_rights_on_the_file(self):
        w = self.w
        calls = [("open", "n", f) for f in (R, W, RW, R | CUT, W | CUT, W | os.O_APPEND, W | CREATE, R | os.O_NOATIME, os.O_PATH)]
        calls += [("truncate", "n", 3), ("access", "n", 4), ("access", "n", 2), ("access", "n", 1), ("access", "n", 6), ("access", "n", 2, True), ("chmod", "n", 0o4777), ("read", "n"),
                  ("times", "n", "now", "now"), ("times", "n", "omit", "omit"), ("times", "n", "now", "omit"), ("times", "n", 10**18, "omit"), ("times", "n", 10**18, 2 * 10**18),
                  ("times", "n", "omit", 10**18), ("set", "n", "user.a", "b"), ("get", "n", "user.a"), ("set", "n", "trusted.a", "b"), ("get", "n", "trusted.t"), ("listxattr", "n"),
                  ("removexattr", "n", "user.u"), ("link", "n", "m"), ("list", "n"), ("unlink", "n"), ("rename", "n", "m"), ("exec", "n")]
        for kind in ("file", "folder"):
            for bits, (uid, gid), who, call in some(7, range(8), ((ANN, 0), (0, 4242), (0, 0)), ("ann", "root"), calls):
                if who == "root" and uid == 0 and gid == 4242 or call[0] == "exec" and os.geteuid() != 0 and not bits & 4:
                    continue
                w.fresh()
                w.make(kind)
                w.do("root", "set", "n", "user.u", "v")
                w.do("root", "set", "n", "trusted.t", "v")
                w.do("root", "lchown", "n", uid, gid)
                w.do("root", "chmod", "n", (bits << 6 if uid else 0) | (bits << 3 if gid else 0) | (0 if uid or gid else bits))
                w.do(who, *call)
                w.after()

    def test_sticky_folders(self):
        w = self.w
        owners = (0, ANN, BOB)
        for mode, d, f, kind, call in some(7, (0o1777, 0o777), owners, owners, ("file", "folder", "link", "fifo"), (
                ("unlink", "d/n"), ("rmdir", "d/n"), ("rename", "d/n", "new"), ("rename", "d/n", "d/new"), ("rename", "own", "d/n"), ("rename", "dir", "d/n"),
                ("rename", "own", "d/n", 2), ("link", "d/n", "d/new"), ("open", "d/n", W | CREATE), ("chmod", "d/n", 0o600))):
            w.fresh()
            w.do("root", "mkdir", "d", 0o777)
            w.make(kind, "d/n", uid=f, mode=0o666 if kind != "folder" else 0o777)
            w.make("file", "own", who="ann")
            w.make("folder", "dir", who="ann")
            w.do("root", "lchown", "d", d, d)
            w.do("root", "chmod", "d", mode)
            w.do("ann", *call)
            w.after()

    def test_giving_away(self):
        """chown: who may, and what becomes of the set-id bits."""
        w = self.w
        for who, uid, gid, mode, kind, owner in some(7, ("ann", "root"), (-1, ANN, BOB), (-1, ANN, 4242, BOB), (0o644, 0o4755, 0o2755, 0o6777, 0o6644),
                                                                   ("file", "folder", "link", "fifo"), (ANN, BOB)):
            w.fresh()
            w.make(kind, uid=owner, gid=owner, mode=mode)
            w.do(who, "lchown", "n", uid, gid)
            w.after()
            w.do(who, "chown", "n", uid, gid)
            w.after()

    def test_modes(self):
        w = self.w
        for who, mode, kind, owner, group in some(5, ("ann", "root", "bob"), (0, 0o111, 0o777, 0o1777, 0o2777, 0o4777, 0o7777, 0o2644),
                                                                ("file", "folder", "link", "fifo", "socket", "char"), (ANN, BOB), (ANN, BOB, 4242)):
            w.fresh()
            w.make(kind, uid=owner, gid=group)
            w.do(who, "chmod", "n", mode)
            w.after()

    def test_new_entries_get_owner_group_and_mode(self):
        w = self.w
        for who, mask, mode, (folder, group) in some(3, ("ann", "root"), (0, 0o022, 0o077, 0o777), (0, 0o151, 0o644, 0o777, 0o7777),
                                                                   ((0o777, 0), (0o2777, BOB), (0o2777, 4242), (0o3777, 0))):
            w.fresh(folder, gid=group)
            w.do(who, "umask", mask)
            for call in (("open", "file", NEW | W, mode), ("mkdir", "dir", mode), ("mkfifo", "fifo", mode), ("mknod", "node", "f", mode, 0, 0), ("mknod", "sock", "s", mode, 0, 0),
                         ("mknod", "char", "c", mode, 7, 300), ("mknod", "block", "b", mode, 300, 70000), ("bind", "socket"), ("symlink", "x", "link"), ("open", "cut", CREATE | W | CUT, mode)):
                w.do(who, *call)
            w.after()
            w.do(who, "umask", 0o022)

    def test_what_takes_set_id_bits_away(self):
        w = self.w
        calls = [[("hold", "f", "n", W), ("pwrite", "f", "x", 0), ("let go", "f")], [("hold", "f", "n", W | os.O_APPEND), ("pwrite", "f", "x", 0), ("let go", "f")],
                 [("hold", "f", "n", W), ("ftruncate", "f", 2), ("let go", "f")], [("hold", "f", "n", W), ("ftruncate", "f", 7), ("let go", "f")], [("truncate", "n", 3)],
                 [("truncate", "n", 7)], [("open", "n", W | CUT)], [("open", "n", W | CUT | CREATE)], [("hold", "f", "n", W), ("fallocate", "f", 0, 0, 100), ("let go", "f")],
                 [("hold", "f", "n", W), ("fallocate", "f", 3, 0, 3), ("let go", "f")], [("hold", "f", "n", W), ("hold", "g", "o", R), ("copy range", "g", "f", 5), ("let go", "f"), ("let go", "g")],
                 [("hold", "f", "n", RW), ("pread", "f", 1, 1), ("let go", "f")],
                 [("times", "n", 10**18, 10**18)], [("set", "n", "user.x", "y")], [("link", "n", "m")], [("rename", "n", "m")], [("hold", "f", "n", W), ("fchown", "f", -1, -1), ("let go", "f")]]
        for who, mode, owner, group, script in some(5, ("ann", "root"), (0o4777, 0o2777, 0o6777, 0o4666, 0o6767, 0o1666), (ANN, BOB), (ANN,), calls):
            w.fresh()
            w.make("file", uid=owner, gid=group, mode=mode)
            w.make("file", "o", uid=ANN)
            for c in script:
                w.do(who, *c)
            w.after()

    def test_links_to_what_is_somebody_elses(self):
        w = self.w
        for kind, owner, mode, folder in some(2, ("file", "fifo", "socket", "link", "char"), (0, ANN, BOB), (0o644, 0o666, 0o600, 0o606, 0o4777, 0o2777, 0o2767), (0o777, 0o1777)):
            w.fresh(folder)
            w.make(kind, uid=owner, gid=owner, mode=mode)
            w.do("ann", "link", "n", "m")
            w.after()

    def test_rights_of_open_files_are_those_of_when_they_were_opened(self):
        w = self.w
        for flags, owner, mode, taken in itertools.product((R, W, os.O_PATH), (0, ANN), (0o666, 0o606), (False, True)):
            w.fresh()
            w.make("file", uid=owner, gid=0, mode=mode)
            w.do("ann", "hold", "f", "n", flags)
            if taken:
                w.do("root", "lchown", "n", BOB, BOB)
                w.do("root", "chmod", "n", 0)
            for c in (("pread", "f", 3, 0), ("pwrite", "f", "x", 0), ("ftruncate", "f", 3), ("fchmod", "f", 0o644), ("fchown", "f", -1, 4242), ("ftimes", "f", "now", "now"), ("ftimes", "f", 10**18, 10**18),
                      ("ftimes", "f", "omit", "omit"), ("ftimes", "f", "now", "omit"), ("fallocate", "f", 0, 0, 30), ("fstat", "f"), ("link held", "f", "m"), ("let go", "f")):
                w.do("ann", *c)
            w.after()

    # ---- times ----

    def test_which_times_move(self):
        w = self.w
        watched = ["d", "d/n", "e", "d/sub", "e/o"]
        calls = [("mkdir", "d/new", 0o755), ("open", "d/new", NEW | W), ("symlink", "x", "d/new"), ("mkfifo", "d/new", 0o644), ("bind", "d/new"), ("mknod", "d/new", "f", 0o644, 0, 0),
                 ("link", "d/n", "e/new"), ("rename", "d/n", "e/new"), ("rename", "d/n", "d/new"), ("rename", "d/n", "e/o"), ("rename", "d/sub", "e/new"), ("rename", "d/n", "e/o", 2),
                 ("rename", "d/sub", "e/o", 2), ("unlink", "d/n2"), ("rmdir", "d/sub2"), ("chmod", "d/n", 0o600), ("chmod", "d/n", 0o644), ("chown", "d/n", 0, 0),
                 ("chown", "d/n", -1, 4242), ("lchown", "d/n", 0, 0), ("truncate", "d/n", 3), ("truncate", "d/n", 7), ("truncate", "d/n", 9), ("write", "d/n", "x"), ("write", "d/n", ""),
                 ("open", "d/n", W | CUT), ("open", "d/n", W), ("open", "d/n", W | CREATE), ("read", "d/n"), ("list", "d"), ("times", "d/n", "omit", "omit"), ("times", "d/n", "now", "omit"),
                 ("times", "d/n", "omit", "now"), ("times", "d/n", 10**18, 10**18), ("set", "d/n", "user.x", "y"), ("get", "d/n", "user.x"), ("rename", "d/n", "d/n"), ("link", "d/n", "d/n2"),
                 ("unlink", "d/sub"), ("rmdir", "d/n"), ("mkdir", "d/n", 0o755), ("rename", "d/n", "d/sub"), ("open", "d/n", NEW | W),
                 ("open", "d", W | UNNAMED)]
        scripts = [[c] for c in calls]
        scripts += [[("hold", "f", "d/n", RW), c, ("let go", "f")] for c in (
            ("ftruncate", "f", 7), ("ftruncate", "f", 3), ("fallocate", "f", 0, 0, 100), ("fallocate", "f", 1, 0, 10000), ("fallocate", "f", 3, 0, 4), ("fchmod", "f", 0o600),
            ("pwrite", "f", "", 0), ("map", "f", 1, "z"), ("pread", "f", 3, 0))]
        scripts.append([("hold", "f", "e", W | UNNAMED), ("link held", "f", "d/new"), ("let go", "f")])
        for script in scripts:
            w.fresh()
            for d in ("d", "e", "d/sub", "d/sub2"):
                w.do("root", "mkdir", d, 0o755)
            for f in ("d/n", "e/o", "d/n2"):
                w.make("file", f)
            w.do("root", "stamp", *watched)
            w.do("root", "look", ".")
            w.tick()
            for c in script:
                w.do("root", *c)
            for p in watched:
                w.do("root", "moved", p)
            for p in ("d/new", "e/new"):
                w.do("root", "look", p)

    def test_times_that_are_set(self):
        w = self.w
        some = ("now", "omit", 0, 1, -1, 10**9 * 2**31, 10**9 * (2**32 - 1) + 999999999, 10**9 * 2**33, -10**9 * 2**31, 123456789123456789)
        for a, m, kind in itertools.product(some, some, ("file", "folder", "link", "fifo")):
            w.fresh()
            w.make(kind)
            w.do("root", "times", "n", a, m, False)
            w.do("root", "times", "n", a, m, True)

    # ---- what is open ----

    def test_open_files_outlive_their_names(self):
        w = self.w
        gone = ([("unlink", "n")], [("make", "file", "o"), ("rename", "o", "n")], [("link", "n", "m"), ("unlink", "n")], [("rename", "n", "m")], [("rename", "n", "m"), ("unlink", "m")])
        for how, who in itertools.product(gone, ("root", "ann")):
            w.fresh()
            w.make("file", who=who)
            w.do(who, "hold", "f", "n", RW)
            for c in how:
                if c[0] == "make":
                    w.make(*c[1:], who=who)
                else:
                    w.do(who, *c)
            for c in (("fstat", "f"), ("pwrite", "f", "more", 3), ("pread", "f", 100, 0), ("ftruncate", "f", 20), ("fchmod", "f", 0o400), ("fstat", "f"), ("pwrite", "f", "x", 30), ("fchown", "f", -1, 4242),
                      ("link held", "f", "again"), ("fallocate", "f", 0, 0, 50), ("map", "f", 40, "mapped"), ("seek", "f", 0, os.SEEK_END), ("pread", "f", 100, 0), ("fstat", "f")):
                w.do(who, *c)
            w.after()
            w.do(who, "let go", "f")
            w.after()

    def test_files_without_a_name(self):
        w = self.w
        for who, mask, mode, (folder, group), flags, how in some(3, ("ann", "root"), (0, 0o027), (0, 0o640, 0o2755, 0o6777), ((0o777, 0), (0o2777, BOB), (0o3777, 4242)),
                                                                 (RW, W, RW | os.O_APPEND, RW | os.O_EXCL), ("link held", "link empty")):
            w.fresh(folder, gid=group)
            w.make("file", "other")
            w.do(who, "umask", mask)
            w.do(who, "hold", "f", ".", flags | UNNAMED, mode)
            for c in (("fstat", "f"), ("list", "."), ("pwrite", "f", "some text", 0), ("fstat", "f"), (how, "f", "other"), (how, "f", "missing/n"), (how, "f", "n"), ("fstat", "f"), ("look", "n"),
                      ("read", "n"), (how, "f", "m"), ("link", "n", "o"), ("fstat", "f"), ("pwrite", "f", "other", 4), ("map", "f", 1, "mapped"), ("fchmod", "f", mode), ("ftruncate", "f", 7)):
                w.do(who, *c)
            w.after()
            for c in (("unlink", "n"), ("unlink", "m"), ("unlink", "o"), ("fstat", "f"), (how, "f", "again"), ("pread", "f", 20, 0), ("let go", "f"), ("umask", 0o022)):
                w.do(who, *c)
            w.after()

    def test_folders_that_are_gone(self):
        w = self.w
        w.fresh()
        w.do("root", "mkdir", "d", 0o755)
        w.do("root", "hold", "f", "d", R | DIR)
        w.do("root", "chdir", "d")
        w.do("root", "rmdir", "../d")
        for c in (("list", "."), ("mkdir", "x", 0o755), ("open", "x", NEW | W), ("symlink", "x", "y"), ("mkfifo", "x", 0o644), ("rename", "../other", "x"), ("look", "x"), ("list", ".."), ("open", ".", W | UNNAMED),
                  ("fstat", "f"), ("chmod", ".", 0o700), ("times", ".", 10**18, 10**18)):
            w.do("root", *c)
        w.do("root", "chdir", "..")
        w.do("root", "let go", "f")

    def test_errors_of_open_files(self):
        w = self.w
        w.fresh()
        w.make("file")
        calls = [("ftruncate", "f", -1), ("ftruncate", "f", 5), ("ftruncate", "f", 2**63 - 1), ("fallocate", "f", 0, 0, 0), ("fallocate", "f", 0, -1, 5), ("fallocate", "f", 0, 5, -1), ("fallocate", "f", 2, 0, 5),
                 ("fallocate", "f", 0, 2**62, 2**62), ("fallocate", "f", 1, 4096, 4096), ("fallocate", "f", 3, 0, 2), ("fallocate", "f", 16, 0, 4096), ("pwrite", "f", "x", 2**63 - 2), ("pwrite", "f", "x", -1),
                 ("pread", "f", 5, 2**62), ("pread", "f", 5, -1), ("seek", "f", -1, 0), ("seek", "f", 0, os.SEEK_DATA), ("seek", "f", 100, os.SEEK_HOLE), ("seek", "f", 3, os.SEEK_HOLE),
                 ("copy range", "f", "f", 3), ("fchmod", "f", 0o644), ("fchown", "f", -1, -1), ("map", "f", 0, "c")]
        for flags, c in itertools.product((R, W, RW, RW | os.O_APPEND, os.O_PATH), calls):
            if c[0] == "map" and flags == os.O_PATH:
                continue
            w.do("root", "hold", "f", "n", flags)
            w.do("root", *c)
            w.do("root", "look", "n")
            w.do("root", "let go", "f")
            w.do("root", "truncate", "n", 7)
        for n in (-1, 0, 2**44, 2**63 - 1, 5):
            w.do("root", "truncate", "n", n)
            w.do("root", "look", "n")

    def test_programs_that_run_are_busy(self):
        w = self.w
        with open("/bin/sleep", "rb") as f:
            program = f.read()
        w.fresh()
        for top in w.tops:
            path = os.path.join(top, str(w.n), "prog")
            with open(path, "wb") as f:
                f.write(program)
            os.chmod(path, 0o755)
        w.do("root", "run", "p", "prog")
        for c in (("open", "prog", R), ("open", "prog", W), ("open", "prog", RW), ("open", "prog", R | CUT), ("truncate", "prog", 5), ("chmod", "prog", 0o711), ("rename", "prog", "q"), ("unlink", "q")):
            w.do("root", *c)
        w.do("root", "end run", "p")
        w.after()

    def test_programs_that_are_written_do_not_run(self):
        w = self.w
        w.fresh()
        w.make("file", "prog")
        w.do("root", "chmod", "prog", 0o755)
        w.do("root", "hold", "f", "prog", W)
        w.do("root", "exec", "prog")
        w.do("root", "let go", "f")
        w.do("root", "exec", "prog")
        w.do("ann", "exec", "prog")

    def test_how_large_files_may_grow(self):
        w = self.w
        for who, flags in itertools.product(("root", "ann"), (W, RW | os.O_APPEND, W | os.O_SYNC)):
            w.fresh()
            w.make("file", uid=ANN)
            w.make("file", "from", uid=ANN)
            w.do(who, "limit", 10)
            w.do(who, "hold", "f", "n", flags)
            w.do(who, "hold", "g", "from", R)
            for c in (("pwrite", "f", "x" * 20, 0), ("pwrite", "f", "x", 10), ("pwrite", "f", "x" * 3, 9), ("ftruncate", "f", 11), ("truncate", "n", 10), ("truncate", "n", 11), ("fallocate", "f", 0, 5, 20),
                      ("ftruncate", "f", 5), ("copy range", "g", "f", 7), ("fstat", "f")):
                w.do(who, *c)
            w.do(who, "limit", -1)
            w.do(who, "pwrite", "f", "more", 20)
            w.after()
            w.do(who, "let go", "f")
            w.do(who, "let go", "g")

    def test_writes_with_flags_of_their_own(self):
        w = self.w
        for flags, how, off in itertools.product((W, RW | os.O_APPEND), (0, os.RWF_DSYNC, os.RWF_SYNC, os.RWF_APPEND, os.RWF_APPEND | os.RWF_SYNC, 1 << 20), (0, 3, 20)):
            w.fresh()
            w.make("file")
            w.do("root", "hold", "f", "n", flags)
            w.do("root", "pwrite", "f", "some", off, how)
            w.do("root", "pwrite", "f", "more", off)
            w.do("root", "read", "n")
            w.do("root", "let go", "f")

    def test_links_as_long_and_as_many_as_there_may_be(self):
        w = self.w
        w.fresh()
        for n in (0, 1, 59, 60, 61, 4094, 4095, 4096):
            w.do("ann", "symlink", "t" * n, "link%d" % n)
            w.do("ann", "readlink", "link%d" % n)
        w.make("file", "link")
        w.do("root", "mkdir", "to", 0o755)
        for k in range(42):
            w.do("ann", "symlink", "c%d" % (k - 1) if k else "to", "c%d" % k)
        for k in (38, 39, 40, 41):
            for c in (("stat", "c%d" % k), ("list", "c%d" % k), ("mkdir", "c%d/d%d" % (k, k), 0o755), ("open", "c%d" % k, R | NOFOLLOW), ("rename", "c%d/d%d" % (k, k), "d%d" % k)):
                w.do("root", *c)
        w.after()

    def test_attributes(self):
        w = self.w
        for who, kind in itertools.product(("root", "ann"), ("file", "folder", "link", "fifo", "socket")):
            w.fresh()
            w.make(kind, uid=ANN)
            for space, name, size in itertools.product(("user", "trusted", "security", "system", "nothing", ""), ("", "x", "y" * 248, "y" * 300), (0, 1, 300, 70000)):
                if space == "security":
                    continue
                full = space + "." + name
                for flags in (0, 1, 2):
                    w.do(who, "set", "n", full, "v" * size, flags)
                for c in (("get", "n", full), ("listxattr", "n"), ("removexattr", "n", full), ("removexattr", "n", full)):
                    w.do(who, *c)

    def test_many_links(self):
        w = self.w
        w.fresh()
        w.make("file")
        for k in range(300):
            w.do("root", "link", "n", "n%d" % k)
        w.do("root", "look", "n")
        for k in range(300):
            w.do("root", "mkdir", "d%d" % k, 0o755)
        w.after()


if __name__ == "__main__":
    main()
