#!/usr/bin/python3
"""FROM-PYTHON.md, run from its first line to its last: on a directory, and on an emulated vault."""
import datetime
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), os.path.join(HERE, '..', 'servers')]
from mount import BUILD, Keys, Programs, TOP  # noqa: E402
from predecessor import seal  # noqa: E402

FIELDS = ['JOB SUCCEED', 'TIMESTAMP', 'timestring', 'files', 'compression', 'archive_size', 'used_public_key',
          'public_key_path', 'region_name', 'vault_name', 'descryption', 'response']


def blocks():
    """(kind, text) of everything on the page that is run."""
    with open(os.path.join(TOP, 'doc', 'FROM-PYTHON.md')) as f:
        return re.findall(r'^```(sh file|sh|python)\n(.*?)^```$', f.read(), re.M | re.S)


class Page(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.mkdtemp(prefix='autoglacier-page-')
        self.addCleanup(shutil.rmtree, self.home)
        self.log = os.path.join(self.home, 'AutoGlacier', 'log.json')
        for name in ('view.sh', 'login.sh', 'scripts/a.sh', 'scripts/b.sh', 'bugging/bug1.sh', 'bugging/bug2.sh'):
            path = os.path.join(self.home, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w') as f:
                f.write(name)
            os.utime(path, (1700000000, 1700000000 + (name[-4] == '2')))
        Keys.copy_to(os.path.join(self.home, 'keys', 'k'))
        os.makedirs(os.path.join(self.home, 'AutoGlacier'))
        for kind in ('public', 'private'):
            shutil.copy(os.path.join(self.home, 'keys', 'k', kind + '.pem'),
                        os.path.join(self.home, 'AutoGlacier', 'my_rsa_%s.pem' % kind))
        self.write_old_archive()
        os.makedirs(os.path.join(self.home, 'bin'))
        os.symlink(Programs.cli, os.path.join(self.home, 'bin', 'autoglacier'))
        self.env = {'HOME': self.home, 'PATH': os.path.join(self.home, 'bin') + ':/usr/bin:/bin', 'TZ': 'UTC',
                    'LANG': 'C.UTF-8', 'PYTHONPATH': os.path.join(TOP, 'doc', 'examples'),
                    'LIBAUTOGLACIER': os.path.join(BUILD, 'core', 'libautoglacier.so')}

    def write_old_archive(self):
        """As the Python program left it: the tar has full paths."""
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode='w:xz') as t:
            member = tarfile.TarInfo('home/me/view.sh')
            member.size = 3
            t.addfile(member, io.BytesIO(b'old'))
        self.old_tar = tar.getvalue()
        with open(os.path.join(self.home, 'AutoGlacier', 'my_rsa_public.pem')) as f:
            sealed = seal(f.read(), self.old_tar)
        with open(os.path.join(self.home, 'arch_1506700000.25.tar.xz.bin'), 'wb') as f:
            f.write(sealed)

    def check_old_archive(self):
        for name, want in (('decrypted.tar.xz', self.old_tar), ('as-it-was/home/me/view.sh', b'old')):
            with open(os.path.join(self.home, name), 'rb') as f:
                self.assertEqual(f.read(), want)

    def run_page(self, change):
        """`change` is done to CONFIG.json, once it is there."""
        config = os.path.join(self.home, '.config', 'autoglacier', 'CONFIG.json')
        done = 0
        for kind, text in blocks():
            program = ['/bin/sh', '-euc', text] if kind != 'python' else [sys.executable, '-c', text]
            p = subprocess.run(program, env=self.env, cwd=self.home, capture_output=True, text=True, timeout=300)
            self.assertEqual(p.returncode, 0, text + p.stdout + p.stderr)
            done += 1
            if kind == 'sh file' and 'CONFIG.json' in text:
                with open(config) as f:
                    keys = json.load(f)
                keys.update(change)
                with open(config, 'w') as f:
                    json.dump(keys, f)
        self.assertEqual(done, len(blocks()))
        self.check_old_archive()

    def test_line_for_cron_runs_as_cron_runs_it(self):
        """A shell, a short PATH, the home folder; stdin empty."""
        os.makedirs(os.path.join(self.home, '.config', 'autoglacier', 'jobs'))
        with open(os.path.join(self.home, '.config', 'autoglacier', 'jobs', 'scripts.json'), 'w') as f:
            json.dump({'files': ['~/view.sh'], 'CONFIG': {'PUBL_RSA_KEY_PATH': '~/AutoGlacier/my_rsa_public.pem'}}, f)
        with open(os.path.join(TOP, 'doc', 'FROM-PYTHON.md')) as f:
            [line] = re.findall(r'^```crontab\n(.*?)\n```$', f.read(), re.M | re.S)
        when, program, words = re.fullmatch(r'((?:[\d*]+ +){5})(/usr/local/bin/autoglacier)( .*)', line).groups()
        self.assertEqual(len(when.split()), 5)
        env = {'HOME': self.home, 'LOGNAME': 'me', 'SHELL': '/bin/sh', 'PATH': '/usr/bin:/bin'}
        p = subprocess.run(['/bin/sh', '-c', Programs.cli + words], env=env, cwd=self.home, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=300)
        self.assertEqual((p.returncode, p.stdout), (0, ''), p.stderr)
        shown = subprocess.run([Programs.cli, 'list'], env=env, capture_output=True, text=True).stdout
        self.assertIn('_scripts', shown)

    def expected_file(self, name):
        """What the Python program wrote of a file."""
        path = os.path.join(self.home, name)
        with open(path, 'rb') as f:
            digest = hashlib.sha512(f.read()).hexdigest()
        when = datetime.datetime.fromtimestamp(os.path.getmtime(path), datetime.timezone.utc)
        return {'SHA512': digest, 'mod_time': when.strftime('%Y-%m-%d %H:%M:%S'), 'abs_path': path}

    def check_log(self):
        with open(self.log) as f:
            text = f.read()
        log = json.loads(text)
        self.assertEqual(text, json.dumps(log, indent=2))
        plain = ['view.sh', 'login.sh', 'scripts/a.sh', 'scripts/b.sh']  # explicit files, then globs, then the hook's
        picked = [plain, plain, plain + ['bugging/bug2.sh'], plain + ['bugging/bug2.sh'], []]
        self.assertEqual(len(log), len(picked))
        with open(os.path.join(self.home, 'AutoGlacier', 'my_rsa_public.pem')) as f:
            key = f.read()
        for (when, entry), names in zip(log.items(), picked):
            self.assertEqual(list(entry), FIELDS)
            self.assertEqual(when, repr(entry['TIMESTAMP']))
            self.assertEqual(entry['files'], [self.expected_file(n) for n in names])
            want = {'JOB SUCCEED': True, 'compression': 'lzma', 'used_public_key': key,
                    'public_key_path': os.path.join(self.home, 'AutoGlacier', 'my_rsa_public.pem'),
                    'region_name': 'eu-west-1', 'vault_name': 'TestVault1',
                    'descryption': 'shell scripts archive' if names else 'only what changed'}
            self.assertEqual({k: entry[k] for k in want}, want)

    def test_page_on_a_directory(self):
        os.makedirs(os.path.join(self.home, 'disk'))
        self.run_page({'VAULT': 'dir:' + os.path.join(self.home, 'disk')})
        self.check_log()

    def test_page_on_a_vault(self):
        from emulated import Emulated
        with Emulated(region='eu-west-1') as server:
            env = server.environment()
            import botocore.session
            session = botocore.session.get_session()
            session.set_credentials(env['AWS_ACCESS_KEY_ID'], env['AWS_SECRET_ACCESS_KEY'])
            client = session.create_client('glacier', region_name='eu-west-1', endpoint_url=server.url)
            client.create_vault(accountId='-', vaultName='TestVault1')
            self.run_page({'ENDPOINT_URL': server.url, 'AWS_ACCESS_KEY_ID': env['AWS_ACCESS_KEY_ID'],
                           'AWS_SECRET_ACCESS_KEY': env['AWS_SECRET_ACCESS_KEY']})
            self.check_log()
            with open(self.log) as f:
                for entry in json.load(f).values():  # refused for an id that the vault does not have
                    client.initiate_job(accountId='-', vaultName='TestVault1', jobParameters={
                        'Type': 'archive-retrieval', 'ArchiveId': entry['response']['archiveId']})

    def test_passphrase_of_the_old_configuration_opens_the_key(self):
        private = os.path.join(self.home, 'keys', 'k', 'private.pem')
        locked = os.path.join(self.home, 'locked.pem')
        subprocess.run(['openssl', 'pkcs8', '-topk8', '-in', private, '-out', locked, '-passout', 'pass:sesame'], check=True)
        os.makedirs(os.path.join(self.home, '.config', 'autoglacier'))
        with open(os.path.join(self.home, '.config', 'autoglacier', 'CONFIG.json'), 'w') as f:
            json.dump({'RSA_PASSPHRASE': 'sesame', 'PRIV_RSA_KEY_PATH': locked, 'COMPRESSION': 'zstd',
                       'PUBL_RSA_KEY_PATH': '~/AutoGlacier/my_rsa_public.pem'}, f)
        os.chmod(f.name, 0o600)
        for command in (['backup', '-m', 'x', os.path.join(self.home, 'view.sh')], ['restore', 'latest', '--to', 'back']):
            p = subprocess.run([Programs.cli, *command], env=self.env, cwd=self.home, capture_output=True, text=True)
            self.assertEqual(p.returncode, 0, p.stderr)
        shown = subprocess.run([Programs.cli, 'config'], env=self.env, capture_output=True, text=True).stdout
        self.assertNotIn('sesame', shown)

    def test_every_key_of_the_old_configuration_has_its_line(self):
        with open(os.path.join(TOP, 'doc', 'FROM-PYTHON.md')) as f:
            page = f.read()
        for key in ('COMPRESSION', 'TMP_DIR', 'JSON_DATABASE', 'PUBL_RSA_KEY_PATH', 'RSA_PASSPHRASE', 'REGION_NAME',
                    'VAULT_NAME', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'):
            self.assertRegex(page, r'\n\| [^|]*`%s`' % key)


if __name__ == '__main__':
    if os.environ.get('AUTOGLACIER_SANITIZED'):
        print('SKIP: a library without sanitizers')
        sys.exit(77)
    if not importlib.util.find_spec('Cryptodome'):
        print('SKIP: python3-pycryptodome is missing')
        sys.exit(77)
    unittest.main(verbosity=2)
