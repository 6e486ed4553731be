"""The command line itself: help, wrong usage, exit statuses, what is said where."""
import json
import os
import re
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from cli import CliCase, Programs, main  # noqa: E402


class Usage(CliCase):
    def commands(self):
        return re.findall(r"^  ([a-z]+)  +\S", self.ag("help").out, re.M)

    def test_help_lists_the_commands(self):
        for name in ("init", "mount", "umount", "stop", "status", "backup", "list", "show", "files", "find", "stored",
                     "restore", "unlock", "verify", "decrypt", "delete", "config", "genkeys", "help"):
            self.assertIn(name, self.commands())

    def test_help_and_version_come_on_stdout_with_status_0(self):
        for words in (["help"], ["--help"], ["-h"], ["help", "--help"], ["--version"], ["-V"]):
            r = self.ag(*words)
            self.assertEqual(r.err, "")
            self.assertNotEqual(r.out, "")
        self.assertRegex(self.ag("--version").out, r"^autoglacier \d+\.\d+\.\d+\n$")

    def test_every_command_explains_itself_and_makes_nothing(self):
        for name in self.commands():
            if name == "help":
                continue
            for words in ([name, "--help"], ["help", name], [name, "-h"]):
                r = self.ag(*words)
                self.assertTrue(r.out.startswith("usage: autoglacier " + name), r.out)
                self.assertIn("--config FILE", r.out)
                self.assertEqual(r.err, "")
        self.assertEqual(os.listdir(self.home), [])

    def test_help_fits_a_terminal_of_100_columns(self):
        for name in [None, *self.commands()]:
            for line in self.ag("help", *([name] if name and name != "help" else [])).out.splitlines():
                self.assertLessEqual(len(line), 100, line)

    def test_without_a_command_the_help_comes_on_stderr_with_status_2(self):
        r = self.ag(status=2)
        self.assertEqual(r.out, "")
        self.assertIn("usage: autoglacier", r.err)

    def test_an_unknown_command_is_wrong_usage_and_something_like_it_is_named(self):
        self.ag("restor", status=2, say="did you mean restore?")
        self.ag("frobnicate", status=2, say="unknown command frobnicate")
        self.ag("help", "frobnicate", status=2)

    def test_unknown_options_are_wrong_usage(self):
        for name in self.commands():
            if name != "help":
                self.ag(name, "--no-such-option", status=2, say="unknown option --no-such-option")
                self.ag(name, "-Z", status=2, say="unknown option -Z")

    def test_options_without_their_value_are_wrong_usage(self):
        self.ag("backup", "-m", status=2, say="-m needs a value")
        self.ag("restore", "latest", "--to", status=2, say="--to needs a value")
        self.ag("--config", status=2, say="--config needs a file")

    def test_flags_take_no_value(self):
        self.ag("list", "--json=yes", status=2, say="--json takes no value")

    def test_too_few_and_too_many_words_are_wrong_usage(self):
        for words in (["show"], ["files"], ["restore"], ["decrypt"], ["find"], ["stored"], ["delete"], ["genkeys", "a"]):
            self.ag(*words, status=2, say="something is missing")
        for words in (["list", "x"], ["show", "x", "y"], ["status", "x"], ["umount", "a", "b"], ["stop", "x"]):
            self.ag(*words, status=2, say="too many arguments")

    def test_an_option_that_would_be_passed_over_is_wrong_usage(self):
        for words in (["init", "--passphrase"], ["init", "--bits", "4096"], ["init", "--passphrase-file", "f"],
                      ["verify", "--repair", "--key", "k"], ["verify", "--json", "--key", "k"],
                      ["files", "--json", "-l", "latest"], ["find", "--json", "-0", "f"], ["run", "--list", "x"],
                      ["show", "--json", "--log", "latest"], ["stored", "--json", "-q", "f"], ["decrypt", "-k", "k", "-o", "-", "f"],
                      ["restore", "--as-of", "2026-11-28", "--cancel", "f"], ["restore", "--as-of", "2026-11-28", "--max", "x", "f"],
                      ["restore", "--as-of", "yesterday", "f"], ["restore", "--tier", "fast", "latest"]):
            self.ag(*words, status=2, say="--help tells more")
        self.assertEqual(os.listdir(self.home), [])

    def test_options_may_stand_anywhere_and_end_at_two_dashes(self):
        self.keys()
        self.write("-m", "a file named like an option")
        self.ag("backup", "--", "-m", status=2, say="say what it is")
        self.ag("backup", "--message=words", "--", "-m")
        self.write("f", "text")
        self.ag("backup", "f", "-mother words")
        self.assertIn("other-words", self.ag("list").out)

    def test_a_configuration_is_named_before_or_after_the_command(self):
        path = self.write("other.json", '{"COMPRESSION": "zstd"}')
        for words in (["--config", path, "config"], ["--config=" + path, "config"], ["config", "--config", path]):
            self.assertRegex(self.ag(*words).out, r'COMPRESSION +"zstd" +# file')
        for words in (["config"], ["list"], ["list", "--json"], ["status"], ["files", "latest"], ["backup", "-m", "x", "/etc/hostname"]):
            self.ag("--config", self.path("no/x.json"), *words, status=1, say=self.path("no/x.json"))

    def test_messages_begin_with_program_and_command(self):
        r = self.ag("show", "nothing", status=1)
        self.assertRegex(r.err, r"^autoglacier: show: ")
        self.assertEqual(r.out, "")

    def test_output_that_cannot_be_written_is_an_error(self):
        self.keys()
        self.write("f", "text")
        self.backup("f")
        for words in (["list"], ["show", "latest"], ["files", "latest"], ["config"], ["help"], ["status"],
                      ["show", "--sums", "latest"], ["find", "f"]):
            with open("/dev/full", "w") as full:
                r = subprocess.run([Programs.cli, *words], env=self.environment(), stdout=full, stderr=subprocess.PIPE,
                                   text=True)
            self.assertEqual(r.returncode, 1, words)
            self.assertIn("No space left on device", r.stderr)

    def test_what_is_said_without_a_terminal_goes_into_no_file(self):
        self.keys()
        self.write("f", "text")
        r = subprocess.run("exec '%s' backup -m alone f <&- >&- 2>&-" % Programs.cli, shell=True, env=self.environment(),
                           cwd=self.folder)
        self.assertEqual(r.returncode, 1)  # its name could not be printed
        for folder, _, names in os.walk(self.home):
            for name in names:
                with open(os.path.join(folder, name), "rb") as f:
                    self.assertNotIn(b"autoglacier: backup", f.read(), name)
        self.ag("verify", "--data")

    def test_looking_at_a_new_set_up_makes_no_file_anywhere(self):
        for words in (["status"], ["status", "--json"], ["list"], ["config"]):
            self.ag(*words)
        self.assertEqual(os.listdir(self.home), [])
        self.assertEqual(os.listdir(self.folder), ["home"])

    def test_a_reader_that_goes_away_is_no_crash(self):
        self.keys()
        for i in range(300):
            self.write("many/%0200d" % i)
        self.backup("many")
        r = subprocess.run("'%s' files latest | head -1" % Programs.cli, shell=True, env=self.environment(),
                           capture_output=True, text=True)
        self.assertEqual(r.stderr, "")
        self.assertEqual(len(r.stdout.splitlines()), 1)


