#!/usr/bin/python3
"""`.commit` is right from every program that people write files with, and every refusal reaches them."""
import errno
import os
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from mount import MountCase, main, until  # noqa: E402

# What is written in each shell, and the description that comes of it. $1 is a file with the text "from a file".
SHELLS = ["bash", "dash", "zsh", "busybox sh", "fish"]
SCRIPTS = [
    ("echo", "echo 'one word' > .commit", "one word\n"),
    ("append", "echo 'one word' >> .commit", "one word\n"),
    ("printf", "printf 'no newline' > .commit", "no newline"),
    ("lines", "printf 'a\\nb\\nc\\n' > .commit", "a\nb\nc\n"),
    ("utf-8", "echo 'Grüße aus Zürich ☃' > .commit", "Grüße aus Zürich ☃\n"),
    ("cat", "cat $argv[1] $1 > .commit", "from a file\n"),
]
GROUPS = [
    ("group", "{ echo first; echo second; } > .commit", "first\nsecond\n"),
    ("heredoc", "cat > .commit <<END\nfirst\nsecond\nEND\n", "first\nsecond\n"),
    ("empty lines first", "{ echo; echo; echo text; } > .commit", "\n\ntext\n"),
    ("printf with arguments", "printf '%s\\n' one two > .commit", "one\ntwo\n"),
    ("noclobber aside", "set -C; echo text >| .commit", "text\n"),
]
PROGRAMS = [
    ("tee", "echo text | tee .commit >/dev/null"),
    ("tee -a", "echo text | tee -a .commit >/dev/null"),
    ("cp", "cp $1 .commit"),
    ("cp -a", "cp -a $1 .commit"),
    ("cp --remove-destination", "cp --remove-destination $1 .commit"),
    ("mv", "cp $1 $2/moved && mv $2/moved .commit"),
    ("mv inside", "cp $1 inside && mv inside .commit"),
    ("dd", "dd if=$1 of=.commit status=none"),
    ("dd bytes", "dd if=$1 of=.commit bs=1 status=none"),
    ("rsync", "rsync $1 .commit"),
    ("rsync --inplace", "rsync --inplace $1 .commit"),
    ("rsync -a", "rsync -a $1 .commit"),
    ("install", "install $1 .commit"),
    ("install -m", "install -m 600 $1 .commit"),
    ("gio copy", "gio copy $1 .commit"),
    ("gio move", "cp $1 $2/moved && gio move $2/moved .commit"),
    ("gio save", "gio save .commit < $1"),
    # Commands that the smallest build of vim has too.
    ("vim", "printf '%%c\\ntext\\n.\\nwq!\\n' | VIM -Nu NONE -n -es .commit"),
    ("vim with a swap file",
     "printf '%%c\\ntext\\n.\\nwq!\\n' | VIM -Nu NONE -es -c 'set dir=.' .commit"),
    ("vim while something is staged",
     "printf '!touch staged\n%%c\ntext\n.\nwq!\n' | VIM -Nu NONE -es -c 'set dir=.' .commit"),
    ("vim without force while something is staged",
     "printf '!touch staged\n%%c\ntext\n.\nwq\n' | VIM -Nu NONE -n -es .commit"),
    ("vim with a backup",
     "printf 'set backup bdir=.\\n%%c\\ntext\\n.\\nwq!\\n' | VIM -Nu NONE -n -es .commit"),
    ("vim keeps what it read", "printf '$a\\ntext\\n.\\nwq!\\n' | VIM -Nu NONE -n -es .commit"),
    ("python", "PYTHON -c \"open('.commit', 'w').write('text\\n')\""),
    ("python append", "PYTHON -c \"open('.commit', 'a').write('text\\n')\""),
    ("python r+", "PYTHON -c \"open('.commit', 'r+').write('text\\n')\""),
    ("python in bytes",
     "PYTHON -c \"import os; f = os.open('.commit', 1); [os.write(f, b'%c' % c) for c in b'te\\xc3\\xa4xt']\""),
    ("python pathlib", "PYTHON -c \"import pathlib; pathlib.Path('.commit').write_text('text')\""),
    # KIO, which sets the mode of what it has renamed
    ("what KIO does", "cp $1 .commit.part && rm .commit && PYTHON -c \"import os; os.rename('.commit.part', '.commit'); os.chmod('.commit', 0o644)\""),
    ("kioclient5 copy", "kioclient5 --noninteractive --overwrite copy file://$1 file://$PWD/.commit >/dev/null 2>&1"),
    ("kioclient5 move", "cp $1 $2/moved && kioclient5 --noninteractive --overwrite move file://$2/moved file://$PWD/.commit >/dev/null 2>&1"),
    ("sed -i", "sed -n w.commit $1"),
    ("xargs", "echo text | xargs -I@ sh -c 'echo @ > .commit'"),
]


