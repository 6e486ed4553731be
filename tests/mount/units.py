#!/usr/bin/python3
"""The units of systemd, run by a user's own manager: it starts, mounts, archives by the timer, comes back after a kill, stops."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from mount import BUILD, NOBODY, TOP, Keys, Programs, is_mounted, main, skip_all, until  # noqa: E402

SYSTEMD = "/lib/systemd/systemd"


def control_groups():
    """Folders of the hierarchies that systemd keeps its services in."""
    with open("/proc/self/mountinfo") as f:
        lines = [line.split() for line in f]
    return [w[4] for w in lines if w[4].startswith("/sys/fs/cgroup") and
            (w[w.index("-") + 1] == "cgroup2" or "name=systemd" in w[-1].split(","))]


class Units(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="autoglacier-units-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.run_folder = os.path.join(self.folder, "run")
        self.mountpoint = os.path.join(self.folder, "glacier")
        config = os.path.join(self.folder, ".config", "autoglacier")
        os.makedirs(os.path.join(config, "jobs"))
        os.mkdir(self.run_folder, 0o700)
        os.chmod(self.folder, 0o755)
        os.mkdir(os.path.join(self.folder, "bin"))
        for program in (Programs.fs, Programs.cli):
            shutil.copy(program, os.path.join(self.folder, "bin"))
        Keys.copy_to(os.path.join(self.folder, ".local", "share", "autoglacier", "keys"))
        self.write(os.path.join(config, "CONFIG.json"), json.dumps({"COMPRESSION": "zstd"}))
        self.write(os.path.join(config, "jobs", "my-job.json"), json.dumps({"files": ["/etc/hostname"]}))
        self.copy_units()
        subprocess.run(["chown", "-R", str(NOBODY), self.folder], check=True)
        self.start_manager()

    def write(self, path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o600)

    def copy_units(self):
        """As meson installs them, with the place of the programs of this build."""
        to = os.path.join(self.folder, ".config", "systemd", "user")
        for unit in ("autoglacier.service", "autoglacier-job@.service"):
            with open(os.path.join(BUILD, "tools", unit)) as f:
                lines = f.read().splitlines()
            for i, line in enumerate(lines):
                key, _, command = line.partition("=")
                if key in ("ExecStart", "ExecStop"):
                    program, _, words = command.partition(" ")
                    self.assertTrue(os.path.isabs(program.lstrip("-")), line)
                    here = os.path.join(self.folder, "bin", os.path.basename(program))
                    lines[i] = "%s=%s%s %s" % (key, "-" * program.startswith("-"), here, words)
            self.write(os.path.join(to, unit), "\n".join(lines) + "\n")
        shutil.copy(os.path.join(TOP, "tools", "systemd", "autoglacier-job@.timer"), to)
        self.write(os.path.join(to, "autoglacier-job@my-job.timer.d", "soon.conf"),
                   "[Timer]\nOnCalendar=\nOnActiveSec=1\nRandomizedDelaySec=0\nAccuracySec=100ms\n")

    def environment(self):
        return {"HOME": self.folder, "XDG_RUNTIME_DIR": self.run_folder, "USER": "nobody", "LOGNAME": "nobody",
                "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}

    def start_manager(self):
        """In a mount namespace of its own, which looks as if systemd had booted the machine. Of the machine's own units for
        users only the basic ones are started."""
        groups = []
        for top in control_groups():
            group = tempfile.mkdtemp(prefix="autoglacier-units-", dir=top)
            self.addCleanup(self.remove_group, group)
            os.makedirs(os.path.join(group, "manager"))
            subprocess.run(["chown", "-R", str(NOBODY), group], check=True)
            groups.append(os.path.join(group, "manager", "cgroup.procs"))
        enter = "".join("echo 0 > '%s'; " % g for g in groups)
        as_user = "setpriv --reuid=%d --regid=%d --clear-groups" % (NOBODY, NOBODY)
        script = enter + "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec %s %s --user --unit=basic.target" % (as_user, SYSTEMD)
        self.log = open(os.path.join(self.folder, "manager.log"), "wb")
        self.addCleanup(self.log.close)
        self.manager = subprocess.Popen(["unshare", "-m", "sh", "-c", script], env=self.environment(), cwd="/",
                                        stdout=self.log, stderr=self.log)
        self.addCleanup(self.stop_manager)
        until(lambda: self.ctl("is-active", "basic.target", status=None) == "active", "the user's manager runs")

    def stop_manager(self):
        self.ctl("exit", status=None)
        try:
            self.manager.wait(60)
        except subprocess.TimeoutExpired:
            self.manager.kill()
            self.manager.wait()

    def remove_group(self, group):
        """Busy until the last process in it has been waited for."""
        for folder, _, _ in os.walk(group, topdown=False):
            until(lambda: subprocess.run(["rmdir", folder], stderr=subprocess.DEVNULL).returncode == 0, "cannot remove " + folder)

    def inside(self, *words):
        """Runs something as the user, where his manager is."""
        enter = ["nsenter", "-t", str(self.manager.pid), "-m", "setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY,
                 "--clear-groups", *words]
        return subprocess.run(enter, env=self.environment(), cwd="/", capture_output=True, text=True, timeout=120)

    def ctl(self, *words, status=0):
        p = self.inside("systemctl", "--user", *words)
        if status is not None:
            self.assertEqual(p.returncode, status, p.stdout + p.stderr)
        return p.stdout.strip()

    def names(self):
        p = self.inside(os.path.join(self.folder, "bin", "autoglacier"), "list", "--json")
        return [a["name"] for a in json.loads(p.stdout)["archives"] if a["state"] == "stored"]

    def listing(self):
        return self.inside("ls", self.mountpoint).stdout.split()

    def test_service_is_ready_when_it_is_mounted_comes_back_and_stops(self):
        self.ctl("start", "autoglacier.service")
        self.assertEqual(self.listing(), ["archives", "jobs"])
        before = self.ctl("show", "-p", "MainPID", "--value", "autoglacier.service")
        self.inside("kill", "-KILL", before)
        until(lambda: self.listing() == ["archives", "jobs"], "it is mounted again after a kill", 120)
        self.assertNotEqual(self.ctl("show", "-p", "MainPID", "--value", "autoglacier.service"), before)
        self.ctl("stop", "autoglacier.service")
        self.assertEqual(self.listing(), [])
        self.assertEqual(self.ctl("is-failed", "autoglacier.service", status=None), "inactive")
        self.assertFalse(is_mounted(self.mountpoint))

    def test_timer_runs_the_job(self):
        self.ctl("start", "autoglacier-job@my-job.timer")
        until(lambda: [n for n in self.names() if n.endswith("_my-job")], "the timer has run the job")
        self.assertEqual(self.ctl("show", "-p", "Result", "--value", "autoglacier-job@my-job.service"), "success")


if __name__ == "__main__":
    if os.geteuid() != 0 or not os.path.exists(SYSTEMD):
        skip_all("root, and systemd")
    if not control_groups() or not all(os.access(g, os.W_OK) for g in control_groups()):
        skip_all("a control group for the manager")
    main()
