"""Archives from the command line: made, listed, looked into, compared, brought back, deleted."""
import base64
import hashlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from cli import PATIENCE, CliCase, Programs, main, until  # noqa: E402

LONG = bool(os.environ.get("AUTOGLACIER_LONG"))


class ArchiveCase(CliCase):
    def setUp(self):
        super().setUp()
        self.keys()
        self.write("src/a.txt", "hello\n")
        self.write("src/deep/er/b.bin", os.urandom(70000))
        self.write("src/empty")
        os.symlink("a.txt", self.path("src/link"))
        os.link(self.path("src/a.txt"), self.path("src/twin"))

    def inside(self, name):
        """A path as the archive has it."""
        return self.path(name)[1:]

    def objects(self):
        found = []
        for folder, _, files in os.walk(os.path.join(self.data, "store")):
            found += [os.path.join(folder, f) for f in files if f.endswith(".esdk")]
        return sorted(found)

    def volumes(self):
        return [p for p in self.objects() if "/archives/" in p]

    def same(self, a, b):
        r = subprocess.run(["diff", "-r", "--no-dereference", a, b], capture_output=True, text=True)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)


class Backup(ArchiveCase):
    def test_the_name_is_printed_and_names_the_archive(self):
        name = self.backup("src", message="Photos & documents")
        self.assertRegex(name, r"^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ_photos-documents$")
        self.assertEqual(json.loads(self.ag("show", "--json", name).out)["state"], "stored")

    def test_counts_are_in_the_right_number(self):
        one = self.write("one", "x")
        r = self.ag("backup", "-m", "words", one)
        self.assertIn("1 file,", r.err)
        self.assertIn("1 file ", self.ag("list").out)
        self.assertIn("1 file,", self.ag("show", "latest").out)
        self.assertIn("1 file,", self.ag("status").out)
        self.assertNotIn("1 files", self.ag("show", "latest").out)

    def test_nothing_of_the_source_is_touched(self):
        before = sorted((p, os.lstat(p).st_mtime_ns) for d, _, f in os.walk(self.path("src")) for p in
                        [d] + [os.path.join(d, x) for x in f])
        self.backup("src")
        after = sorted((p, os.lstat(p).st_mtime_ns) for d, _, f in os.walk(self.path("src")) for p in
                       [d] + [os.path.join(d, x) for x in f])
        self.assertEqual(before, after)

    def test_globs_find_what_the_seed_found(self):
        for n in ("1.jpg", "2.jpg", "3.txt", ".4.jpg", "sub/5.jpg"):
            self.write("photos/" + n, n)
        self.ag("backup", "-m", "words", "--glob", "photos/*.jpg", "-g", "photos/**/5.*", "src/a.txt")
        self.assertEqual(self.ag("files", "latest").out.splitlines(),
                         sorted(self.inside(n) for n in ("photos/1.jpg", "photos/2.jpg", "photos/sub/5.jpg", "src/a.txt")))

    def test_a_tilde_in_a_quoted_glob_is_the_home_folder(self):
        self.write("photos/1.jpg", "x")
        self.ag("backup", "-m", "words", "--glob", "~/photos/*")
        self.assertEqual(self.ag("files", "latest").out, self.inside("photos/1.jpg") + "\n")

    def test_a_glob_without_a_match_is_a_warning(self):
        self.ag("backup", "-m", "words", "--glob", "*.nothing", "src", status=3, say="nothing matches the pattern *.nothing")

    def test_nothing_at_all_is_an_error(self):
        self.ag("backup", "-m", "words", "--glob", "*.nothing", status=1, say="nothing matches")
        self.ag("backup", "-m", "words", status=2, say="name files")
        self.assertEqual(self.ag("list").out, "")

    def test_a_missing_file_is_named_and_nothing_is_archived(self):
        self.ag("backup", "-m", "words", "src", "not-there", status=1, say="not-there: No such file or directory")
        self.assertEqual(self.ag("list").out, "")

    def test_a_description_is_needed_and_not_too_long(self):
        self.ag("backup", "src", status=2, say="say what it is")
        self.ag("backup", "-m", "", "src", status=2, say="say what it is")
        self.ag("backup", "-m", " \t\n", "src", status=1, say="needs a description")
        self.ag("backup", "-m", b"\xff\xfe", "src", status=1, say="not UTF-8")
        self.ag("backup", "-m", "x" * 1025, "src", status=1, say="1,024")
        self.ag("backup", "-m", "é" * 512, "src")

    def test_a_link_named_stays_a_link_and_with_a_slash_is_what_it_leads_to(self):
        os.symlink("src", self.path("door"))
        self.ag("backup", "-m", "words", "door", status=3)
        self.assertIn("1 symbolic link leads outside", self.ag("show", "--log", "latest").out)
        self.assertEqual(self.ag("files", "latest").out, self.inside("door") + "\n")
        self.ag("backup", "-m", "words", "door/")
        self.assertIn(self.inside("src/deep/er/b.bin"), self.ag("files", "latest").out.splitlines())

    def test_the_folder_one_is_in_can_be_named_with_a_dot(self):
        shutil.rmtree(self.home)
        self.home = os.path.join(os.path.dirname(self.folder), os.path.basename(self.folder) + "-home")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        os.mkdir(self.home, 0o700)
        self.ag("backup", "-m", "words", ".")
        self.assertIn(self.inside("src/a.txt"), self.ag("files", "latest").out.splitlines())

    def test_what_cannot_be_read_is_a_warning_with_status_3(self):
        if os.geteuid() == 0:
            self.skipTest("root reads everything")
        self.write("src/secret", "x", mode=0)
        self.ag("backup", "-m", "words", "src", status=3)
        self.assertIn("secret", self.ag("show", "--log", "latest").out)

    def test_a_disk_image_whose_holes_are_filled_while_it_is_read_is_a_file_that_changes(self):
        image = self.write("image")
        size, piece = 64 << 20, 1 << 20
        fd, over = os.open(image, os.O_RDWR), threading.Event()
        self.addCleanup(os.close, fd)
        os.truncate(image, size)
        for at in range(0, size, 8 * piece):
            os.pwrite(fd, os.urandom(piece), at)

        def fill():
            rng = random.Random(1)
            while not over.is_set():
                os.pwrite(fd, b"x" * 4096, rng.randrange(size >> 12) << 12)
                time.sleep(0.0002)
        writer = threading.Thread(target=fill)
        writer.start()
        try:
            self.ag("backup", "-m", "words", image, status=3)
        finally:
            over.set()
            writer.join()
        log = self.ag("show", "latest", "--log").out
        self.assertIn("image kept changing while it was read; it is archived as it was read last", log)
        self.assertNotIn("begun again", log)
        self.ag("verify", "--data")
        self.ag("restore", "latest", "--to", "out")
        self.assertEqual(os.stat(self.path("out") + image).st_size, size)

    def test_detached_it_is_queued_with_status_4_and_the_next_program_does_it(self):
        name = self.ag("backup", "--detach", "-m", "later", "src", status=4).out.strip()
        self.assertEqual(json.loads(self.ag("show", "--json", name).out)["state"], "queued")
        self.assertIn("no program is working on it", self.ag("status").out)

    def test_a_store_that_is_away_leaves_it_waiting_with_status_4(self):
        store = self.path("disk")
        self.config(json.dumps({"VAULT": "dir:" + store}))
        self.ag("init")
        os.rename(store, store + ".away")
        self.ag("backup", "-m", "words", "src", status=4, say="it waits: ")
        self.assertIn("waiting", self.ag("list").out)
        self.assertIn("waits for", self.ag("status").out)
        self.assertFalse(os.path.exists(store))

    def test_a_store_that_was_never_there_is_an_error_that_says_what_to_do(self):
        self.config(json.dumps({"VAULT": "dir:" + self.path("no/such/disk")}))
        r = self.ag("backup", "-m", "words", "src", status=4)
        self.assertIn("autoglacier init", r.err)

    def test_a_missing_public_key_is_an_error(self):
        self.config(json.dumps({"PUBL_RSA_KEY_PATH": self.path("no/public.pem")}))
        self.ag("backup", "-m", "words", "src", status=1, say=self.path("no/public.pem"))

    def test_sigint_leaves_it_to_be_taken_up_again(self):
        self.config('{"COMPRESSION": "bzip2", "COMPRESSION_WORKERS": 1}')
        self.write("big", os.urandom(40000000).hex())
        p = subprocess.Popen([Programs.cli, "backup", "-m", "words", "big"], cwd=self.folder, env=self.environment(),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seen = {}

        def is_counted():
            """Read so far, and how much there is."""
            for job in json.loads(self.ag("status", "--json").out)["jobs"]:
                seen.update(job)
            return seen.get("todo_bytes") or p.poll() is not None

        until(is_counted, "gathering")
        p.send_signal(2)
        _, err = p.communicate(timeout=PATIENCE)
        if p.returncode == 0:
            self.skipTest("this machine was quicker than the signal")
        self.assertEqual(p.returncode, 4, err)
        self.assertIn("goes on", err)
        self.assertEqual((seen["state"], seen["todo_bytes"]), ("gathering", 80000000))


class GoingOn(ArchiveCase):
    def states(self):
        return [a["state"] for a in json.loads(self.ag("list", "--json").out)["archives"]]

    def test_the_next_backup_does_what_was_left(self):
        self.ag("backup", "--detach", "-m", "left", "src", status=4)
        r = self.ag("backup", "-m", "mine", "src/a.txt", say="1 other archive that no program works on")
        self.assertIn("_mine", r.out)
        self.assertEqual(self.states(), ["stored", "stored"])

    def test_what_is_killed_at_any_moment_is_ended_by_the_next_program(self):
        """kill -9 at random moments; each program also finds what those before it left."""
        self.config('{"COMPRESSION": "gzip", "VOLUME_SIZE": "16MiB"}')
        for n in range(3):
            self.write("src/noise%d" % n, os.urandom(2_000_000))
        began = time.monotonic()
        self.backup("src")
        whole = time.monotonic() - began
        dice, n, k = random.Random(20), 1, 0
        while k < (200 if LONG else 20) or n < 2:
            k += 1
            if k % 5 == 0 and n == (n := len(self.states())):  # the machine was quicker when it was measured
                whole *= 2
            p = subprocess.Popen([Programs.cli, "backup", "-m", "round %d" % k, "src"], cwd=self.folder, env=self.environment(),
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(dice.uniform(0, 1.1 * whole))
            p.kill()
            self.assertIn(p.wait(), (0, -9), "it ended by itself, and not well")
        for name in ("20200101T000000Z-00000000.list", "20200101T000000Z-00000001.list.new"):  # killed before there was a row
            self.write("home/data/spool/" + name, "/nowhere\0")
        self.backup("src/a.txt")
        archives = json.loads(self.ag("list", "--json").out)["archives"]
        self.assertEqual({a["state"] for a in archives}, {"stored"}, archives)
        self.assertGreater(len(archives), 2)
        self.ag("verify", "--data")
        for a in archives[:-1]:
            self.ag("restore", a["id"], "--to", "back")
            self.same(self.path("back") + self.path("src"), self.path("src"))
            shutil.rmtree(self.path("back"))
        self.assertEqual({os.path.basename(v).rsplit("-", 1)[0] for v in self.volumes()}, {a["id"] for a in archives})
        self.assertEqual(os.listdir(self.path("home/data/spool")), [])

    def test_retry_goes_on_when_the_store_is_back(self):
        store = self.path("disk")
        self.config(json.dumps({"VAULT": "dir:" + store}))
        self.ag("init")
        os.rename(store, store + ".away")
        self.ag("backup", "-m", "words", "src", status=4)
        self.ag("retry", "latest", status=4, say="it waits")
        os.rename(store + ".away", store)
        self.ag("retry", "latest")
        self.assertEqual(self.states(), ["stored"])
        self.ag("verify", "--data")

    def test_a_store_that_may_not_be_written_is_waited_for(self):
        if os.geteuid() == 0:
            self.skipTest("root writes everywhere")
        store = self.path("disk")
        self.config(json.dumps({"VAULT": "dir:" + store}))
        self.backup_to(store)
        for folder, _, _ in os.walk(store):
            os.chmod(folder, 0o555)
        self.addCleanup(subprocess.run, ["chmod", "-R", "u+w", store])
        r = self.ag("backup", "-m", "words", "src", status=4, say="it waits")
        self.assertIn("Permission denied", r.err)
        self.assertIn("waiting", self.states())
        self.ag("retry", "latest", status=4, say="Permission denied")
        subprocess.run(["chmod", "-R", "u+w", store], check=True)
        self.ag("retry", "latest")
        self.assertEqual(self.states(), ["stored", "stored"])
        self.ag("verify", "--data")

    def backup_to(self, store):
        """A first one, so that all folders are there."""
        self.ag("init")
        self.backup("src")
        self.assertTrue(os.listdir(store))

    def test_retry_does_what_was_queued(self):
        self.ag("backup", "--detach", "-m", "left", "src", status=4)
        self.ag("retry", "latest")
        self.assertEqual(self.states(), ["stored"])

    def test_abort_forgets_what_is_not_stored_and_nothing_else(self):
        self.ag("backup", "--detach", "-m", "left", "src", status=4)
        self.ag("abort", "latest")
        self.assertEqual(self.states(), [])
        self.backup("src")
        self.ag("abort", "latest", status=1, say="is stored already")
        self.assertEqual(self.states(), ["stored"])

    def test_while_one_has_failed_status_is_3_and_says_what_to_do(self):
        hook = self.write("hook", "#!/bin/sh\necho no luck >&2; exit 7\n", 0o755)
        self.write("home/jobs/bad.json", json.dumps({"files": [self.path("src")], "gather_hook": hook}))
        self.ag("run", "bad", status=1, say="hook")
        self.assertEqual(self.states(), ["failed"])
        out = self.ag("status", status=3).out
        self.assertIn("failed", out)
        self.assertIn("autoglacier retry", out)
        self.assertTrue(json.loads(self.ag("status", "--json", status=3).out)["failed"])
        self.ag("abort", "latest")
        self.ag("status")


class Looking(ArchiveCase):
    def test_before_the_first_archive_nothing_is_made(self):
        shutil.rmtree(self.data)
        self.assertIn("Nothing is being archived.", self.ag("status").out)
        self.assertIn("NOT YET A BACKUP", json.loads(self.ag("status", "--json").out)["not_yet"])
        self.ag("list", say="nothing has been archived")
        self.assertEqual(json.loads(self.ag("list", "--json").out), {"version": 1, "archives": []})
        for words in (["show", "latest"], ["files", "latest"], ["restore", "latest"], ["find", "x"], ["verify"],
                      ["stored", "src"], ["delete", "latest"]):
            self.ag(*words, status=1, say="nothing has been archived")
        self.assertFalse(os.path.exists(self.data))

    def test_an_archive_is_known_by_name_id_latest_beginnings_and_path(self):
        first = self.backup("src", message="first")
        second = self.backup("src", message="second")
        facts = json.loads(self.ag("show", "--json", second).out)
        for word in (second, facts["id"], "latest", second[:-2], facts["id"][:-1], "archives/" + second + "/"):
            self.assertEqual(json.loads(self.ag("show", "--json", word).out)["name"], second)
        both = os.path.commonprefix([first, second])  # not always one year and month
        self.ag("show", both, status=1, say="the beginning of several archives")
        self.ag("show", "zzz", status=1, say="no archive whose name or id begins with zzz")
        self.ag("show", "", status=1)

    def test_list_has_a_line_each_oldest_first(self):
        names = [self.backup("src", message=m) for m in ("first", "second", "third")]
        self.assertEqual([line.split()[0] for line in self.ag("list").out.splitlines()], names)
        listed = json.loads(self.ag("list", "--json").out)
        self.assertEqual([a["name"] for a in listed["archives"]], names)
        self.assertEqual(listed["version"], 1)

    def test_show_tells_everything(self):
        name = self.backup("src", message="Größe & <tags>")
        out = self.ag("show", name).out
        for part in (name, "Größe & <tags>", "stored", "3 files", "1 symlink", "1 hard link", "lzma", "dir:"):
            self.assertIn(part, out)
        facts = json.loads(self.ag("show", "--json", name).out)
        self.assertEqual((facts["files"], facts["symlinks"], facts["hardlinks"]), (3, 1, 1))
        self.assertIs(facts["storage_class"], None)  # a folder has none
        self.assertEqual([os.path.join(self.data, "store", v["object"]) for v in facts["volumes"]], self.volumes())

    def test_sums_satisfy_sha512sum(self):
        self.backup("src")
        sums = self.write("SUMS", self.ag("show", "--sums", "latest").out)
        r = subprocess.run(["sha512sum", "-c", "--strict", sums], cwd="/", capture_output=True, text=True)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        self.assertEqual(len(r.stdout.splitlines()), 4)

    def test_files_lists_paths_and_takes_a_pattern(self):
        self.backup("src")
        self.assertEqual(self.ag("files", "latest").out.splitlines(), sorted(
            self.inside(n) for n in ("src", "src/a.txt", "src/deep", "src/deep/er", "src/deep/er/b.bin", "src/empty",
                                     "src/link", "src/twin")))
        self.assertEqual(self.ag("files", "latest", "*.bin").out, self.inside("src/deep/er/b.bin") + "\n")
        self.assertEqual(self.ag("files", "latest", "b.bin").out, self.inside("src/deep/er/b.bin") + "\n")
        self.ag("files", "latest", "*.nothing", status=1, say="nothing in")

    def test_files_long_tells_mode_size_and_target(self):
        os.chmod(self.path("src/a.txt"), 0o4751)
        self.backup("src")
        out = self.ag("files", "-l", "latest").out
        self.assertRegex(out, r"(?m)^-rwsr-x--x +%d +%d +6 \S+Z \S+/a.txt$" % (os.geteuid(), os.getegid()))
        self.assertRegex(out, r"(?m)^lrwxrwxrwx .*/link -> a.txt$")
        self.assertRegex(out, r"(?m)/twin = \S+/a.txt$")

    def test_odd_names_come_out_as_they_are(self):
        odd = b"new\nline \xff\xfe \x1b[31m"
        with open(os.path.join(self.folder.encode(), b"src", odd), "wb") as f:
            f.write(b"x")
        self.backup("src")
        r = subprocess.run([Programs.cli, "files", "--null", "latest"], env=self.environment(), stdout=subprocess.PIPE)
        path = self.path("src").encode()[1:] + b"/" + odd
        self.assertIn(path, r.stdout.split(b"\0"))
        r = subprocess.run([Programs.cli, "find", "-0", "*line*"], env=self.environment(), stdout=subprocess.PIPE)
        self.assertEqual([line[-len(path):] for line in r.stdout.split(b"\0")], [path, b""])
        with open(os.path.join(self.folder.encode(), b"src", odd), "ab") as f:
            f.write(b"not stored")
        r = subprocess.run([Programs.cli, "stored", "-q0", self.path("src")], env=self.environment(), stdout=subprocess.PIPE)
        self.assertEqual(r.stdout, b"/" + path + b"\0")
        for words in (["files", "--json", "latest"], ["find", "--json", "*"]):
            lines = [json.loads(line) for line in self.ag(*words).out.splitlines()]
            [one] = [m for m in lines if "path_base64" in m]
            self.assertEqual((base64.b64decode(one["path_base64"]), one["path"]), (path, path.decode(errors="replace")))

    def test_json_of_files_tells_what_there_is(self):
        name = self.backup("src")
        info = json.loads(self.ag("show", "--json", name).out)
        members = {m["path"]: m for m in map(json.loads, self.ag("files", "--json", name).out.splitlines())}
        self.assertEqual(sorted(members), sorted(self.ag("files", name).out.splitlines()))
        one = members[self.path("src/a.txt")[1:]]
        st = os.stat(self.path("src/a.txt"))
        with open(self.path("src/a.txt"), "rb") as f:
            digest = hashlib.sha512(f.read()).hexdigest()
        self.assertEqual((one["archive"], one["type"], one["mode"], one["uid"], one["size"], one["sha512"]),
                         (info["id"], "f", "%04o" % (st.st_mode & 0o7777), st.st_uid, st.st_size, digest))
        self.assertRegex(one["mtime"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$")
        self.assertTrue(one["mtime"].endswith("%09dZ" % (st.st_mtime_ns % 10**9)))
        [link] = [m for m in members.values() if m["type"] == "l"]
        self.assertEqual((link["link"], "sha512" in link), ("a.txt", False))
        [found] = [json.loads(line) for line in self.ag("find", "--json", "a.txt").out.splitlines()]
        self.assertEqual(found, dict(one, name=name))

    def test_a_terminal_is_not_written_on_by_names(self):
        with open(os.path.join(self.folder.encode(), b"src", b"\x1b]0;owned\x07"), "wb") as f:
            f.write(b"x")
        self.backup("src")
        for words in (["files", "latest"], ["files", "-l", "latest"], ["find", "*owned*"], ["restore", "-n", "latest"]):
            self.assertNotIn("\x1b]0;", self.on_terminal(*words))

    def test_find_names_archive_and_version(self):
        first = self.backup("src", message="first")
        self.write("src/a.txt", "longer than before\n")
        second = self.backup("src", message="second")
        lines = self.ag("find", "a.txt").out.splitlines()
        self.assertEqual([(line.split()[0], line.split()[1]) for line in lines], [(first, "6"), (second, "19")])
        self.ag("find", "nothing-like-it", status=1, say="no archive holds")

    def test_status_json_is_what_its_page_says(self):
        name = self.backup("src")
        s = json.loads(self.ag("status", "--json").out)
        self.assertEqual((s["version"], s["backup"], s["failed"], s["jobs"]), (1, False, False, []))
        self.assertIn("NOT YET A BACKUP", s["not_yet"])
        self.assertEqual(s["last_stored"]["name"], name)

    def test_status_begins_with_not_yet_a_backup(self):
        self.backup("src")
        self.assertTrue(self.ag("status").out.startswith("NOT YET A BACKUP: "))

    def test_watching_ends_when_nothing_goes_on(self):
        self.backup("src")
        self.assertIn("Nothing is being archived.", self.ag("status", "--watch").out)


class Stored(ArchiveCase):
    def test_all_content_that_is_stored_is_status_0(self):
        self.backup("src")
        shutil.copy(self.path("src/a.txt"), self.path("elsewhere"))
        r = self.ag("stored", "src", "elsewhere", say="NOT YET A BACKUP")
        self.assertIn("elsewhere", r.out)
        self.assertNotIn("NOT STORED", r.out)

    def test_one_file_that_is_not_makes_status_1_and_is_named(self):
        self.backup("src")
        self.write("src/new", "never seen")
        r = self.ag("stored", "src", status=1, say="1 is not")
        self.assertIn("src/new  NOT STORED", r.out)
        self.assertEqual(self.ag("stored", "-q", "src", status=1).out, "src/new\n")

    def test_what_is_only_queued_is_not_stored(self):
        self.ag("backup", "--detach", "-m", "later", "src", status=4)
        self.ag("stored", "src/a.txt", status=1)

    def test_what_cannot_be_read_is_an_error(self):
        self.backup("src")
        self.ag("stored", "not-there", status=1, say="not-there")

    def test_the_others_are_looked_at_where_one_cannot_be_read(self):
        self.backup("src")
        r = self.ag("stored", "not-there", "src/a.txt", status=1, say="1 could not be read")
        self.assertIn("src/a.txt  ", r.out)

    def test_json_tells_each_file(self):
        name = self.backup("src")
        with open(os.fsencode(self.path("src")) + b"/new\xff", "w") as f:
            f.write("never seen")
        r = self.ag("stored", "--json", "src", "not-there", status=1)
        told = {o["path"]: o for o in map(json.loads, r.out.splitlines())}
        self.assertEqual(told["src/a.txt"]["name"], name)
        self.assertEqual(told["src/a.txt"]["archive"], json.loads(self.ag("show", "--json", name).out)["id"])
        self.assertTrue(told["src/a.txt"]["as"].endswith("/src/a.txt"))
        self.assertIs(told["src/a.txt"]["stored"], True)
        self.assertIs(told["src/new\ufffd"]["stored"], False)
        self.assertEqual(base64.b64decode(told["src/new\ufffd"]["path_base64"]), b"src/new\xff")
        self.assertIs(told["not-there"]["stored"], None)
        self.assertIn("No such file", told["not-there"]["error"])

    def test_a_name_moves_no_cursor(self):
        self.write("odd/a\n\x1b[31m", "text")
        os.symlink("x", self.path("odd/l\n\x1b[31m"))
        name = self.backup("odd")
        for words, status in ((["stored", "odd"], 0), (["show", "\x1b[31m"], 1), (["restore", name, "\x1b[31m"], 1),
                              (["delete", name], 1), (["list", "\x1b[31m"], 2)):
            r = self.ag(*words, status=status)
            self.assertNotIn("\x1b", r.err)
            self.assertIn("?[31m", r.err)

    def test_where_nothing_was_compared_nothing_may_be_deleted(self):
        self.backup("src")
        os.mkdir(self.path("none"))
        self.ag("stored", "none", status=1, say="0 files are stored")
        os.symlink("a.txt", self.path("none/link"))
        self.ag("stored", "none/link", status=1, say="is not a file")

    def test_the_content_counts_and_not_the_name(self):
        self.backup("src")
        self.write("src/a.txt", "hellp\n")
        self.ag("stored", "src/a.txt", status=1)


class Restore(ArchiveCase):
    def test_all_comes_back_into_a_folder_of_the_archives_name(self):
        name = self.backup("src")
        self.assertEqual(self.ag("restore", name, say="restored 3 files").out, name + "\n")
        self.same(self.path("src"), self.path(name) + self.path("src"))
        self.assertTrue(os.path.samefile(self.path(name) + self.path("src/a.txt"), self.path(name) + self.path("src/twin")))

    def test_single_paths_come_back_with_or_without_a_slash_before(self):
        self.backup("src")
        for i, word in enumerate((self.path("src/deep"), self.inside("src/deep"), self.inside("src/deep") + "/")):
            to = "out%d" % i
            self.ag("restore", "latest", word, "--to", to)
            self.same(self.path("src/deep"), self.path(to) + self.path("src/deep"))
            self.assertFalse(os.path.exists(self.path(to) + self.path("src/a.txt")))

    def test_a_path_that_is_not_there_is_named_and_nothing_is_written(self):
        self.backup("src")
        self.ag("restore", "latest", "src/a.txt", "--to", "out", status=1, say="src/a.txt is not in archive")
        self.assertFalse(os.path.exists(self.path("out")))

    def test_what_is_there_is_kept_unless_overwriting_is_wanted(self):
        self.backup("src")
        self.ag("restore", "latest", "--to", "out")
        changed = self.path("out") + self.path("src/a.txt")
        with open(changed, "w") as f:
            f.write("mine")
        self.ag("restore", "latest", "--to", "out", status=1, say="--overwrite")
        with open(changed) as f:
            self.assertEqual(f.read(), "mine")
        self.ag("restore", "latest", "--to", "out", "--overwrite")
        self.same(self.path("src"), self.path("out") + self.path("src"))

    def test_a_dry_run_lists_and_writes_nothing(self):
        self.backup("src")
        before = sorted(os.listdir(self.folder))
        r = self.ag("restore", "--dry-run", "latest", self.path("src/deep"))
        names, quote = r.out.split("\n\n")
        self.assertIn(": 1 file, ", quote)
        self.assertEqual(names.splitlines(), [self.inside(n) for n in ("src/deep", "src/deep/er", "src/deep/er/b.bin")])
        self.assertIn("it costs nothing", quote)
        self.assertIn(" of 1 object\n", quote)  # a folder thaws nothing
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def test_modes_times_and_holes_come_back(self):
        with open(self.path("src/holes"), "wb") as f:
            f.seek(5000000)
            f.write(b"end")
        os.chmod(self.path("src/a.txt"), 0o640)
        os.utime(self.path("src/a.txt"), ns=(1, 1234567890123456789))
        self.backup("src")
        self.ag("restore", "latest", "--to", "out")
        back = os.lstat(self.path("out") + self.path("src/a.txt"))
        self.assertEqual((stat.S_IMODE(back.st_mode), back.st_mtime_ns), (0o640, 1234567890123456789))
        self.assertLess(os.lstat(self.path("out") + self.path("src/holes")).st_blocks * 512, 1000000)

    def test_damage_is_found_and_no_damaged_file_gets_its_name(self):
        self.config('{"COMPRESSION": "none"}')
        self.backup("src")
        path = self.volumes()[0]
        with open(path, "r+b") as f:
            f.seek(os.path.getsize(path) // 2)
            byte = f.read(1)
            f.seek(-1, 1)
            f.write(bytes([byte[0] ^ 1]))
        r = self.ag("restore", "latest", "--to", "out", status=1)
        self.assertIn(os.path.basename(path), r.err)
        self.assertFalse(os.path.exists(self.path("out") + self.path("src/deep/er/b.bin")))

    def test_without_the_private_key_it_says_where_it_was_looked_for(self):
        self.backup("src")
        os.rename(self.private, self.path("stick.pem"))
        self.ag("restore", "latest", "--to", "out", status=1, say=self.private)
        self.ag("restore", "latest", "--to", "out", "--key", "stick.pem")
        self.same(self.path("src"), self.path("out") + self.path("src"))

    def test_a_store_that_is_away_is_named(self):
        self.backup("src")
        os.rename(os.path.join(self.data, "store"), self.path("away"))
        self.ag("restore", "latest", "--to", "out", status=1, say=os.path.join(self.data, "store"))

    def test_what_is_not_stored_cannot_be_restored(self):
        self.ag("backup", "--detach", "-m", "later", "src", status=4)
        self.ag("restore", "latest", status=1, say="is not stored: it is queued")

    def test_every_compression_comes_back(self):
        for kind in ("lzma", "gzip", "bzip2", "zstd", "none"):
            self.config('{"COMPRESSION": "%s"}' % kind)
            name = self.backup("src", message=kind)
            self.ag("restore", name)
            self.same(self.path("src"), self.path(name) + self.path("src"))


class Verify(ArchiveCase):
    def flip(self, path):
        with open(path, "r+b") as f:
            f.seek(os.path.getsize(path) // 2)
            byte = f.read(1)
            f.seek(-1, 1)
            f.write(bytes([byte[0] ^ 0x10]))

    def test_whole_archives_are_found_whole(self):
        one, two = self.backup("src", message="one"), self.backup("src", message="two")
        r = self.ag("verify", say="2 archives, 0 damaged, 0 could not be checked")
        self.assertIn(one, r.out)
        self.assertIn(two, r.out)
        self.assertIn("every file is as it was archived", self.ag("verify", "--data", two).out)

    def test_one_archive_is_said_to_be_one(self):
        self.backup("src")
        self.assertNotIn("archives", self.ag("verify").err)

    def test_a_flipped_bit_is_found_and_the_others_are_still_checked(self):
        one, two = self.backup("src", message="one"), self.backup("src", message="two")
        held = json.loads(self.ag("show", one, "--json").out)["volumes"]
        self.flip(os.path.join(self.data, "store", held[0]["object"]))
        for words in (["verify"], ["verify", "--data"]):
            r = self.ag(*words, status=1, say="1 damaged")
            self.assertIn(two, r.out)
        self.ag("verify", one, status=1)
        self.ag("verify", two)

    def test_a_cut_and_a_missing_volume_are_found(self):
        self.backup("src")
        path = self.volumes()[0]
        os.truncate(path, os.path.getsize(path) - 1)
        self.ag("verify", status=1)
        os.unlink(path)
        r = self.ag("verify", status=1)
        self.assertIn(os.path.basename(path), r.out)

    def test_json_tells_each_archive_and_what_is_wrong(self):
        one, two = self.backup("src", message="one"), self.backup("src", message="two")
        told = [json.loads(line) for line in self.ag("verify", "--json").out.splitlines()]
        self.assertEqual([(o["name"], o["result"], o["damage"]) for o in told], [(one, "good", []), (two, "good", [])])
        held = json.loads(self.ag("show", one, "--json").out)["volumes"]
        self.flip(os.path.join(self.data, "store", held[0]["object"]))
        for words in ([], ["--data"]):
            told = [json.loads(line) for line in self.ag("verify", "--json", *words, status=1).out.splitlines()]
            self.assertEqual([(o["name"], o["result"]) for o in told], [(one, "damaged"), (two, "good")])
            self.assertIn(held[0]["object"], [d["object"] for d in told[0]["damage"]])
        at = [p for p in self.objects() if "/manifests/" in p and json.loads(self.ag("show", two, "--json").out)["id"] in p]
        os.unlink(at[0])
        told = json.loads(self.ag("verify", "--json", "--repair", two).out)
        self.assertEqual((told["result"], told["repaired"]), ("good", True))

    def test_without_an_archive_there_is_nothing_to_verify(self):
        self.ag("init")
        self.ag("verify", say="no archive is stored yet")

    def test_a_copy_of_the_key_is_proven_and_the_key_itself_is_no_copy(self):
        self.ag("verify", "--key", self.private, status=1, say="takes the copy")
        copy = shutil.copy(self.private, self.path("copy.pem"))
        self.assertIn("copy of the private key has been proven", self.ag("status").out)
        self.assertIn("other half of", self.ag("verify", "--key", copy).out)
        self.assertNotIn("private key", self.ag("status").out)
        name = self.backup("src")
        self.assertIn(name, self.ag("verify", "--key", copy).out)

    def test_a_key_is_proven_while_the_store_is_away(self):
        copy = shutil.copy(self.private, self.path("copy.pem"))
        self.ag("genkeys", "--bits", "2048", "other.pem", "other.pub")
        name = self.backup("src")
        os.rename(os.path.join(self.data, "store"), self.path("away"))
        self.ag("verify", "--key", "other.pem", status=1, say="does not open archive")
        self.assertIn("copy of the private key has been proven", self.ag("status").out)
        r = self.ag("verify", "--key", copy, say="is not there")
        self.assertIn("is the one that archive %s was sealed for" % name, r.out)
        self.assertNotIn("private key", self.ag("status").out)

    def test_another_key_is_refused(self):
        self.ag("genkeys", "--bits", "2048", "other.pem", "other.pub")
        self.ag("verify", "--key", "other.pem", status=1, say="not the other half")
        self.backup("src")
        self.ag("verify", "--key", "other.pem", status=1, say="does not open archive")
        self.ag("verify", "--key", "nowhere.pem", status=1, say="nowhere.pem")
        self.assertIn("No copy" if "same disk" not in self.ag("status").out else "no copy", self.ag("status").out)


class Decrypt(ArchiveCase):
    def listing(self, packed):
        r = subprocess.run(["tar", "-tf", packed], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(r.returncode, 0, r.stderr)
        return r.stdout

    def test_volumes_become_a_tar_file_without_any_set_up(self):
        self.backup("src")
        volume = shutil.copy(self.volumes()[0], self.folder)
        key = shutil.copy(self.private, self.path("k.pem"))
        shutil.rmtree(self.home)
        os.mkdir(self.home)
        self.ag("decrypt", "--key", key, "-o", "out.tar.xz", volume)
        self.assertIn(self.inside("src/a.txt"), self.listing("out.tar.xz"))
        self.assertEqual(os.listdir(self.home), [])
        self.assertEqual(stat.S_IMODE(os.stat(self.path("out.tar.xz")).st_mode), 0o600)

    def test_the_name_follows_from_the_first_volume(self):
        self.backup("src")
        out = self.ag("decrypt", "--key", self.private, self.volumes()[0]).out.strip()
        self.assertEqual(out, os.path.basename(self.volumes()[0]).replace("-0001", "").replace(".esdk", ""))
        self.listing(out)

    def test_several_volumes_are_joined_in_order_only(self):
        self.config('{"COMPRESSION": "zstd", "VOLUME_SIZE": "64MiB"}')
        with open(self.path("src/big"), "wb") as f:
            for _ in range(80):
                f.write(os.urandom(1 << 20))
        self.backup("src")
        one, two = self.volumes()
        self.ag("decrypt", "--key", self.private, "-o", "no.tar.zst", two, one, status=1, say="volume")
        self.assertFalse(os.path.exists(self.path("no.tar.zst")))
        self.ag("decrypt", "--key", self.private, "-o", "yes.tar.zst", one, two)
        self.assertIn(self.inside("src/big"), self.listing("yes.tar.zst"))

    def test_nothing_is_overwritten(self):
        self.backup("src")
        self.write("out.tar.xz", "mine")
        self.ag("decrypt", "--key", self.private, "-o", "out.tar.xz", self.volumes()[0], status=1, say="is there already")
        self.assertEqual(self.read("out.tar.xz"), b"mine")

    def test_damage_leaves_no_file(self):
        self.backup("src")
        path = self.volumes()[0]
        with open(path, "r+b") as f:
            f.seek(os.path.getsize(path) - 30)
            f.write(b"spoiled by a test")
        before = sorted(os.listdir(self.folder))
        self.ag("decrypt", "--key", self.private, "-o", "out", path, status=1)
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def test_the_key_must_be_named_and_be_the_right_one(self):
        self.backup("src")
        self.ag("decrypt", self.volumes()[0], status=2, say="--key")
        self.ag("genkeys", "--bits", "2048", "other.pem", "other.pub")
        self.ag("decrypt", "--key", "other.pem", "-o", "out", self.volumes()[0], status=1, say="fingerprint")
        self.ag("decrypt", "--key", self.private, "-o", "out", "not-there", status=1, say="not-there")
        self.ag("decrypt", "--key", self.private, "-o", "out", self.path("src/a.txt"), status=1)


class Delete(ArchiveCase):
    def test_it_asks_and_without_a_terminal_it_deletes_nothing(self):
        name = self.backup("src")
        self.ag("delete", name, status=1, say="say --yes")
        self.assertEqual(len(self.volumes()), 1)
        self.on_terminal("delete", name, answers=[("It cannot be brought back", "no")], status=1)
        self.assertEqual(len(self.volumes()), 1)
        self.on_terminal("delete", name, answers=[("It cannot be brought back", "yes")])
        self.assertEqual(self.objects(), [])

    def test_nothing_of_it_stays_and_others_stay(self):
        one, two = self.backup("src", message="one"), self.backup("src/a.txt", message="two")
        self.ag("delete", "--yes", one)
        self.assertEqual([line.split()[0] for line in self.ag("list").out.splitlines()], [two])
        self.assertEqual(len(self.objects()), 2)
        self.ag("verify")
        self.ag("restore", two)
        self.ag("restore", one, status=1, say="it is deleted")
        self.assertNotIn(one, self.ag("find", "*").out)
        self.ag("stored", "src/deep", status=1)
        self.ag("stored", "src/a.txt")

    def test_it_can_be_repeated_after_the_store_failed(self):
        name = self.backup("src")
        os.rename(os.path.join(self.data, "store"), self.path("away"))
        self.ag("delete", "--yes", name, status=1)
        os.rename(self.path("away"), os.path.join(self.data, "store"))
        os.unlink(self.volumes()[0])
        self.ag("delete", "--yes", name)
        self.assertEqual(self.objects(), [])

    def test_what_is_not_stored_cannot_be_deleted(self):
        name = self.ag("backup", "--detach", "-m", "later", "src", status=4).out.strip()
        self.ag("delete", "--yes", name, status=1, say="autoglacier abort")


if __name__ == "__main__":
    main()
