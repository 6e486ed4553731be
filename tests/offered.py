#!/usr/bin/env python3
"""What a header offers, another file takes: no function is declared that the program never calls, or
that only its own file calls (unless a test looks at it: else it is static)."""
import os
import re
import subprocess
import sys
import unittest
from collections import Counter
from pathlib import Path

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PUBLIC = 'core/autoglacier.h'  # for programs of other people
ORACLES = {'tree_range_is_node'}  # for tests, beside what it judges

FUNCTION = r'(?m)^(?!typedef|static|#)\w[\w *]*?\b(\w+)\([^;{]*\)[^;{}]*'


class Source:
    """The names of a file: what it declares, what it defines, and how often it uses which."""

    def __init__(self, name):
        text = re.sub(r'/\*.*?\*/', ' ', Path(TOP, name).read_text(), flags=re.S)
        macros = ' '.join(re.findall(r'(?m)^#define(?:.*\\\n)*.*$', text))
        self.declares = set(re.findall(FUNCTION + ';', text))
        self.defines = set(re.findall(FUNCTION + r'\{', text))
        self.uses = Counter(re.findall(r'\w+', text))
        self.uses.subtract(self.declares | self.defines)
        self.in_macros = set(re.findall(r'\w+', macros))


class Offered(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        out = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard', '*.c', '*.h'], cwd=TOP,
                             capture_output=True, text=True)
        if out.returncode != 0:
            raise unittest.SkipTest('this is not a git checkout')
        cls.files = {f: Source(f) for f in out.stdout.splitlines() if os.path.exists(os.path.join(TOP, f))}

    def takers(self, name, header):
        """The files that call it, or its cleanup function, and whether each is another one than its own."""
        for f, source in self.files.items():
            if source.uses[name] > 0 or source.uses[name + 'p'] > 0:
                yield f, name in source.in_macros or (f != header and name not in source.defines)

    def test_every_function_in_a_header_is_called_from_elsewhere(self):
        idle = []
        for header, source in self.files.items():
            if not header.endswith('.h') or header.startswith('tests/') or header == PUBLIC:
                continue
            for name in sorted(source.declares - ORACLES):
                takers = dict(self.takers(name, header))
                program = [f for f in takers if not f.startswith('tests/')]
                if not program:
                    idle.append(f'{header}: nothing calls {name}()')
                elif not any(takers.values()):
                    idle.append(f'{header}: only {program[0]} calls {name}()')
        self.assertEqual(idle, [])


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
