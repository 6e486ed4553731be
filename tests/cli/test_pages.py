"""The manual pages: every command, every option and every key of the configuration, and none that is not there."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from cli import TOP, CliCase, main  # noqa: E402

PAGES = os.path.join(TOP, "doc", "man")


def page(name):
    with open(os.path.join(PAGES, name)) as f:
        return f.read().replace("\\-", "-")


def keys_of(value):
    """All keys of a document, at any depth."""
    if isinstance(value, list):
        return set().union(*map(keys_of, value))
    if not isinstance(value, dict):
        return set()
    return set(value).union(*map(keys_of, value.values()))


class Pages(CliCase):
    def sections(self):
        """Command -> its part of autoglacier(1)."""
        commands = page("autoglacier.1").split(".SH COMMANDS\n", 1)[1].split("\n.SH ", 1)[0]
        parts = re.split(r"^\.SS (\S+)\n", commands, flags=re.M)[1:]
        return dict(zip(parts[::2], parts[1::2]))

    def commands(self):
        return re.findall(r"^  ([a-z]+)  +\S", self.ag("help").out, re.M)

    def options(self, text):
        return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))

    def test_every_command_has_its_section(self):
        self.assertEqual(sorted(self.sections()), sorted(self.commands()))

    def test_every_option_is_explained_and_none_that_is_not_there(self):
        sections = self.sections()
        for name in self.commands():
            if name == "help":
                continue
            there = set(re.findall(r"^  (?:-.,|   ) (--[a-z-]+)", self.ag(name, "--help").out, re.M)) - {"--config", "--help"}
            explained = set()
            for head in re.findall(r"^\.TP\n(.*)", sections[name], re.M):
                explained |= self.options(head)
            self.assertEqual(explained, there, name)

    def test_letters_of_options_are_explained(self):
        sections = self.sections()
        for name in self.commands():
            if name == "help":
                continue
            for letter, option in re.findall(r"^  (-.), (--\S+)", self.ag(name, "--help").out, re.M):
                if option == "--help":
                    continue
                heads = [h for h in re.findall(r"^\.TP\n(.*)", sections[name], re.M) if option in h]
                self.assertTrue(any(re.search(re.escape(letter) + r"\b", h) for h in heads), (name, letter, heads))

    def test_every_key_of_the_configuration_is_explained_and_none_that_is_not_there(self):
        keys = set(json.loads(self.ag("config", "--json").out))
        explained = set()
        for head in re.findall(r"^\.TP\n(\.B.*)", page("autoglacier.conf.5"), re.M):
            head = head.split(" ", 1)[1]
            explained |= set(re.findall(r"\b[A-Z][A-Z_]+\b", head))
        self.assertEqual(explained, keys)

    def test_the_examples_of_the_configuration_are_configurations(self):
        for text in re.findall(r"^\.nf\n(.*?)^\.fi", page("autoglacier.conf.5"), re.M | re.S):
            self.config(text)
            self.ag("config")

    def test_every_key_of_the_json_is_explained(self):
        self.keys()
        self.write("f", "text")
        name = self.backup("f")
        self.ag("backup", "--detach", "-m", "later", "f", status=4)
        explained = set(re.findall(r"[a-z][a-z0-9_]+", "\n".join(re.findall(r"^\.BR? (.*)", page("autoglacier-json.5"), re.M))))
        for words in (["list", "--json"], ["status", "--json"], ["show", "--json", "latest"], ["cost", "--json"],
                      ["cost", "--json", "latest"], ["files", "--json", name], ["find", "--json", "f"],
                      ["stored", "--json", "f"], ["verify", "--json"]):
            told = [json.loads(self.ag(*words).out)] if words[0] in ("list", "status", "show", "cost") else \
                [json.loads(line) for line in self.ag(*words).out.splitlines()]
            self.assertNotEqual(told, [])
            self.assertEqual(keys_of(told) - explained, set(), words)

    def test_exit_statuses_stand_in_the_page(self):
        part = page("autoglacier.1").split(".SH EXIT STATUS\n", 1)[1].split("\n.SH ", 1)[0]
        self.assertEqual(re.findall(r"^\.TP\n\.B (\d)", part, re.M), ["0", "1", "2", "3", "4"])

    def test_the_pages_are_well_formed(self):
        if not shutil.which("mandoc"):
            self.skipTest("mandoc is not installed")
        r = subprocess.run(["mandoc", "-Tlint", "-Wstyle", *sorted(glob.glob(os.path.join(PAGES, "*.[0-9]")))],
                           capture_output=True, text=True)
        self.assertEqual(r.stdout + r.stderr, "")


if __name__ == "__main__":
    main()
