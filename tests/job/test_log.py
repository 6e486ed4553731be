#!/usr/bin/python3
"""JSON_DATABASE is what the Python program writes, byte for byte, and survives company."""
import datetime
import hashlib
import json
import os
import stat
import threading
import time
import unittest

from job_case import JobCase


def file_entry(path):
    """What the Python program writes of a file."""
    with open(path, 'rb') as f:
        digest = hashlib.sha512(f.read()).hexdigest()
    when = datetime.datetime.fromtimestamp(os.path.getmtime(path), datetime.timezone.utc)
    return {'SHA512': digest, 'mod_time': when.strftime('%Y-%m-%d %H:%M:%S'), 'abs_path': path}


class Log(JobCase):
    def setUp(self):
        super().setUp()
        self.configure(COMPRESSION='gzip', JSON_DATABASE=self.log, REGION_NAME='eu-west-1',
                       VAULT='dir:' + os.path.join(self.folder, 'store'), VAULT_NAME='TestVault1')
        os.mkdir(os.path.join(self.folder, 'store'))

    def test_entry_is_that_of_the_python_program_field_by_field(self):
        files = [self.write('a.sh', 'one'), self.write('b \u00e9\U0001f600"\\.sh', b''),
                 os.fsdecode(os.fsencode(self.source) + b'/bad\xff\xe2\x82')]
        with open(files[2], 'wb') as f:
            f.write(b'three')
        os.utime(files[0], ns=(0, 1234567890123456789))
        files = [files[1], files[0], files[2], files[1]]  # as the Python program's list: explicit files, then globs
        self.job('scripts', files=files[:2], list_of_globs=[self.path('bad*'), self.path('b *')],
                 description='shell scripts archive')
        self.run_it('run', 'scripts')
        with open(self.log, 'rb') as f:
            text = f.read().decode('ascii')
        log = json.loads(text)
        self.assertEqual(text, json.dumps(log, indent=2))
        [(key, entry)] = log.items()
        with open(os.path.join(self.home, 'data', 'keys', 'public.pem')) as f:
            pem = f.read()
        self.assertEqual(list(entry), ['JOB SUCCEED', 'TIMESTAMP', 'timestring', 'files', 'compression', 'archive_size',
                                       'used_public_key', 'public_key_path', 'region_name', 'vault_name', 'descryption',
                                       'response'])
        self.assertEqual(key, repr(entry['TIMESTAMP']))
        self.assertLess(abs(entry['TIMESTAMP'] - time.time()), 600)
        self.assertEqual(entry['timestring'], datetime.datetime.fromtimestamp(
            entry['TIMESTAMP'], datetime.timezone.utc).strftime('%Y-%m-%d %H:%M:%S'))
        self.assertEqual(entry['files'], [file_entry(f) for f in files])
        self.assertEqual({k: entry[k] for k in ('JOB SUCCEED', 'compression', 'used_public_key', 'public_key_path',
                                                'region_name', 'vault_name', 'descryption')},
                         {'JOB SUCCEED': True, 'compression': 'gzip', 'used_public_key': pem,
                          'public_key_path': os.path.join(self.home, 'data', 'keys', 'public.pem'),
                          'region_name': 'eu-west-1', 'vault_name': 'TestVault1',
                          'descryption': 'shell scripts archive'})

    def test_files_stand_in_the_order_of_the_list_that_the_hook_printed(self):
        names = [self.write(n, n) for n in ('z', 'y', 'x')]
        order = [names[1], names[2], names[0], names[2]]
        self.job('hook', files=names, gather_hook=['/usr/bin/printf', '%s\\0', *order])
        self.run_it('run', 'hook')
        [entry] = self.entries().values()
        self.assertEqual(entry['files'], [file_entry(f) for f in order])

    def test_folder_stands_for_all_files_below_it_where_the_list_has_it(self):
        inside = [self.write(n, n) for n in ('d/a/1', 'd/a-', 'd/b')]
        last = self.write('a', 'a')
        os.symlink('b', self.path('d', 'link'))
        os.link(inside[0], self.path('d', 'c'))
        self.run_it('backup', '-m', 'x', '--glob', self.path('a'), self.path('d'))
        [entry] = self.entries().values()
        self.assertEqual(entry['files'], [file_entry(f) for f in inside + [self.path('d', 'c'), last]])

    def test_entry_of_a_job_that_lacks_a_file_has_not_succeeded(self):
        """The Python program ended there; what was stored all the same is told of."""
        path = self.write('a', 'a')
        self.job('lacks', files=[self.path('none'), path])
        self.run_it('run', 'lacks', status=3)
        [entry] = self.entries().values()
        self.assertEqual((entry['JOB SUCCEED'], entry['files'], 'response' in entry), (False, [file_entry(path)], True))

    def test_entries_of_others_stay_as_they_are(self):
        other = '"1500000000.25": {  "JOB SUCCEED":true,\t"files": [ ],"x": 1.10, "y":"\\u00e9\u00e9" }'
        with open(self.log, 'w') as f:
            f.write('{' + other + '}')
        os.chmod(self.log, 0o640)
        self.run_it('backup', '-m', 'x', self.write('a', 'a'))
        with open(self.log) as f:
            text = f.read()
        self.assertIn(other.replace('  "JOB', '  "JOB'), text)
        self.assertEqual(list(json.loads(text).values())[1]['JOB SUCCEED'], True)
        self.assertEqual(os.stat(self.log).st_mode & 0o777, 0o640)

    def test_log_may_be_a_link(self):
        real = os.path.join(self.folder, 'real.json')
        with open(real, 'w') as f:
            f.write('{}')
        os.symlink('real.json', self.log)
        self.run_it('backup', '-m', 'x', self.write('a', 'a'))
        self.assertTrue(os.path.islink(self.log))
        with open(real) as f:
            self.assertEqual(len(json.load(f)), 1)

    def test_what_is_no_file_is_left_as_it_is(self):
        place = os.path.join(self.folder, 'pipe')
        os.mkfifo(place)
        self.configure(JSON_DATABASE=place)
        self.run_it('backup', '-m', 'x', self.write('a', 'a'), status=3)
        self.assertTrue(stat.S_ISFIFO(os.lstat(place).st_mode))
        self.assertIn('is not a file', self.run_it('show', '--log', 'latest')[0])

    def test_broken_log_is_named_with_its_line_and_kept(self):
        broken = '{\n  "1500000000.25": {\n    "JOB SUCCEED": tru\n  }\n}'
        with open(self.log, 'w') as f:
            f.write(broken)
        name = self.run_it('backup', '-m', 'x', self.write('a', 'a'), status=3)[0].strip()
        with open(self.log) as f:
            self.assertEqual(f.read(), broken)
        self.assertIn('log.json:3:', ' '.join(self.archive(name)['warning_texts']))

    def test_job_that_fails_leaves_its_entry_unsucceeded(self):
        self.job('bad', gather_hook='/bin/false')
        self.run_it('run', 'bad', status=1)
        self.assertEqual([e for e in self.entries().values()], [{'JOB SUCCEED': False}])

    def test_job_whose_file_is_gone_before_it_runs_fails_with_words(self):
        path = self.job('gone', files=[self.write('a', 'a')])
        name = self.run_it('run', '--detach', 'gone', status=4)[0].strip()
        os.unlink(path)
        self.assertIn('its job is gone: cannot open ' + path, self.run_it('retry', name, status=1)[1])
        self.assertEqual([e for e in self.entries().values()], [{'JOB SUCCEED': False}])

    def test_many_programs_at_once_lose_nothing_and_readers_always_find_json(self):
        path = self.write('a', 'a' * 1000)
        seen, over = [], threading.Event()

        def poll():
            while not over.is_set():
                try:
                    seen.append(len(self.entries()))
                except FileNotFoundError:
                    pass
                except ValueError as e:
                    seen.append(e)
                time.sleep(0.002)

        reader = threading.Thread(target=poll, daemon=True)
        self.addCleanup(over.set)
        reader.start()
        programs = [self.start('backup', '-m', 'x', path) for _ in range(6)]
        for p in programs:
            err = p.communicate(timeout=600)[1]
            self.assertEqual(p.returncode, 0, err)
        over.set()
        reader.join()
        self.assertEqual([s for s in seen if not isinstance(s, int)], [])
        log = self.entries()
        self.assertEqual(len(log), 6)
        self.assertTrue(all(e['JOB SUCCEED'] is True and len(e['files']) == 1 for e in log.values()))


if __name__ == '__main__':
    unittest.main(verbosity=2)
