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
PROCESSES = str(max(2, (os.cpu_count() or 2) + 1))

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
        return subprocess.call(command, cwd=TOP, env=dict(os.environ, **(env or {})), stdin=subprocess.DEVNULL,
                               stdout=out, stderr=subprocess.STDOUT)


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
    if run(['ninja', '-C', folder], log=log) != 0:
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


def test(name, folder, suites, env, extra, tally):
    """Runs the tests of one build and counts them."""
    say(f'== {name}: testing')
    started = time.monotonic()
    command = ['meson', 'test', '-C', folder, '--no-rebuild', '--num-processes', PROCESSES, '--logbase', 'check']
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
    if not tests:
        tally.add('fail', f'{name}: no test was found')
    for one in sorted(tests, key=lambda t: t['name']):
        count(one, name, tally)
    slowest = sorted(tests, key=lambda t: -t['duration'])[:8]
    say(f'== {name}: {len(tests)} programs in {time.monotonic() - started:.0f} s; slowest: '
        + ', '.join(f"{t['name']} {t['duration']:.0f} s" for t in slowest))


def main():
    long = '--long' in sys.argv
    quick = '--quick' in sys.argv
    os.environ.pop('AUTOGLACIER_HOME', None)
    os.environ['PATH'] = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    os.environ.pop('AUTOGLACIER_LONG', None)
    tally = Tally()
    started = time.monotonic()
    for name, options, suites, env in BUILDS[:1] if quick else BUILDS:
        folder = build(name, options, tally)
        if folder:
            # A campaign of hours would take days under a sanitizer.
            campaigns = long and name == 'plain'
            env = dict(env, AUTOGLACIER_LONG='1') if campaigns else env
            test(name, folder, suites, env, ['--timeout-multiplier', '60' if campaigns else '2'], tally)
    say(f'== all in {time.monotonic() - started:.0f} s')
    for name, why in tally.skipped:
        say(f'skipped: {name}: {why}')
    for name in tally.failed:
        say(f'FAILED: {name}')
    line = f'{tally.passed} passed, {len(tally.failed)} failed'
    if tally.skipped:
        line += f', {len(tally.skipped)} skipped'
    say(line)
    return 1 if tally.failed else 0


if __name__ == '__main__':
    sys.exit(main())