def vim():
    return next((p for p in ("vim.tiny", "vim", "vi") if shutil.which(p)), None)


class Writers(MountCase):
    def setUp(self):
        super().setUp()
        self.m = self.mount()
        self.source = os.path.join(self.folder, "source")
        with open(self.source, "w") as f:
            f.write("from a file\n")

    def arguments(self, script):
        return script.replace("VIM", vim() or "vim").replace("PYTHON", "/usr/bin/python3")

    def check(self, shell, script, wanted):
        m = self.m
        m.write("staged", "bytes")
        before = m.archives()
        status, said = m.sh(self.arguments(script), self.source, self.folder, shell=shell)
        self.assertEqual(status, 0, said)
        new = [a for a in m.archives() if a not in before]
        self.assertEqual(len(new), 1, said)
        self.assertEqual(m.text("description", new[0]), wanted)
        self.assertEqual(sorted(os.listdir(m.point)), [".commit", ".status", "archives", "jobs"], "staging is empty")
        return new[0]

    def settle(self):
        for a in self.m.archives():
            self.m.wait("stored", a)
        self.m.settled()

    def test_every_shell(self):
        for shell in SHELLS:
            if not shutil.which(shell.split()[0]):
                self.skipTest("no " + shell)
            for name, script, wanted in SCRIPTS + ([] if shell == "fish" else GROUPS):
                if name == "noclobber aside" and shell.startswith("busybox"):
                    continue
                with self.subTest(shell=shell, script=name):
                    script = script.replace("$argv[1] $1", "$argv[2]" if shell == "fish" else "$1")
                    self.check(shell, script, wanted)
        with self.subTest(shell="fish", script="begin"):
            self.check("fish", "begin; echo first; echo second; end > .commit", "first\nsecond\n")
        self.settle()

    def test_every_program(self):
        for name, script in PROGRAMS:
            need = {"gio": "gio", "rsync": "rsync"}.get(script.split()[0])
            if (need and not shutil.which(need)) or ("VIM" in script and not vim()):
                self.skipTest("no " + (need or "vim"))
            if name.startswith("kioclient5"):  # KDE is large: where it is there it has to work
                if not shutil.which("kioclient5"):
                    continue
                script = "QT_QPA_PLATFORM=offscreen HOME=$2 dbus-run-session sh -c '%s' sh $1 $2" % script
            with self.subTest(program=name):
                wanted = "from a file\n" if "$1" in script else "text\n"
                wanted = {"python in bytes": "teäxt", "python pathlib": "text"}.get(name, wanted)
                self.check("sh", script, wanted)
        self.settle()

    def test_what_writes_nothing_commits_nothing(self):
        m = self.m
        m.write("staged", "bytes")
        for script in ("touch .commit", ": > .commit", "true >> .commit", "cat .commit >/dev/null", "printf '' > .commit",
                       "echo > .commit", "printf ' \\n\\t\\n' > .commit", "truncate -s 0 .commit", "cp /dev/null .commit",
                       "chmod 600 .commit", "rm .commit", "rm -f .commit; touch .commit", "cat .commit > copy; cp copy .commit; rm copy"):
            with self.subTest(script=script):
                status, said = m.sh(script)
                self.assertEqual((status, said), (0, ""))
                self.assertEqual(m.archives(), [])
        until(lambda: os.path.exists(m.path(".commit")), ".commit is back")
        self.assertEqual(m.read("staged"), "bytes")

    def test_one_handle_one_commit(self):
        m = self.m
        m.write("staged", "bytes")
        fd = os.open(m.path(".commit"), os.O_WRONLY)
        os.write(fd, b"first\n")
        m.write("later", "bytes")
        os.pwrite(fd, b"second\n", 0)
        os.close(fd)
        self.assertEqual(m.text("description"), "first\nsecond\n")
        self.assertEqual(len(m.archives()), 1)
        self.assertTrue(os.path.exists(m.path("later")))

    def test_a_description_that_grows_too_long_is_cut_with_a_warning(self):
        m = self.m
        m.write("staged", "bytes")
        fd = os.open(m.path(".commit"), os.O_WRONLY)
        os.write(fd, b"a" * 1000)
        self.refused("EFBIG", os.write, fd, "ä".encode() * 20)
        os.close(fd)
        self.assertEqual(m.text("description"), "a" * 1000 + "ä" * 12)
        m.wait("stored")
        self.assertIn("cut at 1,024", m.text("log"))

    def test_half_a_character_at_the_end_is_seen(self):
        m = self.m
        m.write("staged", "bytes")
        self.assertEqual(m.sh("printf 'caf\\303' > .commit"), (0, ""))
        m.wait("stored")  # the description is whole when the file was released
        self.assertEqual(m.text("description"), "caf\ufffd")

    def test_a_freed_name_can_be_used_at_once_by_the_next_writer(self):
        """After a rename onto `.commit` the kernel must not go on with the file that was renamed."""
        m = self.m
        for k in range(10):
            m.write("staged", "bytes")
            m.write("words", "renamed %d\n" % k)
            os.rename(m.path("words"), m.path(".commit"))
            m.write("staged", "bytes")
            self.assertEqual(m.sh("echo written > .commit"), (0, ""))
        self.assertEqual(len(m.archives()), 20)

    def test_what_was_renamed_onto_commit_is_not_opened_again(self):
        """The kernel may remember it under that name for a moment; what is written to it would be lost."""
        m = self.m
        m.write("staged", "bytes")
        m.write("words", "renamed\n")
        fd = os.open(m.path("words"), os.O_PATH)
        self.addCleanup(os.close, fd)
        os.rename(m.path("words"), m.path(".commit"))
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
            self.refused("ESTALE", os.open, "/proc/self/fd/%d" % fd, flags)


