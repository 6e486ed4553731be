"""What a service accepts and answers, read from botocore's model of it.

A request is routed to an operation, its path, query, headers and body become typed parameters, and
an answer becomes headers and XML or JSON, all by the model that Amazon publishes: a parameter that
the model does not know, of a wrong type, or missing is refused, whoever sent it.
"""
import base64
import datetime
import json
import re
import urllib.parse
import xml.etree.ElementTree as ElementTree

import botocore.session
import botocore.utils
import botocore.validate

S3_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

# Root elements of S3's answers where they are not the name of the shape.
ROOTS = {
    "ListBuckets": "ListAllMyBucketsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListParts": "ListPartsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "GetBucketVersioning": "VersioningConfiguration",
    "DeleteObjects": "DeleteResult",
}

# Headers that signing or newer versions of the API use; the model of 2022 does not list them.
KNOWN_HEADERS = {
    "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "x-amz-user-agent",
    "x-amz-sdk-checksum-algorithm", "x-amz-optional-object-attributes", "x-amz-checksum-type",
    "x-amz-mp-object-size", "x-amz-glacier-version",
}
NOT_EMULATED = {"WriteGetObjectResponse"}


class ServiceError(Exception):
    """An answer that says no."""

    def __init__(self, status, code, message, headers=None, extra=None):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message = status, code, message
        self.headers, self.extra = headers or {}, extra or {}


class Operation:
    """One operation of the model and how its requests look."""

    def __init__(self, model):
        self.model, self.name = model, model.name
        self.method = model.http["method"]
        self.status = model.http.get("responseCode", 200)
        path, _, query = model.http["requestUri"].partition("?")
        self.labels = re.findall(r"\{(\w+)\+?\}", path)
        pattern = re.sub(r"\\\{\w+\\\+\\\}", "(.+)", re.escape(path))
        self.path = re.compile(re.sub(r"\\\{\w+\\\}", "([^/]+)", pattern) + r"/?$")
        self.literals = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.members = model.input_shape.members if model.input_shape else {}
        self.required = model.input_shape.required_members if model.input_shape else []

    def weight(self, method, path, query, headers):
        """None if it is not this operation; else how much of the request only this one explains."""
        if method != self.method or not self.path.match(path):
            return None
        if any(query.get(k) != v for k, v in self.literals.items()):
            return None
        weight = len(self.literals)
        for name in self.required:
            where, wire = place(name, self.members[name])
            if where == "querystring":
                if wire not in query:
                    return None
                weight += 1
            elif where == "header":
                if wire.lower() not in headers:
                    return None
                weight += 1
        return weight


def place(name, shape):
    return shape.serialization.get("location"), shape.serialization.get("name", name)


