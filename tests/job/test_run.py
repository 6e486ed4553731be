#!/usr/bin/python3
"""Saved jobs on the command line: what holds for one, several runs at once, mistakes in its file."""
import json
import os
import unittest

from job_case import JobCase


class Run(JobCase):
    def shown(self, *words):
        return json.loads(self.run_it('config', '--json', *words)[0])

    def test_config_shows_what_holds_for_a_job_and_where_it_comes_from(self):
        self.configure(COMPRESSION='zstd', VAULT='dir:/some/where', REGION_NAME='eu-west-1')
        path = self.job('n', files=['/etc/hostname'], CONFIG={
            'COMPRESSION': 'gzip', 'VAULT_NAME': 'TestVault1', 'TMP_DIR': 'tmp', 'AWS_SECRET_ACCESS_KEY': 'not-to-be-seen'})
        want = {'COMPRESSION': ('gzip', 'job'), 'VAULT': ('glacier://TestVault1', 'default'), 'VAULT_NAME': ('TestVault1', 'job'),
                'REGION_NAME': ('eu-west-1', 'file'), 'TMP_DIR': (os.path.join(self.home, 'jobs', 'tmp'), 'job'),
                'AWS_SECRET_ACCESS_KEY': ('********', 'job'), 'COST_LIMIT': (5, 'default')}
        for name in ('n', path):
            shown = self.shown('--job', name)
            self.assertEqual({k: (shown[k]['value'], shown[k]['from']) for k in want}, want)
        self.assertEqual(self.shown()['VAULT'], {'value': 'dir:/some/where', 'from': 'file'})
        out = self.run_it('config', '-j', 'n')[0]
        self.assertTrue(out.startswith('# job: ' + path + '\n'), out)
        self.assertNotIn('not-to-be-seen', out)
        self.assertEqual(self.run_it('config', '-j', 'n', 'COMPRESSION')[0], 'gzip\n')
        self.assertIn('there is no job other', self.run_it('config', '-j', 'other', status=1)[1])

    def test_job_that_runs_twice_at_once_makes_two_archives(self):
        self.job('twice', files=[self.write('a', 'a')], gather_hook=['/bin/sh', '-c', 'sleep 1; cat'])
        runs = [self.start('run', 'twice') for _ in range(2)]
        names = set()
        for p in runs:
            out, err = p.communicate(timeout=300)
            self.assertEqual(p.returncode, 0, err)
            names.add(out.decode().strip())
        self.assertEqual(len(names), 2)
        self.assertEqual([self.archive(n)['files'] for n in names], [1, 1])

    def test_hook_that_fails_is_told_with_its_last_words(self):
        self.job('n', files=['/etc/hostname'], gather_hook=['/bin/sh', '-c', 'echo one; echo no database >&2; exit 4'])
        self.assertIn('ended with status 4; nothing was archived; it said: no database', self.run_it('run', 'n', status=1)[1])
        self.assertIn('it said: no database', self.archive('latest')['error'])

    def test_mistake_in_a_job_is_told_in_words(self):
        path = os.path.join(self.home, 'jobs', 'bad.json')
        for text, line, words in (('{\n"file": []}', 2, 'a job has no such key'),
                                  ('{"files": [1]}', 1, 'an entry is not a text in quotes'),
                                  ('{\n"files": ["/a",\n]}', 3, 'JSON has no comma after the last entry'),
                                  ('', 1, 'it is empty'),
                                  ('{"files": ["/a"],\n"CONFIG": {\n"COMPRESION": "gzip"}}', 3, 'did you mean COMPRESSION?')):
            with open(path, 'w') as f:
                f.write(text)
            err = self.run_it('run', 'bad', status=1)[1]
            self.assertIn('%s:%d:' % (path, line), err)
            self.assertIn(words, err)


if __name__ == '__main__':
    unittest.main(verbosity=2)
