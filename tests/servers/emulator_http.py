"""One request from the socket to its answer: route, fault, judge, do, answer, log."""
import http.server
import json
import secrets
import socket
import struct
import time
import traceback
import urllib.parse
import xml.etree.ElementTree as ElementTree

import emulator_faults
import emulator_others
import emulator_signature
from emulator_model import S3_NAMESPACE, ServiceError, scalar_text
from emulator_request import Request

MAX_BODY = 512 << 20


class Cut(Exception):
    """The connection ends here."""


class Handler(http.server.BaseHTTPRequestHandler):
    """`server` has state, faults, credentials, log, services {name: (Service, operations)}."""
    protocol_version = "HTTP/1.1"
    timeout = 120
    disable_nagle_algorithm = True

    # -- the socket --

    def handle_expect_100(self):
        self.expects = True  # the answer waits until the body is wanted
        return True

    def read_body(self, upto=None):
        size = int(self.headers.get("Content-Length") or 0)
        if size > MAX_BODY or self.headers.get("Transfer-Encoding"):
            raise Cut
        if getattr(self, "expects", False):
            self.expects = False
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(size if upto is None else min(size, upto))
        if upto is None and len(body) != size:
            raise Cut
        return body

    def reset(self):
        """Closes at once: what is on the way is lost, the peer sees a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Cut

    def one(self):
        self.expects = self.headers.get("Expect", "").lower() == "100-continue"
        entry = {"time": round(time.time(), 3), "method": self.command, "path": self.path}
        self.entry = entry
        try:
            if self.path.startswith("/_emulator/"):
                self.control()
            else:
                self.serve(entry)
        except (Cut, ConnectionError, TimeoutError):
            entry.setdefault("status", 0)
            self.close_connection = True
        finally:
            self.write_log()

    def write_log(self):
        """Before the answer leaves: who has it finds it in the log."""
        entry, self.entry = self.entry, {}
        if "operation" in entry or "error" in entry:
            entry["ended"] = round(time.time(), 3)
            self.server.log.write(entry)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = one

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return super().date_time_string((timestamp or time.time()) + self.server.state.settings["clock_skew"])

    # -- a request --

    def serve(self, entry):
        headers = {k.lower(): v.strip() for k, v in self.headers.items()}
        name = emulator_signature.service_of(headers)
        service, operations = self.server.services[name]
        raw_path, _, raw_query = self.path.partition("?")
        query = dict(urllib.parse.parse_qsl(raw_query, keep_blank_values=True))
        if "lists2" in self.server.state.settings["lacks"]:
            query.pop("list-type", None)
        path = self.with_bucket(raw_path, headers.get("host", ""))
        try:
            operation = service.route(self.command, path, query, headers)
        except ServiceError as why:
            self.read_body()
            return self.send_error_answer(name, why, entry)
        entry.update(service=name, operation=operation.name, query=query)
        if "content-range" in headers:
            entry["range"] = headers["content-range"]
        rule = self.server.faults.pick(operation.name)
        body = self.receive(rule, entry)
        try:
            if rule and emulator_faults.KINDS[rule["kind"]] and not rule.get("after"):
                raise emulator_faults.error_of(rule, name)
            region = operations.region_of(path.split("/")[1])
            user = emulator_signature.judge(name, self.command, raw_path, raw_query, headers, body,
                                            self.server.state, self.server.credentials(), region)
            emulator_signature.check_payload(name, headers, body)
            self.check_rights(user, operation.name)
            answer = self.perform(service, operations, operation, path, query, headers, body)
            if rule and emulator_faults.KINDS[rule["kind"]]:
                raise emulator_faults.error_of(rule, name)
            if rule and rule["kind"] == "inside":
                raise ServiceError(200, "InternalError", "We encountered an internal error.")
        except ServiceError as why:
            return self.send_error_answer(name, why, entry)
        except Exception as why:
            traceback.print_exc()
            return self.send_error_answer(name, ServiceError(500, "InternalError", repr(why)), entry)
        entry["status"] = answer.status or operation.status
        self.send_answer(service, operation, answer, rule)
        return None

    def with_bucket(self, path, host):
        """The path with the bucket in front, which may stand in the host's name."""
        name = host.rsplit(":", 1)[0]
        for end in (".s3.localhost", ".localhost"):
            if name.endswith(end) and name != "s3.localhost":
                return "/" + name[:-len(end)] + ("" if path == "/" else path)
        return path

    def check_rights(self, user, operation):
        if operation in user.get("denied", ()):
            raise ServiceError(403, "AccessDenied", f"not authorized to perform: {operation}")

    def perform(self, service, operations, operation, path, query, headers, body):
        lacks = self.server.state.settings["lacks"]
        emulator_others.refuse(lacks, operation.name, headers)
        params = emulator_others.ignore(lacks, service.parameters(operation, path, query, headers, body))
        request = Request(operation, params, headers, body)
        method = getattr(operations, operation.name, None)
        if method is None:
            raise ServiceError(501, "NotImplemented", f"the emulator has no {operation.name}")
        with self.server.state.lock:
            if hasattr(operations, "before"):
                operations.before(request)
            return method(request)

    def receive(self, rule, entry):
        """The body, unless the fault ends the request before it is here."""
        kind = rule and rule["kind"]
        if kind:
            entry["fault"] = kind
        if kind == "cut-before":
            self.reset()
        if kind == "cut-in" and int(self.headers.get("Content-Length") or 0) > 0:
            self.read_body(upto=int(self.headers["Content-Length"]) // 2)
            self.reset()
        body = self.read_body()
        entry["bytes"] = len(body)
        if kind == "cut-in":
            self.reset()
        if kind == "stall":
            entry["status"] = 0
            self.write_log()
            self.server.stopping.wait(rule.get("seconds", 2))
            self.reset()
        if kind == "slow":
            self.server.stopping.wait(rule.get("seconds", 2))
        if kind == "corrupt" and body:
            body = flip(body)
        return body

    # -- its answer --

    def send_error_answer(self, name, why, entry):
        entry.update(status=why.status, error=why.code)
        if name == "s3":
            root = ElementTree.Element("Error")
            parts = {"Code": why.code, "Message": why.message, **why.extra,
                     "Resource": self.path.partition("?")[0], "RequestId": secrets.token_hex(8).upper()}
            for key, value in parts.items():
                ElementTree.SubElement(root, key).text = value
            body, kind = b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root), "application/xml"
        else:
            body, kind = json.dumps({"code": why.code, "message": why.message,
                                     "type": "Client" if why.status < 500 else "Server"}).encode(), "application/json"
        extra = {"x-amzn-ErrorType": why.code} if name == "glacier" else {}
        self.send_all(why.status, {"Content-Type": kind, **extra, **why.headers}, [body], len(body), None)

    def send_answer(self, service, operation, answer, rule):
        headers, body = service.answer(operation, answer.output)
        headers.update(answer.headers)
        if answer.body is not None:
            body = answer.body
        if answer.restore:
            body = with_restore_status(body, answer.restore)
        if body:
            headers.setdefault("Content-Type", "application/xml" if service.xml else "application/json")
        chunks = answer.stream if answer.stream is not None else [body]
        length = answer.length if answer.length is not None else len(body)
        headers.pop("Content-Length", None)
        self.send_all(answer.status or operation.status, headers, chunks, length, rule)

    def send_all(self, status, headers, chunks, length, rule):
        kind = rule and rule["kind"]
        self.write_log()
        if kind == "cut-after":
            self.reset()
        for _ in range(2 if kind == "duplicate" else 1):
            self.send_response(status)
            self.send_header("x-amz-request-id", secrets.token_hex(8).upper())
            for key, value in headers.items():
                self.send_header(key, value)
            mute = self.command == "HEAD" and "length" in self.server.state.settings["lacks"]
            if status != 204 and not mute:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                chunks = self.send_chunks(chunks, length, kind)
        if kind == "duplicate":
            raise Cut

    def send_chunks(self, chunks, length, kind):
        """Sends the body as the fault wants it; returns what a second time would begin with."""
        sent, first = 0, b""
        for chunk in chunks:
            if kind == "corrupt" and sent == 0 and chunk and self.command == "GET":
                chunk = flip(chunk)
            if kind == "cut-answer" and sent + len(chunk) > length // 2:
                self.wfile.write(chunk[:max(0, length // 2 - sent)])
                self.wfile.flush()
                self.reset()
            self.wfile.write(chunk)
            sent += len(chunk)
            first = first or chunk
        if kind == "cut-answer":
            self.reset()
        return [first]

    # -- control --

    def control(self):
        """For tests: behaviour, settings, advance, ready."""
        body, what = self.read_body(), self.path.rpartition("/")[2]
        wanted = json.loads(body or b"null")
        if what == "behaviour":
            self.server.faults.set(wanted)
        elif what == "settings":
            self.server.state.change(**wanted)
        elif what == "advance":
            self.server.state.advance(wanted)
        answer = json.dumps(self.server.state.settings).encode()
        self.send_all(200, {"Content-Type": "application/json"}, [answer], len(answer), None)


def flip(data):
    """The same bytes but one."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:]


def with_restore_status(body, statuses):
    """Puts RestoreStatus, newer than the model, into the entries of a listing."""
    ElementTree.register_namespace("", S3_NAMESPACE)
    root = ElementTree.fromstring(body)
    for entry, status in zip(root.iter(f"{{{S3_NAMESPACE}}}Contents"), statuses):
        if status:
            at = ElementTree.SubElement(entry, f"{{{S3_NAMESPACE}}}RestoreStatus")
            for key, value in status.items():
                if value is not None:
                    ElementTree.SubElement(at, f"{{{S3_NAMESPACE}}}{key}").text = scalar_text(value)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root)
