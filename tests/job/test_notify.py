#!/usr/bin/python3
"""NOTIFY_COMMAND is told what became of an archive, and cannot do harm."""
import os
import unittest

from job_case import JobCase


class Notify(JobCase):
    def setUp(self):
        super().setUp()
        self.said = os.path.join(self.folder, 'said')
        self.command('cat >> %s; echo "$AUTOGLACIER_EVENT|$AUTOGLACIER_ARCHIVE|$AUTOGLACIER_DESCRIPTION|'
                     '$AUTOGLACIER_ERROR" >> %s' % (self.said, self.said))

    def command(self, text):
        self.configure(COMPRESSION='zstd', NOTIFY_COMMAND=text)

    def told(self):
        with open(self.said) as f:
            return f.read()

    def test_stored_archive_is_told(self):
        name = self.run_it('backup', '-m', 'a "b" $c', self.write('a', 'a'))[0].strip()
        self.assertEqual(self.told(), 'autoglacier: %s is stored\nstored|%s|a "b" $c|\n' % (name, name))

    def test_failed_archive_is_told_with_the_reason(self):
        self.job('bad', gather_hook='/bin/false')
        self.run_it('run', 'bad', status=1)
        self.assertIn('|bad|the gather hook /bin/false ended with status 1', self.told())
        self.assertIn('\nfailed|', '\n' + self.told().split('\n', 1)[1])

    def test_command_that_fails_is_no_failure_of_the_archive(self):
        self.command('exit 3')
        name = self.run_it('backup', '-m', 'x', self.write('a', 'a'))[0].strip()
        self.assertEqual(self.archive(name)['state'], 'stored')
        self.assertIn('NOTIFY_COMMAND ended with status 3', self.run_it('show', name)[0])


if __name__ == '__main__':
    unittest.main(verbosity=2)
