#!/usr/bin/python3
"""Patterns find what Python's own glob module finds, on a tree and with patterns made at random."""
import glob
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))
NAMES = ['a', 'b', 'ab', 'abc', '.a', '.hidden', 'a.txt', 'b.txt', '[x]', 'a-b', '\u00e9', 'A', '1']
PARTS = ['*', '**', '?', '*.txt', '.*', 'a*', '*b', '[ab]*', '[!a]*', '[a-c]?', 'a', '.a', '[[]x]', '*.*', '?b*', '[]a]*']


class Glob(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='autoglacier-glob-')
        self.addCleanup(shutil.rmtree, self.folder)
        self.random = random.Random(5)

    def grow(self, folder, depth):
        for name in self.random.sample(NAMES, 6):
            path = os.path.join(folder, name)
            kind = self.random.random()
            if kind < 0.5 and depth > 0:
                os.mkdir(path)
                self.grow(path, depth - 1)
            elif kind < 0.6:
                os.symlink('nowhere', path)
            else:
                open(path, 'w').close()

    def ours(self, patterns):
        out = subprocess.run([PROGRAM, *patterns], cwd=self.folder, check=True, capture_output=True).stdout
        return [sorted(set(os.fsdecode(block).split('\0')[:-1])) for block in out.split(b'\n')[:-1]]

    def test_same_names_are_found(self):
        self.grow(self.folder, 3)
        patterns = sorted({'/'.join(self.random.choices(PARTS, k=self.random.randint(1, 4))) + self.random.choice(['', '', '/'])
                           for _ in range(400)})
        theirs = [sorted(set(glob.glob(p, root_dir=self.folder, recursive=True))) for p in patterns]
        found = 0
        for pattern, we, they in zip(patterns, self.ours(patterns), theirs):
            # Python calls a folder where `**` begins "name/", or "" at the top.
            we, they = ({n.rstrip('/') for n in names} - {''} for names in (we, they))
            self.assertEqual(we, they, pattern)
            found += len(we)
        self.assertGreater(found, 1000)


if __name__ == '__main__':
    unittest.main(verbosity=2)
