#!/usr/bin/env python3
"""Every C file is as .clang-format has it, and every script parses."""
import os
import shutil
import subprocess
import sys
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def tracked(*patterns):
    out = subprocess.run(['git', 'ls-files', '-z', *patterns], cwd=TOP, capture_output=True, text=True)
    if out.returncode != 0:
        raise unittest.SkipTest('this is not a git checkout')
    return [f for f in out.stdout.split('\0') if f and os.path.exists(os.path.join(TOP, f))]


def first_line(path):
    with open(os.path.join(TOP, path), 'rb') as f:
        return f.readline()


class Format(unittest.TestCase):
    def test_c_files_are_formatted(self):
        if not shutil.which('clang-format'):
            self.skipTest('clang-format is not here')
        out = subprocess.run(['clang-format', '--dry-run', '-Werror', *tracked('*.c', '*.h')], cwd=TOP,
                             capture_output=True, text=True)
        self.assertEqual(out.returncode, 0, out.stderr[:4000])

    def test_shell_scripts_parse(self):
        for name in tracked('core', 'tools', 'tests', '.ci'):
            line = first_line(name)
            if line.startswith((b'#!/bin/sh', b'#!/bin/bash', b'#!/usr/bin/env bash')):
                shell = 'bash' if b'bash' in line else 'sh'
                out = subprocess.run([shell, '-n', name], cwd=TOP, capture_output=True, text=True)
                self.assertEqual(out.returncode, 0, out.stderr)

    def test_python_scripts_parse(self):
        for name in tracked('*.py'):
            with open(os.path.join(TOP, name)) as f:
                compile(f.read(), name, 'exec')

    def test_scripts_can_be_executed(self):
        bad = [n for n in tracked('core', 'tools', 'tests', '.ci')
               if first_line(n).startswith(b'#!') and not os.access(os.path.join(TOP, n), os.X_OK)
               and not n.startswith('core/embed')]
        self.assertEqual(bad, [], 'begins with #! but is not executable')


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
