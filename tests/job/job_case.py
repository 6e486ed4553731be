"""A data folder with its configuration and jobs, and the program run in it: what the tests of jobs share."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from mount import Keys, Programs  # noqa: E402

__all__ = ['JobCase']


class JobCase(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='autoglacier-job-')
        self.addCleanup(shutil.rmtree, self.folder)
        self.home = os.path.join(self.folder, 'home')
        self.log = os.path.join(self.folder, 'log.json')
        self.source = os.path.join(self.folder, 'source')
        os.makedirs(os.path.join(self.home, 'jobs'))
        os.makedirs(self.source)
        Keys.copy_to(os.path.join(self.home, 'data', 'keys'))
        self.configure(COMPRESSION='zstd')

    def path(self, *names):
        return os.path.join(self.source, *names)

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        return path

    def configure(self, **keys):
        with open(os.path.join(self.home, 'CONFIG.json'), 'w') as f:
            json.dump(keys, f)
        os.chmod(f.name, 0o600)

    def job(self, name, **keys):
        path = os.path.join(self.home, 'jobs', name + '.json')
        with open(path, 'w') as f:
            json.dump(keys, f)
        os.chmod(path, 0o600)
        return path

    def environment(self):
        return dict(os.environ, AUTOGLACIER_HOME=self.home, TZ='UTC')

    def start(self, *words, **env):
        return subprocess.Popen([Programs.cli, *words], env=dict(self.environment(), **env), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run_it(self, *words, status=0):
        """Runs the program, checks its exit status; what it printed, and what it said."""
        p = self.start(*words)
        out, err = p.communicate(timeout=600)
        if status is not None:
            self.assertEqual(p.returncode, status, err.decode(errors='replace'))
        return out.decode('utf-8', 'surrogateescape'), err.decode('utf-8', 'surrogateescape')

    def entries(self):
        with open(self.log) as f:
            return json.load(f)

    def archive(self, name):
        return json.loads(self.run_it('show', name, '--json')[0])
