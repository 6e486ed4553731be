"""Keys and set-ups: genkeys, init, passphrases from file, terminal and agent, several keys, what is configured."""
import json
import os
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
import termios

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from cli import CliCase, Programs, main  # noqa: E402


class Genkeys(CliCase):
    def test_a_pair_is_made_and_the_sheet_says_what_to_keep(self):
        out = self.ag("genkeys", "--bits", "2048", "new/k.pem", "new/k.pub").out
        self.assertEqual(stat.S_IMODE(os.stat(self.path("new/k.pem")).st_mode), 0o600)
        r = subprocess.run("openssl pkey -pubin -in new/k.pub -outform DER | sha256sum", shell=True, cwd=self.folder,
                           capture_output=True, text=True)
        self.assertIn(r.stdout.split()[0], re.sub(r"\s", "", out))
        for part in ("RECOVERY SHEET", self.path("new/k.pem"), self.path("new/k.pub"), "verify --key"):
            self.assertIn(part, out)
        self.assertNotIn("BEGIN", out)

    def test_the_key_has_3072_bits_unless_said_otherwise(self):
        self.ag("genkeys", "k.pem", "k.pub")
        r = subprocess.run(["openssl", "pkey", "-in", self.path("k.pem"), "-noout", "-text"], capture_output=True, text=True)
        self.assertIn("3072 bit", r.stdout)
        for bits in ("1024", "9000", "many", ""):
            self.ag("genkeys", "--bits", bits, "x.pem", "x.pub", status=2, say="2048 to 8192")

    def test_nothing_is_overwritten(self):
        self.write("k.pem", "mine")
        self.ag("genkeys", "k.pem", "k.pub", status=1, say="never overwritten")
        self.assertEqual(self.read("k.pem"), b"mine")
        self.assertFalse(os.path.exists(self.path("k.pub")))
        os.rename(self.path("k.pem"), self.path("k.pub"))
        self.ag("genkeys", "k.pem", "k.pub", status=1, say="never overwritten")
        self.assertFalse(os.path.exists(self.path("k.pem")))

    def test_a_passphrase_from_a_file_stdin_or_the_terminal_locks_the_private_key(self):
        self.write("pw", "correct horse\nsecond line\n", 0o600)
        self.ag("genkeys", "--bits", "2048", "--passphrase-file", "pw", "1.pem", "1.pub")
        self.ag("genkeys", "--bits", "2048", "--passphrase-file", "-", "2.pem", "2.pub", stdin="correct horse\n")
        shown = self.on_terminal("genkeys", "--bits", "2048", "-p", "3.pem", "3.pub",
                                 answers=[("New passphrase", "correct horse"), ("Once more", "correct horse")])
        self.assertNotIn("correct horse", shown)
        for name in ("1.pem", "2.pem", "3.pem"):
            self.assertIn(b"BEGIN ENCRYPTED PRIVATE KEY", self.read(name))
            r = subprocess.run(["openssl", "pkey", "-in", self.path(name), "-passin", "pass:correct horse", "-noout"],
                               capture_output=True)
            self.assertEqual(r.returncode, 0, r.stderr)

    def test_two_passphrases_that_differ_are_asked_again(self):
        shown = self.on_terminal("genkeys", "--bits", "2048", "-p", "k.pem", "k.pub", answers=[
            ("New passphrase", "one"), ("Once more", "two"), ("New passphrase", "three"), ("Once more", "three")])
        self.assertIn("not alike", shown)

    def test_a_question_that_is_broken_off_leaves_the_terminal_as_it_was(self):
        for sent, sig in ((b"\x03", signal.SIGINT), (b"", signal.SIGTERM)):
            pid, fd = pty.fork()
            if pid == 0:
                os.chdir(self.folder)
                os.execve(Programs.cli, [Programs.cli, "genkeys", "-p", "k.pem", "k.pub"], self.environment())
            echo = lambda: bool(termios.tcgetattr(fd)[3] & termios.ECHO)  # noqa: E731
            self.assertIn(b"New passphrase", os.read(fd, 4096))
            self.assertFalse(echo())
            if sent:
                os.write(fd, sent)
            else:
                os.kill(pid, sig)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), -sig)
            self.assertTrue(echo(), sig)
            os.close(fd)

    def test_a_passphrase_file_that_others_can_read_or_that_is_empty_is_refused(self):
        self.write("pw", "correct horse\n", 0o644)
        self.ag("genkeys", "--passphrase-file", "pw", "k.pem", "k.pub", status=1, say="chmod 600")
        self.write("pw", "\n", 0o600)
        self.ag("genkeys", "--passphrase-file", "pw", "k.pem", "k.pub", status=1, say="no passphrase in")
        self.ag("genkeys", "-p", "k.pem", "k.pub", status=1, say="no terminal")
        self.assertFalse(os.path.exists(self.path("k.pem")))


