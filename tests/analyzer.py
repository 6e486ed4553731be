#!/usr/bin/env python3
"""gcc -fanalyzer finds nothing in core, fs and tools.

    analyzer.py BUILD      a configured build folder, for the flags of each file

Off is what gcc 12 cannot know. It does not follow steal() and cleanup attributes: leaks, double frees
and uninitialized values, which the builds with sanitizers find while tests run. It sees one file at a
time, and takes a result for NULL after another file's function has said that it succeeded.
"""
import concurrent.futures
import json
import os
import shlex
import subprocess
import sys
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OFF = ['-Wno-analyzer-' + kind for kind in (
    'malloc-leak', 'use-of-uninitialized-value', 'double-free', 'null-dereference', 'null-argument')]


def commands(build):
    """(source, compiler command) of every file of ours."""
    with open(os.path.join(build, 'compile_commands.json')) as f:
        for one in json.load(f):
            source = os.path.relpath(os.path.join(build, one['file']), TOP)
            if source.startswith(('core/', 'fs/', 'tools/')):
                yield source, shlex.split(one['command'])


def analyze(build, source, command):
    """What the analyzer says about one file, without the paths through the code."""
    keep, skip = [], False
    for word in command:
        if skip or word in ('-c', '-MD', '-MQ', '-MF', '-o'):
            skip = word in ('-MQ', '-MF', '-o')
            continue
        if word not in ('ccache', '-Werror') and not word.startswith('-fsanitize'):
            keep.append(word)
    out = subprocess.run(keep + ['-fanalyzer', *OFF, '-fdiagnostics-plain-output', '-fanalyzer-verbosity=0', '-c', '-o', '/dev/null'],
                         cwd=build, capture_output=True, text=True)
    if out.returncode != 0:
        return [f'{source}: does not compile: {out.stderr[-500:]}']
    return [line for line in out.stderr.splitlines() if '-Wanalyzer' in line]


class Analyzer(unittest.TestCase):
    maxDiff = None

    def test_nothing_is_found(self):
        if 'Free Software Foundation' not in subprocess.run(['cc', '--version'], capture_output=True, text=True).stdout:
            self.skipTest('cc is not gcc')
        build = sys.argv[1] if len(sys.argv) > 1 else os.path.join(TOP, 'build')
        found, n = [], 0
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
            for lines in pool.map(lambda c: analyze(build, *c), commands(build)):
                found += lines
                n += 1
        self.assertGreater(n, 50, 'hardly any file was looked at')
        self.assertEqual('\n'.join(sorted(set(found))), '')


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
