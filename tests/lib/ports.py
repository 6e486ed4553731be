"""Ports of a test's own on this machine.

    with ports.Reserved() as port:      # nobody else gets it, also while its server is away
        subprocess.Popen([server, "--port", str(port.number)])

A number that was merely found free may be another's before the server has started, or while it is killed and started again.
Bound and not listened on, a port refuses connections, and a server that sets SO_REUSEADDR, as all do, may listen on it.
"""
import contextlib
import socket


def bound(family, host, number):
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind((host, number))
    except OSError:
        s.close()
        raise
    return s


def has_ipv6():
    try:
        with bound(socket.AF_INET6, "::1", 0):
            return True
    except OSError:
        return False


class Reserved:
    """On 127.0.0.1, and on ::1 where there is one."""

    def __init__(self):
        self.sockets = []
        while not self.sockets:
            s = bound(socket.AF_INET, "127.0.0.1", 0)
            self.number = s.getsockname()[1]
            with contextlib.suppress(OSError):  # another has it on ::1
                self.sockets = [s, bound(socket.AF_INET6, "::1", self.number)] if has_ipv6() else [s]
            if not self.sockets:
                s.close()

    def close(self):
        for s in self.sockets:
            s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