class Init(CliCase):
    def test_without_a_configuration_all_is_made_and_said(self):
        r = self.ag("init", say="made a key pair")
        self.assertIn("made the store", r.err)
        self.assertEqual(self.ag("init").err, "")
        self.assertIn("NOT YET A BACKUP", r.out)
        self.assertTrue(os.path.exists(os.path.join(self.data, "store", "autoglacier.json")))
        self.assertEqual(stat.S_IMODE(os.stat(self.data).st_mode), 0o700)
        with open(os.path.join(self.home, "CONFIG.json")) as f:
            self.assertEqual(json.load(f)["VAULT"], "dir:" + os.path.join(self.data, "store"))
            self.assertEqual(stat.S_IMODE(os.fstat(f.fileno()).st_mode), 0o600)

    def test_it_is_harmless_when_repeated(self):
        self.ag("init")
        names = [os.path.join(self.data, n) for n in ("keys/private.pem", "store/autoglacier.json")]
        before = [self.read(n) for n in names]
        self.ag("init")
        self.assertEqual([self.read(n) for n in names], before)

    def test_vault_is_written_to_the_configuration_and_made(self):
        self.keys()
        self.config('{"COMPRESSION": "zstd"}')
        for word in ("dir:" + self.path("disk"), "dir:disk", self.path("disk"), "./disk"):
            self.ag("init", "--vault", word)
            with open(os.path.join(self.home, "CONFIG.json")) as f:
                self.assertEqual(json.load(f), {"COMPRESSION": "zstd", "VAULT": "dir:" + self.path("disk")})
        self.assertTrue(os.path.exists(self.path("disk/autoglacier.json")))
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.home, "CONFIG.json")).st_mode), 0o600)

    def test_a_configuration_that_is_a_link_stays_one(self):
        self.keys()
        path = self.config('{"COMPRESSION": "zstd"}')
        os.rename(path, self.path("dotfile"))
        os.symlink("../dotfile", path)
        self.ag("init", "--vault", "dir:disk")
        self.assertEqual(os.readlink(path), "../dotfile")
        self.assertEqual(json.loads(self.read(self.path("dotfile"))), {"COMPRESSION": "zstd", "VAULT": "dir:" + self.path("disk")})

    def test_a_vault_that_is_none_changes_nothing(self):
        path = self.config('{"COMPRESSION": "zstd"}')
        self.ag("init", "--vault", "ftp://host/x", status=1, say="must be \"dir:")
        with open(path) as f:
            self.assertEqual(f.read(), '{"COMPRESSION": "zstd"}')

    def test_a_vault_without_a_place_is_wrong_usage(self):
        for url in ("", "dir:"):
            self.ag("init", "--vault", url, status=2, say="--vault wants")
        self.assertEqual(os.listdir(self.home), [])

    def test_genkeys_makes_keys_where_the_configuration_wants_them(self):
        self.config(json.dumps({"PUBL_RSA_KEY_PATH": self.path("k/p.pub"), "PRIV_RSA_KEY_PATH": self.path("k/p.pem")}))
        out = self.ag("init", "--genkeys", "--bits", "2048").out
        self.assertIn("RECOVERY SHEET", out)
        self.assertTrue(os.path.exists(self.path("k/p.pem")))
        self.ag("init", "--genkeys", status=1, say="never overwritten")

    def test_a_configured_key_that_is_missing_is_not_made_silently(self):
        self.config(json.dumps({"PUBL_RSA_KEY_PATH": self.path("k/p.pub")}))
        self.ag("init")
        self.write("f", "x")
        self.ag("backup", "-m", "words", "f", status=1, say=self.path("k/p.pub"))
        self.assertFalse(os.path.exists(self.path("k/p.pub")))

    def test_a_store_inside_a_file_is_an_error(self):
        self.write("file", "x")
        self.ag("init", "--vault", "dir:" + self.path("file/store"), status=1, say="file")


