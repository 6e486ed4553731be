#!/usr/bin/env python3
"""Reads the floors from doc/DESIGN.md and every #include, and proves that the floors hold:

no module includes one of a higher floor, there is no circle on a floor, core knows neither libfuse
nor the skins, the skins do not know each other, and internal headers stay inside their module.
"""
import os
import re
import sys
import unittest
from pathlib import Path

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def floors():
    """Module name -> floor, as the table in the design has it.

    A row begins with the number of its floor; rows without one continue it. Names are two spaces
    apart, three or more come before what is said about them.
    """
    table, floor, found = False, None, {}
    for line in Path(TOP, 'doc', 'DESIGN.md').read_text().splitlines():
        if line.startswith('## '):
            table = line.strip() == '## Floors'
        m = re.match(r'    (\d| )  (\S.*)', line) if table else None
        if not m:
            continue
        floor = int(m[1]) if m[1] != ' ' else floor
        for name in re.split(r' {3,}', m[2].rstrip(), maxsplit=1)[0].split():
            found[name.rstrip('/')] = floor
    return found


def includes(path):
    """The headers that a file of ours includes: (quoted, system)."""
    quoted, system = [], []
    for line in Path(path).read_text(errors='replace').splitlines():
        m = re.match(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', line)
        if m:
            (quoted if m[1] else system).append(m[1] or m[2])
    return quoted, system


def sources(folder):
    base = os.path.join(TOP, folder)
    return sorted(f for f in os.listdir(base) if f.endswith(('.c', '.h')))


class Floors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.floor = floors()

    def module(self, name):
        """The module that a file belongs to: the longest name in the table that begins its own."""
        stem = name.rsplit('.', 1)[0]
        while stem not in self.floor and '_' in stem:
            stem = stem.rsplit('_', 1)[0]
        return stem if stem in self.floor else None

    def edges(self):
        """Every include of one of core's modules by another: (from, to, file)."""
        for name in sources('core'):
            quoted, _ = includes(os.path.join(TOP, 'core', name))
            for header in quoted:
                if header.endswith('.h'):
                    yield self.module(name), self.module(header), name, header

    def test_every_module_of_core_has_a_floor(self):
        missing = [n for n in sources('core') if self.module(n) is None]
        self.assertEqual(missing, [], 'not in the table of floors in doc/DESIGN.md')

    def test_every_name_in_the_table_is_a_module(self):
        names = {self.module(n) for n in sources('core')}
        missing = [n for n in self.floor if n not in names and n not in ('fs', 'tools')]
        self.assertEqual(missing, [], 'in the table of floors, but there is no such module')

    def test_no_module_includes_a_higher_floor(self):
        bad = [f'{file} (floor {self.floor[a]}) includes {header} (floor {self.floor[b]})'
               for a, b, file, header in self.edges() if a and b and self.floor[a] < self.floor[b]]
        self.assertEqual(bad, [])

    def test_no_modules_include_each_other_in_a_circle(self):
        graph = {}
        for a, b, _, _ in self.edges():
            if a and b and a != b:
                graph.setdefault(a, set()).add(b)
        done, path = set(), []

        def visit(module):
            if module in path:
                self.fail('circle: ' + ' -> '.join(path[path.index(module):] + [module]))
            if module in done:
                return
            path.append(module)
            for other in sorted(graph.get(module, ())):
                visit(other)
            path.pop()
            done.add(module)

        for module in sorted(graph):
            visit(module)

    def test_internal_headers_stay_in_their_module(self):
        bad = [f'{file} includes {header}' for a, b, file, header in self.edges()
               if header.endswith('_internal.h') and a != b]
        self.assertEqual(bad, [])

    def test_core_knows_neither_fuse_nor_the_skins(self):
        bad = []
        for name in sources('core'):
            quoted, system = includes(os.path.join(TOP, 'core', name))
            bad += [f'{name}: {h}' for h in system if 'fuse' in h]
            bad += [f'{name}: {h}' for h in quoted
                    if not h.endswith('.inc') and not os.path.exists(os.path.join(TOP, 'core', h))]
        self.assertEqual(bad, [])

    def test_skins_do_not_know_each_other(self):
        bad = []
        for skin in ('fs', 'tools'):
            for name in sources(skin):
                quoted, _ = includes(os.path.join(TOP, skin, name))
                bad += [f'{skin}/{name}: {h}' for h in quoted
                        if not any(os.path.exists(os.path.join(TOP, place, h)) for place in (skin, 'core'))]
        self.assertEqual(bad, [])


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
