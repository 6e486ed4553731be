#!/usr/bin/env python3
"""Builds the program in several ways, runs the tests of each, and counts every one of them.

    check.py [--long | --quick]

Called by tools/check, which installs what this needs. A test program that holds several tests
prints them as TAP (cmocka) or as unittest does with -v; each counts. The last line is
`N passed, N failed`, with `, N skipped` where something was missing.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MOST_AT_ONCE = 9  # test programs; each of them uses all processors
ROOM = 6e9  # bytes that all the tests that run at once may take in TMPDIR, and the builds beside them
LONG_ROOM = 40e9  # the largest campaign

# ASan looks at what writev() was given after the call; the reader of a FUSE reply may then have closed
# the file, and the buffer be freed, rightly.
SUPPRESSED = os.path.join(TOP, 'tests', 'asan.supp')
SANITIZED = {
    'ASAN_OPTIONS': 'detect_leaks=1:handle_abort=1:allocator_may_return_null=1:suppressions=' + SUPPRESSED,
    'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1',
    'TSAN_OPTIONS': 'halt_on_error=1:second_deadlock_stack=1',
    'AUTOGLACIER_SANITIZED': '1',
}

# name, how it is configured, which suites run in it (None: all), environment
BUILDS = [
    ('plain', ['-Dbuildtype=release', '-Ddebug=true'], None, {}),
    ('asan', ['-Dbuildtype=debugoptimized', '-Db_sanitize=address,undefined', '-Db_lundef=false'],
     ['unit', 'fuzz', 'mount', 'cli'], SANITIZED),
    ('tsan', ['-Dbuildtype=debugoptimized', '-Db_sanitize=thread', '-Db_lundef=false'],
     ['threads'], SANITIZED),
]


class Tally:
    """What has been counted so far."""

    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def add(self, result, name, why=''):
        if result == 'ok':
            self.passed += 1
        elif result == 'skip':
            self.skipped.append((name, why or 'the test does not say why'))
        else:
            self.failed.append(name)


def say(text):
    print(text, flush=True)


def run(command, env=None, log=None):
    """Runs it quietly; what it printed is in the file `log`. Returns the exit status."""
    with open(log, 'w') as out:
        try:
            return subprocess.call(command, cwd=TOP, env=dict(os.environ, **(env or {})), stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=subprocess.STDOUT)
        except OSError as e:
            out.write(f'cannot run {command[0]}: {e.strerror}\n')
            return 127


def processors():
    """How many of them are ours: a container may have few of many."""
    n = len(os.sched_getaffinity(0))
    try:
        with open('/sys/fs/cgroup/cpu.max') as f:
            quota, period = f.read().split()
        return n if quota == 'max' else max(1, min(n, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return n


def lacks_room(needed):
    """Where there is too little, in words; tests that find no room on the disk fail with all sorts of words."""
    words = []
    for folder in {os.environ.get('TMPDIR', '/tmp'), TOP}:
        free = shutil.disk_usage(folder).free
        if free < needed:
            words.append(f'{folder} has {free / 1e9:.1f} GB free, and the tests may take {needed / 1e9:.0f} GB')
    return words


def tail(path, lines=40):
    with open(path, errors='replace') as f:
        for line in f.readlines()[-lines:]:
            say('    ' + line.rstrip())


def is_configured(folder):
    """Whether it is a build folder of these sources: a copied checkout brings that of the one it was copied from."""
    try:
        with open(os.path.join(folder, 'meson-info', 'meson-info.json')) as f:
            source = json.load(f)['directories']['source']
    except (OSError, ValueError, KeyError):
        return False
    return os.path.realpath(source) == os.path.realpath(TOP) and os.path.exists(os.path.join(folder, 'build.ninja'))


def build(name, options, tally):
    """Configures and compiles one kind of build. Returns its folder, or None."""
    folder = os.path.join(TOP, 'build', 'check-' + name)
    log = os.path.join(TOP, 'build', 'check-' + name + '.log')
    os.makedirs(os.path.join(TOP, 'build'), exist_ok=True)
    say(f'== {name}: building')
    started = time.monotonic()
    options = ['-Dwerror=true', '-Dcrash_points=true'] + options
    if not is_configured(folder):
        shutil.rmtree(folder, ignore_errors=True)
        if run(['meson', 'setup', folder] + options, log=log) != 0:
            tail(log)
            tally.add('fail', f'{name}: meson setup')
            return None
    if run(['ninja', '-C', folder, '-j', str(processors() + 1)], log=log) != 0:
        tail(log)
        tally.add('fail', f'{name}: build')
        return None
    say(f'== {name}: built in {time.monotonic() - started:.0f} s')
    tally.add('ok', f'{name}: build')
    return folder


def tap_cases(text):
    """What cmocka reports as TAP: (result, name, why). Why one was skipped stands before it."""
    why = ''
    for line in text.splitlines():
        said = re.match(r'(?i)skipped: (.*)', line)
        if said:
            why = said[1]
            continue
        m = re.match(r'(not )?ok \d+ (# SKIP|-) (\S+)', line)
        if m:
            skip = m[2] == '# SKIP'
            yield 'skip' if skip else 'fail' if m[1] else 'ok', m[3], why if skip else ''
            why = ''


def unittest_cases(text):
    """What Python's unittest reports. Passed ones are counted from its closing lines."""
    ran = sum(int(n) for n in re.findall(r'(?m)^Ran (\d+) tests? in', text))
    failed = re.findall(r'(?m)^(?:FAIL|ERROR): (.*)$', text)
    rest = r'(?:(?! \.\.\. )[^\n])*'  # a test with a docstring takes two lines
    skipped = re.findall(r"(?m)^.*?(\S+) \([^)\n]*\)" + rest + r"(?:\n" + rest + r")? \.\.\. skipped ['\"](.*)['\"]", text)
    for name in failed:
        yield 'fail', name, ''
    for name, why in skipped:
        yield 'skip', name, why
    for _ in range(ran - len(failed) - len(skipped)):
        yield 'ok', 'test', ''