class Passphrases(CliCase):
    def setUp(self):
        super().setUp()
        self.write("pw", "correct horse\n", 0o600)
        self.locked_keys("correct horse")
        self.write("f", "text")
        self.backup("f")

    def test_without_any_passphrase_it_says_how_to_unlock(self):
        self.ag("restore", "latest", status=1, say="autoglacier unlock")
        self.ag("verify", "--data", status=1, say="is locked")

    def test_it_is_asked_for_on_the_terminal_three_times_at_most(self):
        self.on_terminal("restore", "latest", "--to", "out", answers=[("Passphrase of", "wrong"), ("not it", "correct horse")])
        self.assertTrue(os.path.exists(self.path("out") + self.path("f")))
        shown = self.on_terminal("restore", "latest", "--to", "no", status=1, answers=[
            ("Passphrase of", "a"), ("not it", "b"), ("not it", "c")])
        self.assertIn("is wrong", shown)
        self.assertFalse(os.path.exists(self.path("no") + self.path("f")))

    def test_it_comes_from_the_configured_file(self):
        self.config(json.dumps({"PRIV_RSA_KEY_PASSPHRASE_FILE": self.path("pw")}))
        self.ag("restore", "latest")
        self.ag("verify", "--data")
        self.write("pw", "wrong\n", 0o600)
        self.ag("verify", "--data", status=1, say="does not open the private key")
        os.chmod(self.path("pw"), 0o644)
        self.ag("verify", "--data", status=1, say="chmod 600")

    def test_decrypt_and_verify_key_ask_too(self):
        copy = shutil.copy(self.private, self.path("copy.pem"))
        self.on_terminal("verify", "--key", copy, answers=[("Passphrase of", "correct horse")])
        volume = next(os.path.join(d, n) for d, _, f in os.walk(os.path.join(self.data, "store", "archives")) for n in f)
        self.on_terminal("decrypt", "--key", copy, "-o", "out", volume, answers=[("Passphrase of", "correct horse")])
        self.assertTrue(os.path.exists(self.path("out")))
        self.ag("decrypt", "--key", copy, "-o", "no", volume, status=1, say="locked with a passphrase")

    def test_the_passphrase_is_asked_once_for_many_archives(self):
        for i in range(3):
            self.backup("f", message="number %d" % i)
        shown = self.on_terminal("verify", "--data", answers=[("Passphrase of", "correct horse")])
        self.assertEqual(shown.count("Passphrase of"), 1)

    def test_unlock_needs_a_program_that_runs(self):
        self.ag("unlock", "--passphrase-file", "pw", status=1, say="autoglacier mount")
        self.ag("unlock", "--for", "soon", status=2, say="--for wants")


class SeveralKeys(CliCase):
    def setUp(self):
        super().setUp()
        for name in ("a", "b", "c"):
            self.ag("genkeys", "--bits", "2048", name + ".pem", name + ".pub")
        self.write("f", "text")

    def configure(self, public, private):
        self.config(json.dumps({"PUBL_RSA_KEY_PATH": [self.path(p) for p in public],
                                "PRIV_RSA_KEY_PATH": [self.path(p) for p in private]}))

    def test_every_recipient_can_restore(self):
        self.configure(["a.pub", "b.pub"], ["a.pem"])
        self.backup("f")
        for private in (["a.pem"], ["b.pem"], ["c.pem", "b.pem"], ["nowhere.pem", "a.pem"]):
            self.configure(["a.pub"], private)
            self.ag("restore", "latest", "--to", "to-" + "-".join(private))
        self.configure(["a.pub"], ["c.pem"])
        self.ag("restore", "latest", "--to", "no", status=1, say="sealed for other keys; it needs the private key with fingerprint")

    def test_archives_of_different_keys_are_all_read_with_a_list(self):
        for name in ("a", "b"):
            self.configure([name + ".pub"], [name + ".pem"])
            self.backup("f", message=name)
        names = [line.split()[0] for line in self.ag("list").out.splitlines()]
        self.configure(["c.pub"], ["a.pem", "b.pem"])
        self.ag("verify", "--data")
        for name, key in zip(names, ("a.pem", "b.pem")):
            self.assertRegex(self.ag("show", name).out, "opened by +%s\n" % self.path(key))
        self.configure(["c.pub"], ["c.pem"])
        self.assertIn("no private key that is here", self.ag("show", names[0]).out)

    def test_the_configuration_shows_the_list(self):
        self.configure(["a.pub"], ["a.pem", "b.pem"])
        shown = json.loads(self.ag("config", "--json").out)
        self.assertEqual(shown["PRIV_RSA_KEY_PATH"], {"value": [self.path("a.pem"), self.path("b.pem")], "from": "file"})
        self.assertEqual(shown["COMPRESSION"], {"value": "lzma", "from": "default"})


class OneKey(CliCase):
    def test_a_script_gets_the_value_alone(self):
        self.config(json.dumps({"EXCLUDE": ["*.tmp", "cache dir"], "AWS_SECRET_ACCESS_KEY": "not-to-be-seen"}))
        self.assertEqual(self.ag("config", "MOUNTPOINT").out, self.path("glacier") + "\n")
        self.assertEqual(self.ag("config", "EXCLUDE").out, "*.tmp\ncache dir\n")
        self.assertEqual(self.ag("config", "RESTORE_DAYS").out, "7\n")
        self.assertEqual(self.ag("config", "PATH_STYLE").out, "false\n")
        self.assertEqual(self.ag("config", "VAULT_NAME").out, "\n")
        self.assertEqual(self.ag("config", "AWS_SECRET_ACCESS_KEY").out, "********\n")
        self.ag("config", "NO_SUCH_KEY", status=1, say="there is no key NO_SUCH_KEY")


if __name__ == "__main__":
    main()
