#!/usr/bin/python3
"""Only what changed since it was stored is archived, and what was left out is known where it is."""
import contextlib
import json
import os
import re
import shutil
import sqlite3
import time
import unittest

from job_case import JobCase
from mount import BUILD

LONG_AGO = 1700000000
LONG = os.environ.get('AUTOGLACIER_LONG') == '1'


def build_options():
    """The names of the options that this build was made with."""
    with open(os.path.join(BUILD, 'meson-info', 'intro-buildoptions.json')) as f:
        return [o['name'] for o in json.load(f) if o['value'] is True]


class Changed(JobCase):
    def setUp(self):
        super().setUp()
        for name in ('a/one', 'a/two', 'b/three'):
            self.write(name, name)
        os.symlink('one', self.path('a/link'))
        os.link(self.path('a/one'), self.path('b/hard'))
        self.settle()

    def settle(self, *names):
        """Times so old that what is read can be relied on."""
        for folder, folders, files in os.walk(self.source, topdown=False):
            for f in files + ['']:
                path = os.path.join(folder, f)
                if not names or os.path.relpath(path, self.source) in names:
                    os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)

    def backup(self, *options, what=None):
        return self.run_it('backup', '-m', 'x', *options, what or self.source)[0].strip()

    def held(self, name):
        """The files that the archive itself holds."""
        out, _ = self.run_it('files', '--long', name)
        return sorted(self.relative(line.split(' ', 5)[-1]) for line in out.splitlines()
                      if line[0] == '-' and '[in ' not in line)

    def relative(self, path):
        path = re.split(' -> | = ', path)[0].split()[-1]
        return os.path.relpath('/' + path, self.source)

    def listed(self, name):
        return sorted(os.path.relpath('/' + line, self.source) for line in self.run_it('files', name)[0].splitlines())

    def test_unchanged_files_are_left_out_and_listed_where_they_are(self):
        full = self.backup()
        self.write('a/two', 'another two')
        name = self.backup('--changed')
        self.assertEqual(self.held(name), ['a/two'])
        self.assertEqual(self.listed(name), self.listed(full))
        info = self.archive(name)
        self.assertEqual(info['unchanged'], {'files': 3, 'bytes': 12,
                                             'archives': [{'id': self.archive(full)['id'], 'name': full, 'files': 3}]})
        self.assertIsNone(self.archive(full)['unchanged'])
        self.assertRegex(self.run_it('show', name)[0], r'unchanged +3 files, 12 B\n  in +%s: 3 files\n' % full)

    def test_size_time_and_inode_each_tell_a_change(self):
        self.backup()
        self.write('a/one', 'x')
        self.settle('a/one')
        os.utime(self.path('a/two'), (LONG_AGO + 1, LONG_AGO + 1))
        os.rename(self.path('b/three'), self.path('b/old'))
        self.write('b/three', 'b/three')
        os.unlink(self.path('b/old'))
        self.settle('b/three', 'b')
        name = self.backup('--changed')
        self.assertEqual(self.held(name), ['a/one', 'a/two', 'b/hard', 'b/three'])

    def test_checksum_looks_at_content_alone(self):
        self.backup()
        os.utime(self.path('a/two'), (LONG_AGO + 1, LONG_AGO + 1))
        self.write('b/three', 'B/THREE')
        self.settle('b/three')
        self.assertEqual(self.held(self.backup('--changed', '--checksum')), ['b/three'])

    def test_file_changed_less_than_two_seconds_before_is_archived_again(self):
        os.utime(self.path('a/two'), (soon := time.time() + 3600, soon))  # so it is, however long the program takes to start
        self.backup()
        self.assertEqual(self.held(self.backup('--changed')), ['a/two'])

    def test_versions_of_another_store_or_other_recipients_do_not_count(self):
        self.backup()
        os.mkdir(os.path.join(self.folder, 'other'))
        self.configure(COMPRESSION='zstd', VAULT='dir:' + os.path.join(self.folder, 'other'))
        self.assertEqual(len(self.held(self.backup('--changed'))), 4)
        self.run_it('genkeys', os.path.join(self.folder, 'k'), os.path.join(self.folder, 'k.pub'))
        self.configure(COMPRESSION='zstd', PUBL_RSA_KEY_PATH=os.path.join(self.folder, 'k.pub'))
        self.assertEqual(len(self.held(self.backup('--changed'))), 4)

    def test_versions_in_a_deleted_archive_do_not_count(self):
        self.backup()
        self.write('a/two', 'another two')
        self.settle('a/two')
        second = self.backup('--changed')
        self.run_it('delete', '--yes', second)
        self.assertEqual(self.held(self.backup('--changed')), ['a/two'])

    def test_delete_names_what_no_other_archive_holds(self):
        full = self.backup()
        again = self.backup()
        self.assertNotIn('no other archive', self.run_it('delete', again, status=1)[1])
        self.run_it('delete', '--yes', again)
        self.write('a/two', 'another two')
        changed = self.backup('--changed')
        err = self.run_it('delete', full, status=1)[1]
        self.assertIn('b/three, as it is listed in ' + changed, err)
        self.assertNotIn('a/two', err)
        self.assertEqual(self.archive(full)['state'], 'stored')

    def test_saved_job_archives_only_what_changed(self):
        self.job('nightly', files=[self.source], changed_only=True)
        self.assertEqual(len(self.held(self.run_it('run', 'nightly')[0].strip())), 4)
        os.unlink(self.path('b/three'))
        name = self.run_it('run', 'nightly')[0].strip()
        self.assertEqual(self.held(name), [])
        self.assertNotIn('b/three', self.listed(name))

    def test_manifest_carries_what_was_left_out(self):
        full = self.archive(self.backup())
        name = self.archive(self.backup('--changed'))
        [lines] = [json.loads(line) for line in self.manifest(name) if line.startswith(b'{"unchanged"')]
        self.assertEqual(lines['unchanged'], full['id'])

    def test_tree_as_it_was_comes_back_from_several_archives(self):
        states = []
        self.write('c/gone', 'soon')
        self.settle()
        self.backup()
        states.append((self.now(), self.tree(self.source)))
        self.write('a/two', 'another two')
        os.unlink(self.path('c/gone'))
        self.backup('--changed')
        states.append((self.now(), self.tree(self.source)))
        self.write('d/new', 'new')
        self.write('a/two', 'a third')
        self.backup('--changed')
        states.append((self.now(), self.tree(self.source)))
        for k, (when, tree) in enumerate(states):
            to = os.path.join(self.folder, 'restored%d' % k)
            self.run_it('restore', '--as-of', when, '--to', to, self.source)
            self.assertEqual(self.tree(to + self.source), tree)
        self.assertIn('2 archives', self.run_it('restore', '--as-of', states[2][0], '--to',
                                                os.path.join(self.folder, 'again'), self.path())[1])
        dry = self.run_it('restore', '--as-of', states[2][0], '--dry-run', self.source)[0]
        self.assertEqual(sorted(line.split()[0] for line in dry.splitlines()),
                         sorted(line.split()[0] for line in self.run_it('list')[0].splitlines())[::2])
        err = self.run_it('restore', '--as-of', '2001-02-03', self.source, status=1)[1]
        self.assertIn('nothing of', err)

    def test_what_follows_at_the_same_place_of_another_archive_is_another_range(self):
        top = self.path('r')
        self.write('r/a', 'a')
        self.settle()
        self.backup(what=top)
        self.write('r/b', 'b')
        self.write('r/c', 'c')
        self.settle()
        os.utime(top, (LONG_AGO + 1, LONG_AGO + 1))
        self.backup('--changed', what=top)
        os.unlink(self.path('r/b'))
        os.utime(top, (LONG_AGO + 2, LONG_AGO + 2))
        self.backup('--changed', what=top)
        with contextlib.closing(sqlite3.connect(os.path.join(self.home, 'data', 'catalog.db'))) as db:
            places = {bytes(name): (at, at + length) for name, at, length in
                      db.execute("SELECT name, tar_offset, tar_len FROM member WHERE kind = 'f'")}
        self.assertEqual(places[b'c'][0], places[b'a'][1])  # else this proves nothing
        to = os.path.join(self.folder, 'restored')
        self.run_it('restore', '--as-of', self.now(), '--to', to, top)
        self.assertEqual(self.tree(to + top), self.tree(top))

    def test_damage_in_one_archive_keeps_nothing_away_that_lies_in_others(self):
        first = self.archive(self.backup())['id']
        self.write('a/two', 'another two')
        self.settle('a/two')
        self.backup('--changed')
        when = self.now()
        for top, _, names in os.walk(os.path.join(self.home, 'data', 'store', 'archives')):
            for name in names:
                if name.startswith(first):
                    os.truncate(os.path.join(top, name), 1000)
        to = os.path.join(self.folder, 'restored')
        err = self.run_it('restore', '--as-of', when, '--to', to, self.source, status=1)[1]
        self.assertIn('b/three: ', err)
        self.assertIn('what is not named is there', err)
        self.assertEqual([os.path.join(d, f) for d, _, fs in os.walk(to) for f in fs], [to + self.path('a/two')])
        self.assertEqual(os.stat(to + self.path('a')).st_mtime_ns, os.stat(self.path('a')).st_mtime_ns)

    def test_paths_as_shells_complete_them_are_found(self):
        self.backup()
        when = self.now()
        expected = self.tree(self.source)
        for k, word in enumerate(('.', '/', './' + self.source.lstrip('/') + '/', self.source + '/')):
            to = os.path.join(self.folder, 'back%d' % k)
            self.run_it('restore', '--as-of', when, '--to', to, word)
            self.assertEqual(self.tree(to + self.source), expected, word)
            self.run_it('restore', 'latest', '--to', to + '-', word)
            self.assertEqual(self.tree(to + '-' + self.source), expected, word)

    def test_path_that_had_not_changed_is_told_where_it_is(self):
        full = self.archive(self.backup())
        name = self.backup('--changed')
        err = self.run_it('restore', name, self.path('b/three').lstrip('/'), status=1)[1]
        self.assertIn('had not changed when %s was made, and lies in archive %s' % (name, full['id']), err)

    def test_recovered_catalogue_knows_what_was_left_out(self):
        self.backup()
        self.write('a/two', 'another two')
        self.settle('a/two')
        os.unlink(self.path('b/three'))
        name = self.backup('--changed')
        when = self.now()
        before = self.run_it('files', '--long', name)[0], self.archive(name)
        key = os.path.join(self.folder, 'kept.pem')
        shutil.copy(os.path.join(self.home, 'data', 'keys', 'private.pem'), key)
        for path in ('catalog.db', 'catalog.db-wal', 'catalog.db-shm'):
            if os.path.exists(os.path.join(self.home, 'data', path)):
                os.unlink(os.path.join(self.home, 'data', path))
        self.run_it('recover', '--key', key)
        after = self.run_it('files', '--long', name)[0], self.archive(name)
        self.assertEqual(after[0], before[0])
        self.assertEqual(after[1]['unchanged'], before[1]['unchanged'])
        to = os.path.join(self.folder, 'restored')
        self.run_it('restore', '--as-of', when, '--to', to, self.source)
        self.assertEqual(self.tree(to + self.source), self.tree(self.source))
        self.assertEqual(self.held(self.backup('--changed')), [])

    def test_run_that_is_killed_and_taken_up_again_misses_nothing(self):
        if 'crash_points' not in build_options():
            self.skipTest('this build has no crash points')
        self.configure(COMPRESSION='none', VOLUME_SIZE='64MiB')
        noise = os.urandom(1 << 20)
        for k in range(6):
            self.write('v%d/big' % k, noise * 30)
            self.write('v%d/small' % k, 'small')
        self.settle()
        self.backup()
        for k in (0, 2, 3, 5):
            self.write('v%d/big' % k, noise * 31)
        self.settle()
        expected = self.listed('latest')
        points = ('volume-done', 'volume-confirmed', 'walked', 'packed', 'gathering')
        for point in points if LONG else points[:2]:
            p = self.start('backup', '-c', '-m', point, self.source, AUTOGLACIER_CRASH_AT=point)
            p.communicate(timeout=300)
            self.assertNotEqual(p.returncode, 0, point)
            name = self.names()[-1]
            said = self.run_it('retry', name, status=None)[1]
            self.assertEqual(self.archive(name)['state'], 'stored', point + said)
            self.assertEqual(self.listed(name), expected, point)
            self.assertEqual(self.held(name), ['v%d/big' % k for k in (0, 2, 3, 5)], point)
            self.run_it('delete', '--yes', name)

    def test_file_that_grows_between_two_kills_hides_none_behind_it(self):
        if 'crash_points' not in build_options():
            self.skipTest('this build has no crash points')
        self.configure(COMPRESSION='none', VOLUME_SIZE='20MiB', SPOOL_LIMIT='40MiB')
        noise = os.urandom(1 << 20)
        self.write('v0/big', noise * 33)
        self.write('v1/big', noise * 10)
        self.write('v2/small', 'small')
        for order, point in ((('backup', '-m', 'x', self.source), 'walked'), (('retry', 'latest'), 'volume-done:4')):
            p = self.start(*order, AUTOGLACIER_CRASH_AT=point)
            p.communicate(timeout=300)
            self.assertNotEqual(p.returncode, 0, point)
            self.write('v1/big', noise * 200)  # the second run is killed where the first walk had ended
        self.run_it('retry', 'latest', status=None)
        self.assertEqual(self.archive('latest')['state'], 'stored')
        self.assertIn('v2/small', self.listed('latest'))
        self.run_it('verify', '--data', 'latest')

    @unittest.skipUnless(LONG, 'AUTOGLACIER_LONG is not set')
    def test_of_many_files_only_those_that_changed_are_archived_again(self):
        shutil.rmtree(self.source)
        for d in range(300):
            for f in range(1000):
                self.write('%03d/%04d' % (d, f), '%d %d ' % (d, f) * 60)
        self.settle()
        times, changed = [], set()
        for options in ([], ['--changed']):
            began = time.monotonic()
            name = self.backup(*options)
            times.append(time.monotonic() - began)
            if options:
                self.assertEqual(self.held(name), sorted(changed))
            for f in range(3000):
                changed.add('%03d/%04d' % (f % 300, f // 3))
                self.write('%03d/%04d' % (f % 300, f // 3), 'changed')
        print('300,000 files: %.1f s, 1 %% changed: %.1f s' % tuple(times))

    def names(self):
        return [line.split()[0] for line in self.run_it('list')[0].splitlines()]

    def test_deleted_files_stay_away(self):
        self.backup()
        os.unlink(self.path('b/three'))
        self.backup('--changed')
        to = os.path.join(self.folder, 'restored')
        self.run_it('restore', '--as-of', self.now(), '--to', to, self.path('b'))
        self.assertEqual(sorted(os.listdir(to + self.path('b'))), ['hard'])

    def now(self):
        """A moment after all archives, and before all that come."""
        time.sleep(1.1)
        text = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() - 1))
        time.sleep(1.1)
        return text

    def tree(self, top):
        """Everything about it that a restore has to bring back."""
        found = {}
        for folder, folders, files in os.walk(top):
            for name in [''] + files:
                path = os.path.join(folder, name)
                st = os.lstat(path)
                content = None
                if os.path.islink(path):
                    content = os.readlink(path)
                elif name:
                    with open(path, 'rb') as f:
                        content = f.read()
                found[os.path.relpath(path, top)] = (st.st_mode, st.st_mtime_ns, content)
        return found

    def manifest(self, info):
        store = info['store'][len('dir:'):]
        [path] = [os.path.join(f, n) for f, _, names in os.walk(os.path.join(store, 'manifests')) for n in names
                  if n.startswith(info['id'])]
        out = os.path.join(self.folder, 'manifest.xz')
        self.run_it('decrypt', '--key', os.path.join(self.home, 'data', 'keys', 'private.pem'), '-o', out, path)
        import lzma
        with lzma.open(out) as f:
            return f.read().splitlines()


if __name__ == '__main__':
    unittest.main(verbosity=2)