class Service:
    """A service's operations. `bad` is the code of its answer to a wrong parameter."""

    def __init__(self, name):
        self.name = name
        model = botocore.session.get_session().get_service_model(name)
        self.xml = model.metadata["protocol"] == "rest-xml"
        self.bad = "InvalidArgument" if self.xml else "InvalidParameterValueException"
        self.operations = [Operation(model.operation_model(n)) for n in model.operation_names
                           if n not in NOT_EMULATED]

    def route(self, method, path, query, headers):
        found = [(w, op) for op in self.operations
                 if (w := op.weight(method, path, query, headers)) is not None]
        if not found:
            raise ServiceError(405, "MethodNotAllowed", f"no operation is {method} {path}")
        return max(found, key=lambda pair: pair[0])[1]

    # -- requests --

    def parameters(self, op, path, query, headers, body):
        """Typed parameters of a request, or a ServiceError that names what is wrong."""
        params = {k: urllib.parse.unquote(v) for k, v in zip(op.labels, op.path.match(path).groups())}
        known = set(op.literals)
        for name, shape in op.members.items():
            where, wire = place(name, shape)
            if where == "querystring":
                known.add(wire)
                if wire in query:
                    params[name] = self.scalar(shape, query[wire], wire)
            elif where == "header" and wire.lower() in headers:
                params[name] = self.scalar(shape, headers[wire.lower()], wire)
            elif where == "headers":
                params[name] = {k[len(wire):]: v for k, v in headers.items()
                                if k.startswith(wire.lower())}
        self.refuse_unknown(op, known, query, headers)
        self.parse_body(op, params, body)
        self.validate(op, params)
        return params

    def refuse_unknown(self, op, known, query, headers):
        for name in query:
            if name not in known and name != "x-id":
                raise ServiceError(400, self.bad, f"{op.name} has no query parameter {name}")
        wires = {place(n, s)[1].lower() for n, s in op.members.items()}
        for name in headers:
            if (name.startswith("x-amz-") and name not in KNOWN_HEADERS and name not in wires
                    and not name.startswith("x-amz-meta-")):
                raise ServiceError(400, self.bad, f"{op.name} has no header {name}")

    def parse_body(self, op, params, body):
        payload = op.model.input_shape.serialization.get("payload") if op.members else None
        shape = op.members[payload] if payload else None
        if shape is not None and shape.type_name in ("blob", "string"):
            params[payload] = body
        elif self.xml and shape is not None and body:
            params[payload] = self.from_xml(shape, parse_xml(body))
        elif not self.xml and body:
            value = parse_json(body)
            if shape is not None:
                params[payload] = value
            else:
                params.update(value)

    def validate(self, op, params):
        if not op.model.input_shape:
            return
        stream = {k: b"" if isinstance(v, bytes) else v for k, v in params.items()}
        report = botocore.validate.ParamValidator().validate(stream, op.model.input_shape)
        if report.has_errors():
            raise ServiceError(400, self.bad, report.generate_report())
        refuse_unknown_words(op.model.input_shape, params, self.bad)

    def scalar(self, shape, text, wire):
        try:
            return SCALARS.get(shape.type_name, str)(text)
        except (ValueError, OverflowError):
            raise ServiceError(400, self.bad, f"{wire}: {text!r} is no {shape.type_name}") from None

    def from_xml(self, shape, element):
        if shape.type_name == "structure":
            return self.structure_from_xml(shape, element)
        return self.scalar(shape, element.text or "", local_name(element))

    def structure_from_xml(self, shape, element):
        value, wires = {}, {}
        for name, member in shape.members.items():
            flat = member.type_name == "list" and member.serialization.get("flattened")
            wires[(member.member if flat else member).serialization.get(
                "name", member.serialization.get("name", name))] = (name, member, flat)
        for child in element:
            if local_name(child) not in wires:
                raise ServiceError(400, "MalformedXML", f"{local_name(child)} has no place here")
            name, member, flat = wires[local_name(child)]
            if flat:
                value.setdefault(name, []).append(self.from_xml(member.member, child))
            elif member.type_name == "list":
                value[name] = [self.from_xml(member.member, c) for c in child]
            else:
                value[name] = self.from_xml(member, child)
        return value

    # -- answers --

    def answer(self, op, output):
        """(headers, body) of an answer; a streamed payload stays what it is."""
        shape = op.model.output_shape
        if shape is None:
            return {}, b""
        headers, rest = {}, {}
        for name, value in output.items():
            if name not in shape.members:
                raise KeyError(f"{op.name} answers no {name}")
            if value is None:
                continue
            where, wire = place(name, shape.members[name])
            if where == "header":
                headers[wire] = header_text(value)
            elif where == "headers":
                headers.update({wire + k: v for k, v in value.items()})
            elif where != "statusCode":
                rest[name] = value
        payload = shape.serialization.get("payload")
        if payload:
            return headers, self.payload_body(shape.members[payload], payload, rest.get(payload))
        if not self.xml:
            return headers, json.dumps(rest).encode() if rest else b""
        if not any(place(n, s)[0] is None for n, s in shape.members.items()):
            return headers, b""
        return headers, to_document(shape, rest, ROOTS.get(op.name, shape.name))

    def payload_body(self, shape, name, value):
        if shape.type_name in ("blob", "string"):
            return value if value is not None else b""
        if not self.xml:
            return json.dumps(value or {}).encode()
        return to_document(shape, value or {}, shape.serialization.get("name", name))


def refuse_unknown_words(shape, value, code):
    """Enumerations, which botocore's own validator leaves to the service."""
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, member in shape.members.items():
            if name in value:
                refuse_unknown_words(member, value[name], code)
    elif shape.type_name == "list" and isinstance(value, list):
        for item in value:
            refuse_unknown_words(shape.member, item, code)
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        raise ServiceError(400, code, f"{value!r} is none of {', '.join(shape.enum)}")


def parse_boolean(text):
    if text.lower() not in ("true", "false"):  # botocore writes True
        raise ValueError(text)
    return text.lower() == "true"


SCALARS = {
    "integer": int, "long": int, "float": float, "double": float, "boolean": parse_boolean,
    "timestamp": botocore.utils.parse_timestamp, "blob": base64.b64decode,
}


def local_name(element):
    return element.tag.rpartition("}")[2]


def parse_xml(body):
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError as why:
        raise ServiceError(400, "MalformedXML", f"The XML you provided was not well-formed: {why}") from None


def parse_json(body):
    try:
        value = json.loads(body)
    except ValueError as why:
        raise ServiceError(400, "InvalidParameterValueException", f"the body is no JSON: {why}") from None
    if not isinstance(value, dict):
        raise ServiceError(400, "InvalidParameterValueException", "the body is no JSON object")
    return value


def utc(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def header_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.strftime("%a, %d %b %Y %H:%M:%S GMT")
    return str(value)


def scalar_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return str(value)


def to_document(shape, value, root):
    element = ElementTree.Element(root, {"xmlns": S3_NAMESPACE})
    fill_structure(shape, value, element)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(element)


def fill_structure(shape, value, element):
    for name, item in value.items():
        member = shape.members[name]
        if item is None or member.serialization.get("location"):
            continue
        wire = member.serialization.get("name", name)
        if member.type_name == "list":
            flat = member.serialization.get("flattened")
            parent = element if flat else ElementTree.SubElement(element, wire)
            inner = member.member.serialization.get("name", wire if flat else "member")
            for entry in item:
                fill(member.member, entry, ElementTree.SubElement(parent, inner))
        else:
            fill(member, item, ElementTree.SubElement(element, wire))


def fill(shape, value, element):
    if shape.type_name == "structure":
        fill_structure(shape, value, element)
    else:
        element.text = scalar_text(value)
