"""Processes with one user's rights each, that do what they are told: the same calls on two filesystems by several users.

    a = Actor(OPERATIONS, 65534, 65534, [65534], folder)
    a.do("mkdir", ["d", 0o755])         ["ok", None] or ["error", "EEXIST"]
    a.end()

An operation is a function; what it returns and takes travels as JSON.
"""
import errno
import json
import os


class Actor:
    def __init__(self, operations, uid, gid, groups, folder=None):
        self.operations = operations
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(to_write)
            os.close(from_read)
            os.umask(0o022)
            if folder:
                os.chdir(folder)
            if os.geteuid() == 0:
                os.setgroups(groups)
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
            self._serve(to_read, from_write)
        os.close(to_read)
        os.close(from_write)
        self.out = os.fdopen(to_write, "w")
        self.answers = os.fdopen(from_read)

    def _serve(self, to_read, from_write):
        with os.fdopen(to_read) as lines, os.fdopen(from_write, "w") as out:
            for line in lines:
                name, args = json.loads(line)
                if name == "end":  # other actors hold a copy of the pipe: its end is not seen
                    break
                out.write(json.dumps(self._answer(name, args)) + "\n")
                out.flush()
        os._exit(0)

    def _answer(self, name, args):
        try:
            return ["ok", self.operations[name](*args)]
        except OSError as e:
            return ["error", errno.errorcode.get(e.errno, e.errno)]

    def do(self, name, args):
        self.out.write(json.dumps([name, args]) + "\n")
        self.out.flush()
        return json.loads(self.answers.readline())

    def end(self):
        self.out.write(json.dumps(["end", []]) + "\n")
        self.out.close()
        self.answers.close()
        os.waitpid(self.pid, 0)
