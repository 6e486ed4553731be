#!/usr/bin/python3
"""An emulator of Amazon S3 (with cold storage classes) and of Glacier vaults, for tests.

    emulator.py FOLDER [--port N] [--tls]

Serves both on one port of the loopback, told apart by the service that a request is signed for. What
it holds is in FOLDER and survives its end. Debian's python3-botocore judges signatures, parameters
and tree hashes. FOLDER/url has its address once it is ready, FOLDER/requests.jsonl a line for each
request, FOLDER/behaviour.json the faults (see emulator_faults.py), FOLDER/credentials.json who may
use it: {access key id: {"secret":, "token":, "expires":, "denied": [operation, ...]}}. With --tls it
makes FOLDER/ca.pem and serves https only.
"""
import argparse
import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading

import emulator_faults
import emulator_glacier
import emulator_http
import emulator_model
import emulator_s3_upload
import emulator_state

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


class Log:
    def __init__(self, path):
        self.lock, self.file = threading.Lock(), open(path, "a", buffering=1)

    def write(self, entry):
        with self.lock:
            self.file.write(json.dumps(entry) + "\n")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder, port):
        self.folder = folder
        self.state = emulator_state.State(folder)
        self.faults = emulator_faults.Faults(folder, self.state.settings["seed"])
        self.log = Log(os.path.join(folder, "requests.jsonl"))
        self.stopping = threading.Event()
        self.services = {
            "s3": (emulator_model.Service("s3"), emulator_s3_upload.S3Uploads(self.state)),
            "glacier": (emulator_model.Service("glacier"), emulator_glacier.Glacier(self.state)),
        }
        super().__init__(("127.0.0.1", port), emulator_http.Handler)

    def credentials(self):
        try:
            with open(os.path.join(self.folder, "credentials.json")) as f:
                return json.load(f)
        except FileNotFoundError:
            return {ACCESS_KEY: {"secret": SECRET_KEY}}

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError, TimeoutError)):
            super().handle_error(request, client_address)


def make_certificate(folder):
    """A certificate for localhost and 127.0.0.1 that nobody trusts who was not given ca.pem."""
    key, cert = os.path.join(folder, "key.pem"), os.path.join(folder, "ca.pem")
    if not os.path.exists(cert):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                        "-subj", "/CN=autoglacier test", "-addext",
                        "subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1",
                        "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--port", type=int, default=0, help="0: a free one, the last one if it is free")
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    server, scheme = Server(options.folder, options.port), "http"
    if options.tls:
        scheme, context = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*make_certificate(options.folder))
        # The handshake belongs to the connection's own thread, not to the one that accepts.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    url = os.path.join(options.folder, "url")
    with open(url + ".new", "w") as f:
        f.write(f"{scheme}://127.0.0.1:{server.server_address[1]}\n")
    os.replace(url + ".new", url)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.stopping.set()


if __name__ == "__main__":
    main()
