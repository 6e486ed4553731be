#!/usr/bin/env python3
"""doc/DESIGN.md has a line for every source file, and none for a file that is not there.

A line `core/x` stands for x.c and x.h together; any other file has its own.
"""
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLACES = ('core/', 'fs/', 'tools/', 'tests/')
# What is data, or belongs to the build, is described where its folder is.
DATA = ('tests/fuzz/corpus/', 'tests/golden/', 'tests/vectors/')


def listed():
    """What the design names, with the number of times."""
    inside, found = False, []
    for line in Path(TOP, 'doc', 'DESIGN.md').read_text().splitlines():
        if line.startswith('## '):
            inside = line.strip() == '## Files'
        m = re.match(r'[*-] (`[^`]+`(?:, `[^`]+`)*)', line) if inside else None
        if m:
            found += re.findall(r'`([^`]+)`', m[1])
    return found


def tracked():
    """Every source file under version control, and those about to be."""
    out = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=TOP, capture_output=True, text=True)
    if out.returncode != 0:
        raise unittest.SkipTest('this is not a git checkout')
    return [f for f in out.stdout.splitlines()
            if f.startswith(PLACES) and not f.startswith(DATA) and os.path.exists(os.path.join(TOP, f))
            and os.path.basename(f) not in ('meson.build', '__init__.py')]


class Files(unittest.TestCase):
    def test_every_source_file_has_its_line(self):
        names = set(listed())
        missing = [f for f in tracked() if f not in names
                   and not (f.endswith(('.c', '.h')) and f.rsplit('.', 1)[0] in names)]
        self.assertEqual(missing, [], 'no line under "Files" in doc/DESIGN.md')

    def test_every_line_names_a_file(self):
        gone = [n for n in listed() if not any(os.path.exists(os.path.join(TOP, n + end)) for end in ('', '.c', '.h'))]
        self.assertEqual(gone, [])

    def test_no_file_has_two_lines(self):
        names = listed()
        self.assertEqual(sorted({n for n in names if names.count(n) > 1}), [])


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
