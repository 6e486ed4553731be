#!/usr/bin/env python3
"""The session of the README, pasted line by line into a shell of a new user, does what it says.

It begins with tools/quickstart, which builds in build/; so this also shows that a second run of it is
quick and harmless.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def blocks():
    """The first two shell blocks of the README: how it starts, and what to do then."""
    with open(os.path.join(TOP, 'README.md')) as f:
        return re.findall(r'```sh\n(.*?)```', f.read(), re.S)[:2]


class Session(unittest.TestCase):
    def setUp(self):
        if not os.access('/dev/fuse', os.R_OK | os.W_OK):
            self.skipTest('/dev/fuse cannot be opened')
        self.home = tempfile.mkdtemp(prefix='autoglacier-readme-')
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(('AUTOGLACIER_', 'AWS_', 'XDG_'))}
        self.env['HOME'] = self.home

    def tearDown(self):
        if hasattr(self, 'home'):
            program = os.path.join(TOP, 'build', 'tools', 'autoglacier')
            subprocess.run([program, 'umount', self.home + '/glacier'], env=self.env, capture_output=True)
            subprocess.run([program, 'stop'], env=self.env, capture_output=True)
            subprocess.run(['umount', '-l', self.home + '/glacier'], capture_output=True)
            shutil.rmtree(self.home, ignore_errors=True)

    def paste(self, text):
        """What a terminal would show; one shell for all, which stops at the first failure."""
        out = subprocess.run(['bash', '-e', '-o', 'pipefail'], input=text, cwd=TOP, env=self.env, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1200)
        self.assertEqual(out.returncode, 0, out.stdout)
        return out.stdout

    def test_a_pasted_session_ends_with_an_identical_tree(self):
        start, session = blocks()
        first = self.paste(start)
        self.assertIn('is mounted', first)
        self.assertIn('NOT YET A BACKUP', first)
        again = self.paste(start)
        self.assertIn('is mounted already', again)
        for word in ('installing', 'configuring', 'building'):
            self.assertNotIn(word, again, 'a second run of quickstart is not quick')
        out = self.paste(session)
        self.assertEqual(out.splitlines()[-1], 'identical', out)
        self.assertRegex(out, r'(?m)^STATUS\.txt$')
        self.assertRegex(out, r'(?m)^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ_documents-and-licences-summer-2026$')
        self.assertEqual(sorted(os.listdir(self.home + '/restored')), ['example', 'licenses'])


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
