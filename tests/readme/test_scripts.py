#!/usr/bin/env python3
"""tools/quickstart, tools/install-packages and tools/check say what is wrong, and what to do."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = os.path.join(TOP, 'tools')
# What knows of no package libjansson-dev, whatever is installed here.
ONE_IS_MISSING = '#!/bin/sh\ncase "$*" in *libjansson-dev*) exit 1 ;; esac\necho "install ok installed"\n'


class Scripts(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix='autoglacier scripts-'))
        self.addCleanup(shutil.rmtree, self.folder)
        self.bin = os.path.join(self.folder, 'bin')
        os.mkdir(self.bin)
        for name in ('sh', 'sed', 'sort', 'tr', 'dirname', 'realpath', 'mktemp', 'rm', 'cat', 'tail', 'env', 'mkdir', 'echo', 'awk'):
            os.symlink(shutil.which(name), os.path.join(self.bin, name))
        self.program('dpkg-query', ONE_IS_MISSING)
        self.program('df', '#!/bin/sh\necho Filesystem\necho "none 99999999 1 99999999 1% /"\n')

    def program(self, name, text):
        with open(os.path.join(self.bin, name), 'w') as f:
            f.write(text)
        os.chmod(os.path.join(self.bin, name), 0o755)

    def run_script(self, *words, status=1, tools=TOOLS, **env):
        """What it prints. Only the programs of self.bin are there."""
        env = {'PATH': self.bin, 'HOME': self.folder, **env}
        out = subprocess.run([os.path.join(tools, words[0]), *words[1:]], cwd='/', text=True, stdin=subprocess.DEVNULL,
                             env={k: v for k, v in env.items() if v is not None}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(out.returncode, status, out.stdout)
        return out.stdout

    def checkout(self, name):
        """A copy of the tools with a build folder, its path with blanks."""
        top = os.path.join(self.folder, name)
        shutil.copytree(TOOLS, os.path.join(top, 'tools'))
        os.makedirs(os.path.join(top, 'build', 'meson-info'))
        return top

    def test_without_root_and_sudo_the_command_for_root_is_said(self):
        self.program('id', '#!/bin/sh\necho 1000\n')
        self.assertIn('as root: apt-get install libjansson-dev', self.run_script('install-packages', 'program'))

    def test_a_sudo_that_refuses_is_not_taken_for_a_missing_network(self):
        self.program('id', '#!/bin/sh\necho 1000\n')
        self.program('sudo', '#!/bin/sh\nexit 1\n')
        said = self.run_script('install-packages', 'program')
        self.assertIn('as root: apt-get install libjansson-dev', said)
        self.assertNotIn('network', said)

    def test_without_network_the_reason_and_the_packages_are_said(self):
        self.program('id', '#!/bin/sh\necho 0\n')
        self.program('apt-get', '#!/bin/sh\necho "E: cannot resolve deb.debian.org"\nexit 100\n')
        said = self.run_script('install-packages', 'program')
        self.assertIn('cannot resolve deb.debian.org', said)
        self.assertIn('is there a network? These packages are missing: libjansson-dev', said)

    def test_an_unknown_purpose_is_named(self):
        self.assertIn("'nonsense'", self.run_script('install-packages', 'nonsense'))

    def test_help_is_printed(self):
        for name in ('install-packages', 'quickstart', 'check'):
            self.assertIn(name, self.run_script(name, '--help', status=0))

    def test_wrong_words_are_refused(self):
        self.run_script('check', '--long', '--nonsense', status=2)
        self.run_script('quickstart', '--nonsense')
        self.run_script('quickstart', 'one', 'two')

    def test_quickstart_asks_for_a_home(self):
        self.assertIn('HOME is not set', self.run_script('quickstart', HOME=None))

    def test_a_full_disk_is_named_as_why_the_build_failed(self):
        self.program('dpkg-query', '#!/bin/sh\necho "install ok installed"\n')
        self.program('meson', '#!/bin/sh\nexit 1\n')
        for free, full in (('29999', True), ('99999999', False)):
            self.program('df', '#!/bin/sh\necho Filesystem\necho "none 1 1 %s 99%% /"\n' % free)
            said = self.run_script('quickstart', tools=os.path.join(self.checkout('checkout' + free), 'tools'))
            self.assertEqual('is full: %s kB are free' % free in said, full, said)
            self.assertEqual('meson setup failed' in said, not full, said)

    def test_quickstart_does_not_build_the_sources_of_another_checkout(self):
        self.program('dpkg-query', '#!/bin/sh\necho "install ok installed"\n')
        self.program('ninja', '#!/bin/sh\necho "this builds the sources elsewhere"\nexit 1\n')
        top = self.checkout('möved checkout')
        for source, said in (('/elsewhere', 'is a build of other sources; remove it'), (top, 'the build failed')):
            with open(os.path.join(top, 'build', 'build.ninja'), 'w'):
                pass
            with open(os.path.join(top, 'build', 'meson-info', 'meson-info.json'), 'w') as f:
                f.write('{"directories": {"source": "%s"}}' % source)
            self.assertIn(said, self.run_script('quickstart', tools=os.path.join(top, 'tools')))


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