class Mistakes(CliCase):
    def test_a_configuration_with_a_mistake_is_named_with_line_and_key(self):
        path = self.config('{\n "COMPRESSION": "lzma",\n "VOLUME_SIZ": 5\n}\n')
        for words in (["status"], ["list"], ["backup", "-m", "x", "/etc/hostname"], ["config"], ["mount"], ["init"]):
            self.ag(*words, status=1, say=path + ":3: unknown key VOLUME_SIZ; did you mean VOLUME_SIZE")

    def test_each_mistake_is_told_in_words(self):
        for text, line, words in (
                ('{"COMPRESION": "lzma"}', 1, "unknown key COMPRESION; did you mean COMPRESSION?"),
                ('{\n"vault-name": "x"}', 2, "did you mean VAULT_NAME?"),
                ('{"AWS_SECRET_KEY": "x"}', 1, "did you mean AWS_SECRET_ACCESS_KEY?"),
                ('{"REGION": "x"}', 1, "did you mean REGION_NAME?"),
                ('{"foo": 1}', 1, "unknown key foo\n"),
                ('{\n\n"COMPRESSION": 1}', 3, 'COMPRESSION: must be "lzma"'),
                ('{"COMPRESSION": "gzip",\n"COMPRESSION_LEVEL": 12}', 2, "COMPRESSION_LEVEL 12 is not possible with gzip: it takes 1 to 9"),
                ('{"VOLUME_SIZE": "much"}', 1, "VOLUME_SIZE: must be a number of bytes"),
                ('{"PATH_STYLE": "yes"}', 1, "PATH_STYLE: must be true or false"),
                ('{"PUBL_RSA_KEY_PATH": [1]}', 1, "PUBL_RSA_KEY_PATH: must be a text in quotes"),
                ("{\n'COMPRESSION': 'lzma'}", 2, 'JSON wants "double quotes"'),
                ('{"COMPRESSION": "lzma",\n}', 2, "JSON has no comma after the last entry"),
                ('{"COMPRESSION": "lzma",\n# the fastest\n"TMP_DIR": "/tmp"}', 2, "JSON has no comments"),
                ('', 1, "it is empty; without any keys it is {}"),
                ('[]', 1, "must be one dictionary"),
                ('{"COMPRESSION": "lzma"\n"TMP_DIR": "/tmp"}', 2, "it is not JSON"),
                ('{"TMP_DIR": "/a",\n"TMP_DIR": "/b"}', 2, "a key stands there twice"),
                ('\ufeff{}', 1, "byte order mark")):
            path = self.config(text)
            err = self.ag("config", status=1).err
            self.assertRegex(err, "^autoglacier: config: %s:%d:" % (path, line))
            self.assertIn(words, err)

    def test_what_is_shown_as_the_default_may_be_written_down(self):
        shown = {k: v["value"] for k, v in json.loads(self.ag("config", "--json").out).items()}
        self.config(json.dumps(shown))
        again = {k: v["value"] for k, v in json.loads(self.ag("config", "--json").out).items()}
        self.assertEqual(again, shown)

    def test_a_working_folder_that_is_gone_is_no_lack_of_memory(self):
        script = "mkdir gone && cd gone && rmdir ../gone && exec '%s' --config x list" % Programs.cli
        r = subprocess.run(["sh", "-c", script], env=self.environment(), cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(r.returncode, 1)
        self.assertIn("cannot tell where x is: No such file or directory", r.stderr)

    def test_bytes_that_are_no_text_are_named(self):
        path = self.config('{}')
        with open(path, "wb") as f:
            f.write(b'{\n"VAULT": "dir:/\xff"}')
        self.ag("config", status=1, say=path + ":2: it is not UTF-8 text")

    def test_a_configuration_that_cannot_be_read_is_not_taken_for_none(self):
        path = self.config("{}")
        os.unlink(path)
        os.symlink("on an unmounted disk", path)
        self.ag("list", status=1, say=path + " is a link that leads nowhere")
        os.unlink(path)
        os.mkdir(path)
        self.ag("config", status=1, say="cannot read " + path + ": Is a directory")
        os.rmdir(path)
        if os.geteuid() != 0:
            self.config("{}")
            os.chmod(path, 0)
            self.ag("config", status=1, say="cannot open " + path + ": Permission denied")

    def test_a_file_with_a_secret_that_others_can_read_is_refused(self):
        path = self.config('{"RSA_PASSPHRASE": null, "AWS_SECRET_ACCESS_KEY": ""}')
        os.chmod(path, 0o644)
        self.ag("config")
        path = self.config('{"AWS_SECRET_ACCESS_KEY": "not-to-be-seen"}')
        os.chmod(path, 0o644)
        r = self.ag("config", status=1, say="chmod 600")
        self.assertNotIn("not-to-be-seen", r.err + r.out)

    def test_secrets_are_not_shown(self):
        self.config('{"AWS_SECRET_ACCESS_KEY": "not-to-be-seen", "AWS_ACCESS_KEY_ID": "neither-this"}')
        for words in (["config"], ["config", "--json"]):
            out = self.ag(*words).out
            self.assertNotIn("not-to-be-seen", out)
            self.assertNotIn("neither-this", out)
            self.assertIn("********", out)


class BrokenCatalogue(CliCase):
    COMMANDS = (["status"], ["list"], ["show", "latest"], ["find", "f"], ["backup", "-m", "x", "f"], ["mount"], ["verify"])

    def setUp(self):
        super().setUp()
        self.keys()
        self.write("f", "text")
        self.backup("f")
        self.catalog = os.path.join(self.data, "catalog.db")

    def test_one_of_a_newer_version_is_left_alone(self):
        with sqlite3.connect(self.catalog) as c:
            c.execute("PRAGMA user_version = 9999")
        c.close()
        before = self.read(self.catalog)
        for words in self.COMMANDS:
            self.ag(*words, status=1, say="newer")
        self.assertEqual(self.read(self.catalog), before)

    def test_a_corrupt_one_is_named_and_left_alone(self):
        for garbage in (b"this is no database, whatever its name says. " * 200, self.read(self.catalog)[:5000]):
            with open(self.catalog, "wb") as f:
                f.write(garbage)
            for words in self.COMMANDS:
                self.ag(*words, status=1, say="catalog.db")
            self.assertEqual(self.read(self.catalog), garbage)

    def test_a_data_folder_that_cannot_be_read_is_named(self):
        if os.geteuid() == 0:
            self.skipTest("root reads everything")
        os.chmod(self.data, 0)
        self.addCleanup(os.chmod, self.data, 0o700)
        self.ag("list", status=1, say=self.data)
        self.ag("backup", "-m", "x", "f", status=1, say=self.data)


if __name__ == "__main__":
    main()
