#!/usr/bin/python3
"""libautoglacier: its examples compile and run, it is quiet, and many may use it at once."""
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import unittest

from job_case import JobCase
from cold import HOURS, ColdStore
from mount import BUILD, TOP, Programs

EXAMPLES = os.path.join(TOP, 'doc', 'examples')
LIBRARY = os.path.join(BUILD, 'core')


# Restores the newest archive to a folder: thaw FOLDER ASK WAIT
THAW = r"""
#include <autoglacier.h>
#include <stdio.h>
#include <stdlib.h>

static void said(void *ctx, const char *text) { (void)ctx; puts(text); }
static int enough(void *ctx) { (void)ctx; return 1; }
static void shown(void *ctx, uint64_t n, uint64_t of) { (void)ctx; printf("%d of %d\n", (int)n, (int)of); }

int main(int argc, char **argv)
{
        struct agl *a;
        struct agl_error e;
        setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
        if (argc != 4 || agl_open(NULL, &a, &e) < 0)
                return 2;
        struct agl_restore r = {.size = sizeof r, .archive = "latest", .to = argv[1], .ask = atoi(argv[2]),
                .wait = atoi(argv[3]) != 0, .cancel = atoi(argv[3]) > 1 ? enough : NULL, .message = said, .progress = shown};
        int q = agl_restore(a, &r, &e);
        if (q < 0)
                fprintf(stderr, "%d %s\n", q, e.text);
        agl_close(a);
        return q < 0;
}
"""