class Refusals(MountCase):
    """Nothing has moved, no archive was made, the reason stands in `.commit` and `.status`, and the program told."""

    WAYS = [
        ("bash", "echo text > .commit"), ("bash", "printf text > .commit"), ("bash", "{ echo a; echo b; } > .commit"),
        ("dash", "echo text > .commit"), ("zsh", "echo text > .commit"), ("busybox sh", "echo text > .commit"),
        ("fish", "echo text > .commit"), ("sh", "echo text | tee .commit >/dev/null"), ("sh", "cp $1 .commit"),
        ("sh", "mv $1 .commit"), ("sh", "dd if=$1 of=.commit"), ("sh", "rsync $1 .commit"), ("sh", "install $1 .commit"),
        ("sh", "gio copy $1 .commit"), ("sh", "gio move $1 .commit"), ("sh", "gio save .commit < $1"),
        ("sh", "printf '%%c\\ntext\\n.\\nwq\\ncq\\n' | VIM -Nu NONE -n -es .commit"),
        ("sh", "/usr/bin/python3 -c \"with open('.commit', 'w') as f: f.write('text')\""),
    ]

    def refusing(self, m, code, words):
        """Every way of writing is refused alike."""
        names = sorted(os.listdir(m.point))
        for shell, script in self.WAYS:
            tool = "vim" if "VIM" in script else script.split()[0]
            if not shutil.which(shell.split()[0]) or (tool in ("gio", "rsync") and not shutil.which(tool)) or \
                    (tool == "vim" and not vim()):
                continue
            with self.subTest(shell=shell, script=script):
                source = os.path.join(self.folder, "source")
                with open(source, "w") as f:
                    f.write("text\n")
                status, said = m.sh(script.replace("VIM", vim() or "vim"), source, shell=shell)
                self.assertNotEqual(status, 0, said)
                if tool != "vim" and shell != "dash":
                    self.assertNotEqual(said, "")
                self.assertEqual(m.archives(), [])
                self.assertEqual([n for n in sorted(os.listdir(m.point)) if not n.startswith(".goutputstream")],
                                 names)
        self.assertEqual(m.refusal(), code)
        for name in (".commit", ".status"):
            self.assertIn(words, m.read(name))

    def test_nothing_staged_is_enodata(self):
        self.refusing(self.mount(), "ENODATA", "nothing is staged")

    def test_only_litter_is_nothing_staged(self):
        m = self.mount()
        m.write(".DS_Store", "x")
        m.write("Thumbs.db", "x")
        self.assertEqual(m.refusal(), "ENODATA")

    def test_what_kio_leaves_when_it_was_refused_is_not_staged(self):
        m = self.mount()
        m.write(".commit.part", "words")
        os.unlink(m.path(".commit"))
        self.refused("ENODATA", os.rename, m.path(".commit.part"), m.path(".commit"))
        self.assertTrue(os.path.exists(m.path(".commit")), "it is back at once")
        self.assertTrue(os.path.exists(m.path(".commit.part")))
        self.assertEqual(m.refusal(), "ENODATA")

    def test_a_link_without_target_is_enoent(self):
        m = self.mount()
        os.symlink("/no/such/file", m.path("dangling"))
        m.write("file", "x")
        self.refusing(m, "ENOENT", "dangling")
        os.unlink(m.path("dangling"))
        m.commit()
        m.wait("stored")

    def test_a_file_open_for_writing_is_ebusy(self):
        m = self.mount()
        with open(m.write("held", "x"), "a"):
            start = time.monotonic()
            self.assertEqual(m.refusal(), "EBUSY")
            self.assertGreater(time.monotonic() - start, 0.9)
            self.assertIn("held", m.read(".commit"))
        m.commit()
        m.wait("stored")

    def test_a_file_that_closes_in_time_is_waited_for(self):
        m = self.mount()
        for _ in range(20):  # a busy machine may close it when the commit has waited long enough
            f = open(m.write("held", "x"), "a")
            closer = threading.Timer(0.2, f.close)
            closer.start()
            refused = m.refusal()
            closer.join()
            if refused is None:
                break
            self.assertEqual(refused, "EBUSY")
        self.assertIsNone(refused)
        m.wait("stored")

    def test_a_commit_that_waits_holds_up_nobody(self):
        m = self.mount()
        with open(m.write("held", "x"), "a"):
            for _ in range(20):  # a busy machine may take longer for the work than the commit waits
                refused = []
                waiting = threading.Thread(target=lambda: refused.append(m.refusal()))
                waiting.start()
                for k in range(10):
                    self.assertEqual(m.read(os.path.basename(m.write("f%d" % k, "text"))), "text")
                done_before = waiting.is_alive()
                waiting.join()
                self.assertEqual(len(refused), 1)
                if done_before:
                    return
        self.fail("nothing was done while a commit waited")

    def test_many_programs_at_once_are_all_answered(self):
        """More requests that take long than there are threads, and short ones between them."""
        m = self.mount()
        failed = []

        def use(k):
            try:
                for n in range(30):
                    p = m.path("f%d-%d" % (k, n))
                    fd = os.open(p, os.O_CREAT | os.O_RDWR)
                    os.write(fd, b"x" * 5000)
                    os.fsync(fd)
                    os.close(fd)
                    os.rename(p, p + "+")
                    self.assertEqual(os.stat(p + "+").st_size, 5000)
            except Exception as e:
                failed.append(e)

        threads = [threading.Thread(target=use, args=(k,)) for k in range(40)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(failed, [])
        self.assertEqual(len([n for n in os.listdir(m.point) if n.endswith("+")]), 1200)

    def test_an_unlinked_open_file_does_not_count(self):
        m = self.mount()
        m.write("other", "x")
        with open(m.write("held", "x"), "a"):
            os.unlink(m.path("held"))
            m.commit()
        m.wait("stored")

    def test_what_is_no_text_is_einval(self):
        m = self.mount()
        m.write("file", "x")
        for bad in (b"\xff\xfe", b"a\0b", b"\xc3\x28", b"\xed\xa0\x80", b"bad\xff", b"bad\xc0", b"bad\xf5"):
            self.assertEqual(m.refusal(bad), "EINVAL", bad)
        self.assertIn("UTF-8", m.read(".commit"))

    def test_too_long_is_efbig_and_exactly_full_is_not(self):
        m = self.mount()
        m.write("file", "x")
        self.assertEqual(m.refusal("a" * 1025), "EFBIG")
        self.assertIn("1024", m.read(".status"))
        m.commit("a" * 1023)
        m.wait("stored")

    def test_no_public_key_is_enokey(self):
        m = self.mount()
        m.write("file", "x")
        public = os.path.join(m.data, "keys", "public.pem")
        os.rename(public, public + ".away")
        self.refusing(m, "ENOKEY", public)
        os.rename(public + ".away", public)
        m.commit()
        m.wait("stored")

    def test_a_public_key_that_is_none_is_refused(self):
        m = self.mount()
        m.write("file", "x")
        public = os.path.join(m.data, "keys", "public.pem")
        with open(public, "w") as f:
            f.write("not a key\n")
        self.assertIn(m.refusal(), ("ENOKEY", "EINVAL"))
        self.assertIn(public, m.read(".commit"))

    def test_the_reason_is_gone_after_the_next_commit(self):
        m = self.mount()
        self.assertEqual(m.refusal(), "ENODATA")
        self.assertIn("last refusal", m.read(".commit"))
        m.write("file", "x")
        m.commit()
        self.assertNotIn("last refusal", m.read(".commit"))
        self.assertNotIn("last refusal", m.read(".status"))


class Names(MountCase):
    """Reserved names, and virtual files, take what makes sense and refuse the rest."""

    def test_reserved_names_cannot_be_made_or_moved(self):
        m = self.mount()
        m.write("file", "x")
        os.mkdir(m.path("dir"))
        for name in (".commit", ".status", "archives", "jobs", ".autoglacier"):
            p = m.path(name)
            with self.subTest(name=name):
                for fn in (os.mkdir, os.rmdir, os.mkfifo):
                    with self.assertRaises(OSError) as c:
                        fn(p)
                    self.assertIn(errno.errorcode[c.exception.errno], ("EPERM", "EEXIST", "ENOTDIR", "ENOENT", "EROFS", "ENOTEMPTY"))
                for fn, args in ((os.symlink, ("x", p)), (os.link, (m.path("file"), p)), (os.rename, (p, m.path("new")))):
                    with self.assertRaises(OSError) as c:
                        fn(*args)
                    self.assertIn(errno.errorcode[c.exception.errno], ("EPERM", "EEXIST", "ENOENT"))
                if name != ".commit":
                    with self.assertRaises(OSError):
                        os.rename(m.path("file"), p)
                with self.assertRaises(OSError):
                    os.rename(m.path("dir"), p)
        self.assertEqual(m.read("file"), "x")

    def test_archives_cannot_be_changed(self):
        m = self.mount()
        m.write("d/file", "x")
        m.commit()
        name = m.wait("stored")
        a = m.path("archives", name)
        for fn, args in ((os.mkdir, (a + "/new",)), (os.unlink, (a + "/state",)), (os.rmdir, (a,)),
                         (os.rename, (a, a + "x")), (open, (a + "/state", "w")), (open, (a + "/new", "w")),
                         (os.unlink, (a + "/files/d/file",)), (open, (a + "/files/d/file", "w")),
                         (os.chmod, (a + "/files/d/file", 0o600)), (os.truncate, (a + "/files/d/file", 0)),
                         (os.link, (a + "/state", m.path("state"))), (os.mkdir, (m.path("archives/x"),)),
                         (os.symlink, ("x", a + "/files/l"))):
            with self.subTest(fn=fn.__name__, args=args):
                with self.assertRaises(OSError) as c:
                    fn(*args)
                self.assertIn(errno.errorcode[c.exception.errno], ("EROFS", "EPERM", "EACCES", "EXDEV"))

    def test_modes_are_what_the_design_says(self):
        m = self.mount()
        m.write("file", "x")
        m.commit()
        name = m.wait("stored")
        modes = {".commit": 0o600, ".status": 0o400, "archives": 0o555, "jobs": 0o555, "archives/STATUS.txt": 0o444}
        modes.update({"archives/%s/%s" % (name, n): mode for n, mode in
                      ((".retry", 0o600), (".abort", 0o600), ("description", 0o444), ("files", 0o555))})
        for n, mode in modes.items():
            self.assertEqual(oct(os.stat(m.path(n)).st_mode & 0o7777), oct(mode), n)

    def test_trash_is_refused_so_that_file_managers_offer_to_delete(self):
        m = self.mount()
        for name in (".Trash-1000", ".Trash"):
            self.refused("EPERM", os.mkdir, m.path(name))
        m.write("file", "x")
        if shutil.which("gio"):
            r = subprocess.run(["gio", "trash", m.path("file")], env=m.environment(XDG_DATA_HOME=self.folder),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertNotIn(".Trash", " ".join(os.listdir(m.point)), r.stdout)

    def test_names_with_the_same_words_differ(self):
        m = self.mount()
        names = []
        for _ in range(4):
            m.write("file", "x")
            names.append(m.commit("same words"))
        self.assertEqual(len(set(names)), 4)
        for n in names:
            m.wait("stored", n)


if __name__ == "__main__":
    main()
