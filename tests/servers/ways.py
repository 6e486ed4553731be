#!/usr/bin/python3
"""Ways to a bucket, under with_rgw: its name in the host's, IPv6, a proxy, few connections."""
import contextlib
import os
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import bucket  # noqa: E402
from mount import MountCase, PATIENCE, Programs, main  # noqa: E402


def port():
    return int(bucket.endpoint().rpartition(":")[2])


class Relay:
    """Passes connections on to the server and counts them. As a proxy it also takes the absolute form of a request's
    target, which servers must understand (RFC 9112, 3.2.2)."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port, self.connections, self.heads = self.socket.getsockname()[1], 0, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", port()))
                threading.Thread(target=self.copy, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self.copy, args=(server, client, False), daemon=True).start()

    def copy(self, a, b, record):
        first = True
        with contextlib.suppress(OSError), contextlib.closing(a), contextlib.closing(b):
            while data := a.recv(65536):
                if record and first:
                    self.heads.append(data.split(b"\r\n", 1)[0].decode())
                    first = False
                b.sendall(data)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Ways(MountCase):
    def store_and_restore(self, size=1000, **config):
        env = config.pop("env", None)
        m = self.data(bucket.config("ways/" + self.id().split(".")[-1], **config), env=env)
        m.env["XDG_RUNTIME_DIR"] = self.folder
        path = os.path.join(self.folder, "file")
        with open(path, "wb") as f:
            f.write(os.urandom(size))
        out = os.path.join(self.folder, "out")
        for words in (["backup", "-m", "words", path], ["restore", "latest", "--to", out, "--wait"]):
            r = subprocess.run([Programs.cli, *words], env=m.environment(), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
            self.assertEqual(r.returncode, 0, r.stdout)
        with open(path, "rb") as a, open(out + path, "rb") as b:
            self.assertEqual(a.read(), b.read())

    def relay(self):
        r = Relay()
        self.addCleanup(r.close)
        return r

    def test_the_bucket_in_the_host_name(self):
        self.store_and_restore(ENDPOINT_URL="http://s3.localhost:%d" % port())

    def test_path_style_where_it_is_wanted(self):
        self.store_and_restore(ENDPOINT_URL="http://s3.localhost:%d" % port(), PATH_STYLE=True)

    def test_ipv6(self):
        try:
            with socket.create_connection(("::1", port()), PATIENCE):
                pass
        except OSError:
            self.skipTest("no IPv6 here")
        self.store_and_restore(ENDPOINT_URL="http://[::1]:%d" % port())

    def test_a_proxy_of_the_environment(self):
        r = self.relay()
        self.store_and_restore(ENDPOINT_URL="http://s3.localhost:%d" % port(), ALLOW_HTTP=True,
                               env={"http_proxy": "http://127.0.0.1:%d" % r.port})
        self.assertTrue(r.heads)
        self.assertTrue(all(" http://" in h for h in r.heads), r.heads)

    def test_plain_requests_to_this_machine_go_through_no_proxy(self):
        self.store_and_restore(env={"http_proxy": "http://127.0.0.1:1"})

    def test_connections_are_kept(self):
        r = self.relay()
        self.store_and_restore(size=100 << 20, COMPRESSION="none", UPLOAD_CONCURRENCY=3,
                               ENDPOINT_URL="http://127.0.0.1:%d" % r.port)
        # Two programs of several threads, with more than forty requests: not a connection for each.
        self.assertLess(r.connections, 20)


if __name__ == "__main__":
    bucket.require()
    main()