class Library(JobCase):
    def compile(self, source):
        program = os.path.join(self.folder, os.path.basename(source)[:-2])
        env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(BUILD, 'meson-uninstalled'))
        flags = subprocess.run(['pkg-config', '--cflags', '--libs', 'autoglacier'], env=env, check=True,
                               capture_output=True, text=True).stdout.split()
        subprocess.run(['cc', '-Wall', '-Wextra', '-Werror', '-pthread', source, *flags, '-Wl,-rpath,' + LIBRARY,
                        '-o', program], check=True)
        return program

    def environment(self):
        env = super().environment()
        env.update(LIBAUTOGLACIER=os.path.join(LIBRARY, 'libautoglacier.so'), PYTHONPATH=EXAMPLES)
        for name in ('LD_PRELOAD', 'ASAN_OPTIONS'):
            env.pop(name, None)
        return env

    def call(self, *words, status=0):
        p = subprocess.run(words, env=self.environment(), capture_output=True, text=True, timeout=600)
        self.assertEqual(p.returncode, status, p.stderr)
        return p.stdout, p.stderr

    def names(self):
        return [line.split('\t')[0] for line in self.run_it('list')[0].splitlines()]

    def test_one_call_archives_and_says_nothing(self):
        self.write('a.sh', 'one')
        file = self.write('b', 'two')
        program = self.compile(os.path.join(EXAMPLES, 'one_call.c'))
        self.assertEqual(self.call(program, 'shell scripts', self.path('*.sh'), file), ('', ''))
        info = self.archive('latest')
        self.assertEqual((info['files'], info['description'], info['state']), (2, 'shell scripts', 'stored'))

    def test_one_call_tells_what_is_wrong(self):
        program = self.compile(os.path.join(EXAMPLES, 'one_call.c'))
        self.assertIn('no file was named', self.call(program, 'x', self.path('*.none'), status=1)[1])
        self.configure(COMPRESION='gzip')
        self.assertIn('CONFIG.json:1: unknown key COMPRESION', self.call(program, 'x', '/etc/p*', status=1)[1])

    def test_job_with_a_hook_of_its_own(self):
        self.write('a.sh', 'one')
        self.write('a.sh~', 'old')
        program = self.compile(os.path.join(EXAMPLES, 'job.c'))
        out, err = self.call(program, self.path('*'))
        info = self.archive(out.strip())
        self.assertEqual((info['files'], info['compression']), (1, 'gzip'))
        os.unlink(self.path('a.sh'))
        self.assertIn('the gather hook failed', self.call(program, self.path('*'), status=1)[1])

    def test_list_and_restore(self):
        self.write('a.sh', 'one')
        self.run_it('backup', '-m', 'x', self.source)
        program = self.compile(os.path.join(EXAMPLES, 'restore.c'))
        self.assertIn('1 files\tx', self.call(program)[0])
        self.assertIn(self.path('a.sh').lstrip('/'), self.call(program, 'latest')[0])
        to = os.path.join(self.folder, 'back')
        self.call(program, 'latest', to)
        with open(to + self.path('a.sh')) as f:
            self.assertEqual(f.read(), 'one')
        self.assertIn('none', self.call(program, 'none', to, status=1)[1])

    def cold(self):
        """Archives a file into a store that thaws for hours; the store, the program, a folder."""
        store = ColdStore(os.path.join(self.folder, 'cold'))
        self.configure(VAULT=store.url('delay=%d' % HOURS))
        self.write('a.sh', 'one')
        r = subprocess.run([Programs.cli, 'backup', '-m', 'x', self.source], env=self.environment(), capture_output=True, text=True)
        if 'VAULT' in r.stderr and r.returncode != 0:
            self.skipTest('a build without the simulated cold store')
        self.assertEqual(r.returncode, 0, r.stderr)
        return store, self.compile(self.write('thaw.c', THAW)), os.path.join(self.folder, 'back')

    def test_cold_store_is_asked_only_where_that_was_said(self):
        store, program, to = self.cold()
        self.assertIn('-66', self.call(program, to, '0', '0', status=1)[1])  # EREMOTE
        self.assertEqual(store.asked(), [])
        self.assertIn('-115', self.call(program, to, '1', '0', status=1)[1])  # EINPROGRESS
        p = subprocess.Popen([program, to, '1', '1'], env=self.environment(), stdout=subprocess.PIPE, text=True)
        while 'thawing' not in (said := p.stdout.readline()):
            self.assertNotEqual(said, '', 'it ended without a word of thawing')
        store.thawed()
        said = p.communicate(timeout=600)[0]
        self.assertEqual(p.returncode, 0, said)
        self.assertIn('3 of 3', said)
        with open(to + self.path('a.sh')) as f:
            self.assertEqual(f.read(), 'one')
        self.assertEqual(len(store.asked()), 1)

    def test_who_cancels_a_restore_from_a_cold_store_gets_no_files_later(self):
        store, program, to = self.cold()
        self.assertIn('-115', self.call(program, to, '1', '0', status=1)[1])  # EINPROGRESS
        self.assertIn('-125', self.call(program, to, '1', '2', status=1)[1])  # ECANCELED
        self.assertIn('no restore of', self.run_it('restore', 'latest', '--cancel')[1])
        self.assertIn('-115', self.call(program, to, '1', '0', status=1)[1])
        self.assertEqual(len(store.asked()), 1)

    def test_scripts_of_the_python_program(self):
        self.write('view.sh', 'one')
        self.write('scripts/a.sh', 'two')
        self.write('bugging/bug1.sh', 'three')
        script = os.path.join(self.folder, 'script.py')
        with open(script, 'w') as f:
            f.write(f'''
import glob, os
from autoglacier import GTEU, auto_glacier

class Backup(GTEU):
    CONFIG = {{'COMPRESSION': 'bzip2', 'JSON_DATABASE': {self.log!r}}}
    files = [{self.path('view.sh')!r}]
    list_of_globs = [{self.path('scripts')!r} + '/*.sh']
    description = "shell scripts archive"

    def gather_hook(self):
        newest = max(glob.iglob({self.path('bugging')!r} + '/bug*.sh'), key=os.path.getmtime)
        self.files.append(newest)

if __name__ == "__main__":
    Backup.run()
    auto_glacier([{self.path('view.sh')!r}], [], "one call")
    Backup.read_config({os.path.join(self.home, 'CONFIG.json')!r})
    Backup.run()
''')
        self.assertEqual(self.call(sys.executable, script), ('', ''))
        [entry] = self.entries().values()
        self.assertEqual([f['abs_path'] for f in entry['files']],
                         [self.path(n) for n in ('view.sh', 'scripts/a.sh', 'bugging/bug1.sh')])
        self.assertEqual((entry['compression'], entry['descryption']), ('bzip2', 'shell scripts archive'))
        self.assertEqual(self.archive('latest')['compression'], 'zstd')

    def test_only_what_the_header_names_is_seen(self):
        out = subprocess.run(['nm', '-D', '--defined-only', os.path.join(LIBRARY, 'libautoglacier.so')], check=True,
                             capture_output=True, text=True).stdout
        names = sorted(line.split()[2].split('@')[0] for line in out.splitlines() if line.split()[1] == 'T')
        with open(os.path.join(TOP, 'core', 'autoglacier.h')) as f:
            header = f.read()
        self.assertTrue(all(n.startswith('agl_') and n + '(' in header for n in names), names)
        self.assertEqual(len(names), 14)

    def test_two_processes_of_four_threads_make_forty_archives_one_after_the_other(self):
        self.make_forty(threads=4, times=5)

    def test_forty_backups_that_two_processes_start_in_the_same_second_are_all_there(self):
        self.make_forty(threads=20, times=1)

    def make_forty(self, threads, times):
        self.configure(COMPRESSION='zstd', COMPRESSION_WORKERS=1, JSON_DATABASE=self.log)
        program = self.compile(os.path.join(TOP, 'tests', 'job', 'many.c'))
        path = self.write('a', 'a' * 1000)
        wrong, over = [], threading.Event()

        def poll():
            while not over.is_set():
                try:
                    self.entries()
                except FileNotFoundError:
                    pass
                except ValueError as e:
                    wrong.append(e)
                time.sleep(0.002)

        reader = threading.Thread(target=poll, daemon=True)
        self.addCleanup(over.set)
        reader.start()
        at = str(int(time.time()) + 2)
        processes = [subprocess.Popen([program, str(threads), str(times), at, path], env=self.environment(), stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True) for _ in range(2)]
        for p in processes:
            out = p.communicate(timeout=280)[0]
            self.assertEqual((p.returncode, out), (0, ''))
        over.set()
        reader.join()
        self.assertEqual(wrong, [])
        log = self.entries()
        archives = json.loads(self.run_it('list', '--json')[0])
        archives = archives['archives'] if isinstance(archives, dict) else archives
        self.assertEqual((len(log), len(archives)), (40, 40))
        self.assertTrue(all(e['JOB SUCCEED'] is True for e in log.values()))
        self.assertEqual({a['state'] for a in archives}, {'stored'})


if __name__ == '__main__':
    if os.environ.get('AUTOGLACIER_SANITIZED'):
        print('SKIP: a library without sanitizers')
        sys.exit(77)
    if not shutil.which('pkg-config') or not shutil.which('cc'):
        print('SKIP: pkg-config and a C compiler')
        sys.exit(77)
    unittest.main(verbosity=2)
