#!/usr/bin/python3
"""Ways to a bucket, under with_rgw: its name in the host's, IPv6, HTTP/2, a proxy, few connections."""
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import bucket  # noqa: E402
import ports  # noqa: E402
from mount import MountCase, PATIENCE, Programs, main, until  # noqa: E402


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


class Tunnel(Relay):
    """A proxy for requests over TLS: CONNECT, and bytes from then on."""

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                threading.Thread(target=self.open, args=(client,), daemon=True).start()

    def open(self, client):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        self.heads.append(head.split(b"\r\n", 1)[0].decode())
        wanted = self.heads[-1].split(" ")[1].rpartition(":")[2]
        server = socket.create_connection(("127.0.0.1", int(wanted)))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=self.copy, args=(client, server, False), daemon=True).start()
        self.copy(server, client, False)


NGINX_PROGRAM = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
NGINX = """\
pid %(folder)s/nginx.pid;
error_log %(folder)s/error.log;
events {}
http {
    log_format protocols "$server_protocol $request_method $status";
    access_log %(folder)s/access.log protocols;
    client_body_temp_path %(folder)s; proxy_temp_path %(folder)s; fastcgi_temp_path %(folder)s;
    uwsgi_temp_path %(folder)s; scgi_temp_path %(folder)s;
    client_max_body_size 0;
    server {
        listen 127.0.0.1:%(port)d ssl http2;
        %(ipv6)s
        ssl_certificate %(folder)s/server.pem;
        ssl_certificate_key %(folder)s/server.key;
        location / {
            proxy_pass %(endpoint)s;
            proxy_set_header Host $http_host;
            proxy_http_version 1.1;
            proxy_request_buffering off;
        }
    }
}
"""
CERTIFICATES = """\
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=a root of one's own" -keyout ca.key -out ca.pem
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr
printf 'subjectAltName=DNS:localhost,DNS:s3.localhost,DNS:*.s3.localhost,IP:127.0.0.1,IP:::1' >san
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.pem
"""


class Front:
    """nginx before the server: TLS under a root of its own, HTTP/2 for those who know it."""

    def __init__(self, folder):
        self.folder = folder
        subprocess.run(["sh", "-ec", CERTIFICATES], cwd=folder, check=True, stderr=subprocess.DEVNULL)
        self.reserved = ports.Reserved()
        self.port = self.reserved.number
        ipv6 = "listen [::1]:%d ssl http2;" % self.port if ports.has_ipv6() else ""
        with open(os.path.join(folder, "nginx.conf"), "w") as f:
            f.write(NGINX % {"folder": folder, "port": self.port, "ipv6": ipv6, "endpoint": bucket.endpoint()})
        self.process = subprocess.Popen([NGINX_PROGRAM, "-c", os.path.join(folder, "nginx.conf"), "-g", "daemon off;"],
                                        stdin=subprocess.DEVNULL)
        until(self.serves, lambda: "nginx does not serve")

    def serves(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def protocols(self):
        with open(os.path.join(self.folder, "access.log")) as f:
            return {line.split(" ")[0] for line in f}

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.reserved.close()


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

    def front(self):
        if not NGINX_PROGRAM:
            self.skipTest("nginx, which speaks HTTP/2 before the server")
        folder = os.path.join(self.folder, "front")
        os.mkdir(folder)
        os.chmod(self.folder, 0o755)
        f = Front(folder)
        self.addCleanup(f.close)
        return f

    def test_http_2_and_a_root_of_ones_own(self):
        f = self.front()
        self.store_and_restore(size=30 << 20, COMPRESSION="none", ENDPOINT_URL="https://s3.localhost:%d" % f.port, PATH_STYLE=True,
                               env={"AWS_CA_BUNDLE": f.folder + "/ca.pem"})
        self.assertEqual(f.protocols(), {"HTTP/2.0"})

    def test_http_2_the_bucket_in_the_host_name(self):
        f = self.front()
        self.store_and_restore(ENDPOINT_URL="https://s3.localhost:%d" % f.port, env={"AWS_CA_BUNDLE": f.folder + "/ca.pem"})

    def test_http_2_over_ipv6(self):
        if not ports.has_ipv6():
            self.skipTest("no IPv6 here")
        f = self.front()
        self.store_and_restore(ENDPOINT_URL="https://[::1]:%d" % f.port, env={"AWS_CA_BUNDLE": f.folder + "/ca.pem"})

    def test_tls_through_a_proxy_of_the_environment(self):
        f, t = self.front(), Tunnel()
        self.addCleanup(t.close)
        self.store_and_restore(ENDPOINT_URL="https://s3.localhost:%d" % f.port, PATH_STYLE=True,
                               env={"AWS_CA_BUNDLE": f.folder + "/ca.pem", "https_proxy": "http://127.0.0.1:%d" % t.port})
        self.assertTrue(t.heads)
        self.assertTrue(all(h.startswith("CONNECT s3.localhost:") for h in t.heads), t.heads)

    def test_connections_are_kept(self):
        r = self.relay()
        self.store_and_restore(size=100 << 20, COMPRESSION="none", UPLOAD_CONCURRENCY=3,
                               ENDPOINT_URL="http://127.0.0.1:%d" % r.port)
        # Two programs of several threads, with more than forty requests: not a connection for each.
        self.assertLess(r.connections, 20)


if __name__ == "__main__":
    bucket.require()
    main()