def cases_of(text):
    """The single tests that a program reports: (result, name, why)."""
    return list(tap_cases(text)) + list(unittest_cases(text))


def show(text):
    """The end of what a failed program printed, and before it what a sanitizer found."""
    lines = text.splitlines()
    for i, line in enumerate(lines[:-60]):
        if re.search(r'(ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer)', line):
            for more in lines[i:i + 24]:
                say('    ' + more)
            break
    for line in lines[-60:]:
        say('    ' + line)


def count(test, build_name, tally):
    """Adds what one test program reported; a program that reports nothing counts as one test."""
    name = f"{build_name}: {test['name']}"
    text = (test.get('stdout') or '') + '\n' + (test.get('stderr') or '')
    code = test['returncode']
    if code == 77:
        m = re.search(r'(?i)skip(?:ped)?: (.*)', text)
        tally.add('skip', name, m[1] if m else '')
        return
    found = cases_of(text)
    good = test['result'] in ('OK', 'EXPECTEDFAIL')
    for result, case, why in found:
        tally.add(result, f'{name}: {case}', why)
    if good and not found:
        tally.add('ok', name)
    if not good:
        if not any(result == 'fail' for result, _, _ in found):
            tally.add('fail', f"{name} ({test['result'].lower()}, status {code})")
        say(f"---- {name} failed ({test['result'].lower()}, status {code}, {test['duration']:.0f} s)")
        show(text)


def expected(folder, suites):
    """The names of the test programs that a run of these suites has."""
    out = subprocess.run(['meson', 'introspect', '--tests', folder], cwd=TOP, capture_output=True, text=True)
    if out.returncode != 0:
        say('    ' + out.stderr.strip())
        return {'the list of tests'}
    return {t['name'] for t in json.loads(out.stdout)
            if suites is None or set(suites) & {s.rpartition(':')[2] for s in t['suite']}}


def test(name, folder, suites, env, extra, tally):
    """Runs the tests of one build and counts them."""
    say(f'== {name}: testing')
    started = time.monotonic()
    command = ['meson', 'test', '-C', folder, '--no-rebuild', '--logbase', 'check']
    for suite in suites or []:
        command += ['--suite', suite]
    record = os.path.join(folder, 'meson-logs', 'check.json')
    if os.path.exists(record):
        os.unlink(record)
    env = dict(env, CMOCKA_MESSAGE_OUTPUT='TAP', AUTOGLACIER_BUILD=folder)
    run(command + extra, env, os.path.join(TOP, 'build', 'check-' + name + '-tests.log'))
    if not os.path.exists(record):
        tail(os.path.join(TOP, 'build', 'check-' + name + '-tests.log'))
        tally.add('fail', f'{name}: meson test')
        return
    tests = [json.loads(line) for line in open(record)]
    for lost in sorted(expected(folder, suites) - {t['name'].rpartition(' / ')[2] for t in tests}):
        tally.add('fail', f'{name}: {lost} has not run; see build/check-{name}-tests.log')
    for one in sorted(tests, key=lambda t: t['name']):
        count(one, name, tally)
    slowest = sorted(tests, key=lambda t: -t['duration'])[:8]
    say(f'== {name}: {len(tests)} programs in {time.monotonic() - started:.0f} s; slowest: '
        + ', '.join(f"{t['name']} {t['duration']:.0f} s" for t in slowest))


def settle_down():
    """What tests find is the same whoever starts them and wherever."""
    for name in list(os.environ):
        if name.startswith(('AUTOGLACIER_', 'AWS_', 'XDG_', 'LC_')) or name in ('LANG', 'LANGUAGE', 'ONLY', 'MAKEFLAGS'):
            del os.environ[name]
    os.environ['PATH'] = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    os.environ['LC_ALL'] = 'C.UTF-8'
    os.environ['PYTHONDONTWRITEBYTECODE'] = '1'  # /usr/lib/python3 is compared with what was archived of it
    os.environ['MALLOC_PERTURB_'] = '165'  # what stands in memory that nobody has written to; meson would draw it
    os.umask(0o022)


def main():
    long = '--long' in sys.argv
    quick = '--quick' in sys.argv
    settle_down()
    tally = Tally()
    started = time.monotonic()
    narrow = lacks_room(LONG_ROOM if long else ROOM)
    for words in narrow:
        say('check: ' + words)
    for name, options, suites, env in BUILDS[:1] if quick else BUILDS:
        folder = build(name, options, tally)
        if folder:
            # A campaign of hours would take days under a sanitizer.
            campaigns = long and name == 'plain'
            env = dict(env, AUTOGLACIER_LONG='1') if campaigns else env
            # Each of the campaigns takes tens of gigabytes: one after the other.
            at_once = 1 if campaigns else min(processors() + 1, MOST_AT_ONCE)
            test(name, folder, suites, env,
                 ['--num-processes', str(at_once), '--timeout-multiplier', '60' if campaigns else '2'], tally)
    say(f'== all in {time.monotonic() - started:.0f} s')
    for name, why in tally.skipped:
        say(f'skipped: {name}: {why}')
    for name in tally.failed:
        say(f'FAILED: {name}')
    for words in narrow if tally.failed else []:
        say('which may be why: ' + words)
    line = f'{tally.passed} passed, {len(tally.failed)} failed'
    if tally.skipped:
        line += f', {len(tally.skipped)} skipped'
    say(line)
    return 1 if tally.failed else 0


if __name__ == '__main__':
    sys.exit(main())
