#!/usr/bin/python3
"""jobs/ in the mount: what a job is, what it would archive now, what became of it, and how it is run."""
import errno
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from mount import MountCase, main, until  # noqa: E402


class Jobs(MountCase):
    def setUp(self):
        super().setUp()
        self.m = self.mount({'COMPRESSION': 'zstd'})
        self.source = os.path.join(self.m.folder, 'source')
        os.makedirs(os.path.join(self.source, 'sub'))
        for name in ('a.txt', 'b.txt', 'sub/c'):
            self.put(name)

    def put(self, name, text='text', when=1700000000):
        path = os.path.join(self.source, name)
        with open(path, 'w') as f:
            f.write(text)
        for p in (path, os.path.dirname(path)):
            os.utime(p, (when, when))

    def job(self, name, **keys):
        os.makedirs(os.path.join(self.m.home, 'jobs'), exist_ok=True)
        with open(os.path.join(self.m.home, 'jobs', name + '.json'), 'w') as f:
            json.dump(keys, f)

    def run_job(self, name, text='go\n'):
        before = set(self.m.archives())
        with open(self.m.path('jobs', name, '.commit'), 'w') as f:
            f.write(text)
        [archive] = set(self.m.archives()) - before
        return archive

    def test_folder_shows_what_the_job_is(self):
        self.assertEqual(os.listdir(self.m.path('jobs')), [])
        self.job('texts', list_of_globs=[self.source + '/*.txt', self.source + '/*.pdf'], description='texts, 100%%')
        self.assertEqual(os.listdir(self.m.path('jobs')), ['texts'])
        self.assertEqual(sorted(os.listdir(self.m.path('jobs/texts'))), ['.commit', 'description', 'files', 'last'])
        self.assertEqual(self.m.read('jobs/texts/description'), 'texts, 100%\n')
        self.assertEqual(self.m.read('jobs/texts/files'), '%s/a.txt\n%s/b.txt\n# the pattern %s/*.pdf finds nothing\n'
                         % ((self.source,) * 3))
        self.assertEqual(self.m.read('jobs/texts/last'), 'it has not run yet\n')
        for name in ('description', 'files', 'last', '.commit'):
            path = self.m.path('jobs/texts', name)
            with open(path, 'rb') as f:
                self.assertEqual(os.stat(path).st_size, len(f.read()), name)
        self.assertFalse(os.path.exists(self.m.path('jobs/none')))

    def test_writing_its_commit_runs_it(self):
        self.job('texts', files=[self.source], description='all of it')
        archive = self.run_job('texts')
        self.m.wait('stored', archive)
        self.assertEqual(self.m.info(archive)['description'], 'all of it')
        self.assertEqual(self.m.info(archive)['files'], 3)
        self.assertEqual(self.m.read('jobs/texts/last'), 'archives/%s is stored\n' % archive)
        self.job('plain', files=[self.source])
        self.assertEqual(self.m.info(self.m.wait('stored', self.run_job('plain', 'my words\n')))['description'], 'my words')

    def test_job_that_fails_says_so(self):
        self.job('bad', files=[self.source], gather_hook='/bin/false')
        archive = self.run_job('bad')
        self.m.wait('failed', archive)
        self.assertIn('is failed: the gather hook /bin/false ended with status 1', self.m.read('jobs/bad/last'))
        self.assertIn('ended with status 1', self.m.text('log', archive))

    def test_job_with_a_mistake_shows_it(self):
        self.job('wrong', fils=[self.source])
        self.assertIn('wrong.json:1: fils: a job has no such key', self.m.read('jobs/wrong/files'))
        with self.assertRaises(OSError) as caught:
            fd = os.open(self.m.path('jobs/wrong/.commit'), os.O_WRONLY)
            try:
                os.write(fd, b'go\n')
            finally:
                os.close(fd)
        self.assertEqual(caught.exception.errno, errno.EINVAL)
        self.assertIn('a job has no such key', self.m.read('.status'))

    def test_whatever_is_wrong_with_its_file_is_shown_in_its_folder(self):
        self.job('good', files=[self.source])
        folder = os.path.join(self.m.home, 'jobs')
        os.mkdir(os.path.join(folder, 'folder.json'))
        os.symlink('away', os.path.join(folder, 'link.json'))
        for name, text in (('cut', '{"files": ['), ('empty', '')):
            with open(os.path.join(folder, name + '.json'), 'w') as f:
                f.write(text)
        for name, words in (('folder', 'Is a directory'), ('link', 'No such file'), ('cut', 'it is not JSON'),
                            ('empty', 'it is empty')):
            self.assertEqual(sorted(os.listdir(self.m.path('jobs', name))), ['.commit', 'description', 'files', 'last'])
            for entry in ('description', 'files', 'last', '.commit'):
                self.assertRegex(self.m.read('jobs', name, entry), r'^# .*%s.*\n$' % words)
        self.assertEqual(sorted(os.listdir(self.m.path('jobs'))), ['cut', 'empty', 'folder', 'good', 'link'])

    def test_jobs_come_and_go_while_it_is_mounted_whatever_their_names(self):
        names = ['a b', '\u00e9', 'new\nline', '%20', '-dash', 'commit', 'x' * 240] + ['job%d' % i for i in range(300)]
        for name in names:
            self.assertFalse(os.path.exists(self.m.path('jobs', name)))
            self.job(name, files=[self.source])
            self.assertEqual(self.m.read('jobs', name, 'files'), self.source + '\n')
        self.assertEqual(sorted(os.listdir(self.m.path('jobs'))), sorted(names))
        self.assertEqual(self.m.info(self.m.wait('stored', self.run_job('new\nline')))['files'], 3)
        for name in names[:10]:
            os.unlink(os.path.join(self.m.home, 'jobs', name + '.json'))
            self.assertFalse(os.path.exists(self.m.path('jobs', name, 'files')))
        self.assertEqual(sorted(os.listdir(self.m.path('jobs'))), sorted(names[10:]))

    def test_files_of_an_archive_show_what_had_not_changed_too(self):
        self.job('all', files=[self.source], changed_only=True)
        first = self.m.wait('stored', self.run_job('all'))
        self.put('b.txt', 'changed')
        second = self.m.wait('stored', self.run_job('all'))
        self.assertEqual(self.m.info(second)['files'], 1)
        self.assertEqual(self.m.info(second)['unchanged']['archives'][0]['name'], first)
        tops = [self.m.path('archives', name, 'files') + self.source for name in (first, second)]
        for top, text in zip(tops, ('text', 'changed')):
            self.assertEqual(sorted(os.listdir(top)), ['a.txt', 'b.txt', 'sub'])
            self.assertEqual(os.listdir(top + '/sub'), ['c'])
            self.assertEqual(os.stat(top + '/b.txt').st_size, len(text))
            for name in ('a.txt', 'b.txt', 'sub/c'):
                with open(os.path.join(top, name)) as f:
                    self.assertEqual(f.read(), text if name == 'b.txt' else 'text')
        self.assertEqual(os.stat(tops[1] + '/a.txt').st_mtime, 1700000000)


if __name__ == '__main__':
    main()
