#!/usr/bin/python3
"""The Python program's log becomes archives, which come back from the vault that has them."""
import hashlib
import io
import json
import os
import sys
import tarfile
import unittest

from job_case import JobCase

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'servers'))

ENTRY = {'JOB SUCCEED': True, 'TIMESTAMP': 1506700000.25, 'timestring': '2017-09-29 15:46:40', 'files': [
    {'SHA512': hashlib.sha512(b'one').hexdigest(), 'mod_time': '2017-09-28 10:00:00', 'abs_path': '/home/me/view.sh'},
    {'SHA512': hashlib.sha512(b'two').hexdigest(), 'mod_time': '2017-09-28 11:00:00', 'abs_path': '/home/me/b\udcff.sh'},
], 'compression': 'lzma', 'archive_size': 1234, 'used_public_key': '', 'public_key_path': '/home/me/p.pem',
    'region_name': 'eu-west-1', 'vault_name': 'TestVault1', 'descryption': 'shell scripts archive',
    'response': {'archiveId': 'ID', 'checksum': '00' * 32, 'location': '/1/vaults/TestVault1/archives/ID'}}


class Import(JobCase):
    def log_of(self, entries, text=None):
        with open(self.log, 'w') as f:
            f.write(json.dumps(entries, indent=2) if text is None else text)

    def test_jobs_that_succeeded_become_archives(self):
        self.log_of({'1506700000.25': ENTRY, '1506700001.5': {'JOB SUCCEED': False}})
        err = self.run_it('import', self.log)[1]
        self.assertIn('imported 1 archive, 2 files', err)
        self.assertIn('1 job did not succeed', err)
        info = self.archive('latest')
        self.assertEqual((info['name'], info['description'], info['origin'], info['state'], info['files'], info['store'],
                          info['created']),
                         ('2017-09-29T15-46-40Z_shell-scripts-archive', 'shell scripts archive', 'imported', 'stored', 2,
                          'glacier://TestVault1', '2017-09-29T15:46:40.250000000Z'))
        self.assertEqual(self.run_it('files', 'latest')[0], 'home/me/b\udcff.sh\nhome/me/view.sh\n')
        self.assertIn('view.sh', self.run_it('find', 'view.sh')[0])
        self.assertIn(info['name'], self.run_it('stored', self.write('x', 'one'))[0])

    def test_what_verify_cannot_tell_is_said(self):
        self.log_of({'1506700000.25': ENTRY})
        self.run_it('import', self.log)
        out, err = self.run_it('verify')
        self.assertIn('only restoring it can tell', out)
        self.assertNotIn('no archive is stored', err)
        self.assertEqual(json.loads(self.run_it('verify', '--json')[0])['result'], 'unknown')

    def test_importing_again_changes_nothing(self):
        self.log_of({'1506700000.25': ENTRY})
        self.run_it('import', self.log)
        before = self.run_it('list', '--json')[0]
        self.assertIn('1 archive was known already', self.run_it('import', self.log)[1])
        self.assertEqual(self.run_it('list', '--json')[0], before)

    def test_entries_of_our_own_are_no_old_ones(self):
        self.configure(JSON_DATABASE=self.log, COMPRESSION='zstd')
        self.run_it('backup', '-m', 'x', self.write('a', 'a'))
        self.assertIn('imported 0 archives', self.run_it('import', self.log)[1])

    def test_broken_log_is_named_with_its_line_and_kept(self):
        text = json.dumps({'1506700000.25': ENTRY}, indent=2)
        for broken, line in ((text[:-3], text[:-3].count('\n') + 1), (text.replace('1234', '12x34'), text[:text.index('1234')].count('\n') + 1), ('[]', 1),
                             (text.replace('1506700000.25"', 'yesterday"'), 2), (text + '{', text.count('\n') + 1)):
            self.log_of(None, broken)
            err = self.run_it('import', self.log, status=1)[1]
            self.assertIn('log.json:%d: ' % line, err)
            self.assertIn('nothing was imported', err)
            with open(self.log) as f:
                self.assertEqual(f.read(), broken)
        self.assertEqual(self.run_it('list')[0], '')

    def test_imported_archive_comes_back_from_its_vault(self):
        from emulated import Emulated
        from predecessor import seal
        import botocore.session
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode='w:xz') as t:
            member = tarfile.TarInfo('home/me/view.sh')
            member.size = 3
            t.addfile(member, io.BytesIO(b'one'))
        with open(os.path.join(self.home, 'data', 'keys', 'public.pem')) as f:
            pem = f.read()
        sealed = seal(pem, tar.getvalue())
        with Emulated(region='eu-west-1') as server:
            env = server.environment()
            session = botocore.session.get_session()
            session.set_credentials(env['AWS_ACCESS_KEY_ID'], env['AWS_SECRET_ACCESS_KEY'])
            client = session.create_client('glacier', region_name='eu-west-1', endpoint_url=server.url)
            client.create_vault(accountId='-', vaultName='TestVault1')
            response = client.upload_archive(accountId='-', vaultName='TestVault1', archiveDescription='shell scripts',
                                             body=sealed)
            self.configure(VAULT_NAME='TestVault1', REGION_NAME='eu-west-1', ENDPOINT_URL=server.url,
                           AWS_ACCESS_KEY_ID=env['AWS_ACCESS_KEY_ID'], AWS_SECRET_ACCESS_KEY=env['AWS_SECRET_ACCESS_KEY'])
            entry = dict(ENTRY, used_public_key=pem, archive_size=len(tar.getvalue()), response=response)
            self.log_of({'1506700000.25': entry})
            self.run_it('import', self.log)
            to = os.path.join(self.folder, 'back')
            self.run_it('restore', 'latest', '--to', to, '--wait', '--tier', 'expedited')
            with open(os.path.join(to, 'home/me/view.sh')) as f:
                self.assertEqual(f.read(), 'one')
            self.assertIn('imported from a log', self.run_it('verify')[0])
            self.run_it('delete', '--yes', 'latest')
            with self.assertRaises(client.exceptions.ResourceNotFoundException):
                client.initiate_job(accountId='-', vaultName='TestVault1', jobParameters={
                    'Type': 'archive-retrieval', 'ArchiveId': response['archiveId']})


if __name__ == '__main__':
    unittest.main(verbosity=2)
