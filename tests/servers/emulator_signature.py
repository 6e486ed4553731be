"""Judges signatures: botocore's signer makes them again from what came over the wire.

A request is accepted when Amazon would accept it: known and valid credentials, a date near ours, the
right region, `host` and every `x-amz-` header signed, path and query in the one encoding that the
service signs, the payload's hash the one that was signed.
"""
import calendar
import hashlib
import re
import time
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from emulator_model import ServiceError

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/, ]+)/(\d{8})/([^/, ]+)/([^/, ]+)/aws4_request, ?"
    r"SignedHeaders=([^, ]+), ?Signature=([0-9a-f]{64})$")

# code and status of each refusal: S3's, Glacier's
REFUSALS = {
    "missing": ((403, "AccessDenied"), (403, "MissingAuthenticationTokenException")),
    "malformed": ((400, "AuthorizationHeaderMalformed"), (403, "IncompleteSignatureException")),
    "key": ((403, "InvalidAccessKeyId"), (403, "UnrecognizedClientException")),
    "token": ((400, "InvalidToken"), (403, "UnrecognizedClientException")),
    "expired": ((400, "ExpiredToken"), (403, "ExpiredTokenException")),
    "skew": ((403, "RequestTimeTooSkewed"), (403, "InvalidSignatureException")),
    "region": ((400, "AuthorizationHeaderMalformed"), (403, "InvalidSignatureException")),
    "signature": ((403, "SignatureDoesNotMatch"), (403, "InvalidSignatureException")),
    "payload": ((400, "XAmzContentSHA256Mismatch"), (400, "InvalidParameterValueException")),
}


def refuse(service, what, message, **extra):
    status, code = REFUSALS[what][0 if service == "s3" else 1]
    raise ServiceError(status, code, message, extra=extra)


def service_of(headers):
    """The service that a request was signed for."""
    m = AUTHORIZATION.match(headers.get("authorization", ""))
    return "glacier" if m and m[4] == "glacier" else "s3"


def check_date(service, stamp, now, allowed):
    try:
        signed = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        refuse(service, "malformed", f"the date {stamp!r} is none")
    if abs(signed - now) > allowed:
        refuse(service, "skew", "Signature expired: the difference between the request time and the "
               "current time is too large.")


def check_credentials(service, known, headers, now):
    if known is None:
        refuse(service, "key", "The AWS Access Key Id you provided does not exist in our records.")
    token = headers.get("x-amz-security-token")
    if token != known.get("token"):
        refuse(service, "token", "The provided token is malformed or otherwise invalid.")
    if known.get("expires") and now > known["expires"]:
        refuse(service, "expired", "The provided token has expired.")


def encoded_as_signed(path, query):
    """True if path and query are written the way in which the service writes them before signing."""
    def canonical(text, safe):
        return urllib.parse.quote(urllib.parse.unquote_to_bytes(text), safe=safe) == text
    return canonical(path, "/~-._") and all(
        canonical(part, "~-._") for pair in query.split("&") if pair for part in pair.split("=", 1))


def expected_signature(service, region, known, akid, request):
    credentials = botocore.credentials.Credentials(akid, known["secret"], known.get("token"))
    kind = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
    auth = kind(credentials, service, region)
    return auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)


def judge(service, method, path, query, headers, body, state, credentials, region):
    """Returns the credentials' entry; raises the service's refusal."""
    m = AUTHORIZATION.match(headers.get("authorization", ""))
    if not m:
        refuse(service, "malformed" if headers.get("authorization") else "missing",
               "there is no well-formed Authorization header")
    akid, day, signed_region, _, signed, signature = m.groups()
    known, now = credentials.get(akid), time.time() + state.settings["clock_skew"]
    check_credentials(service, known, headers, now)
    stamp = headers.get("x-amz-date", "")
    check_date(service, stamp, now, state.settings["accept_skew"])
    if stamp[:8] != day:
        refuse(service, "malformed", "the credential's date is not the request's")
    if signed_region != region:
        refuse(service, "region", f"Credential should be scoped to a valid region, not "
               f"'{signed_region}'; the region '{signed_region}' is wrong; expecting '{region}'",
               Region=region)
    names = signed.split(";")
    for name in headers:
        if (name == "host" or name.startswith("x-amz-")) and name not in names:
            refuse(service, "signature", f"the header {name} is not signed")
    if names != sorted(names) or any(n not in headers for n in names):
        refuse(service, "signature", "SignedHeaders are not those of the request, in order")
    if not encoded_as_signed(path, query):
        refuse(service, "signature", f"{path}?{query} is not encoded as it is signed")
    url = f"http://{headers['host']}{path}" + (f"?{query}" if query else "")
    if service == "s3" and "x-amz-content-sha256" not in names:
        refuse(service, "signature", "x-amz-content-sha256 is missing")
    request = botocore.awsrequest.AWSRequest(method, url, {n: headers[n] for n in names}, data=body)
    request.context["timestamp"] = stamp
    if expected_signature(service, region, known, akid, request) != signature:
        refuse(service, "signature", "The request signature we calculated does not match the "
               "signature you provided. Check your key and signing method.")
    return known


def check_payload(service, headers, body):
    """The payload's hash is the one that was signed."""
    signed = headers.get("x-amz-content-sha256")
    if signed is None or (service == "s3" and signed == "UNSIGNED-PAYLOAD"):
        return  # Glacier wants the header on archives only; the signature covers the body anyway
    if signed != hashlib.sha256(body).hexdigest():
        refuse(service, "payload", "The provided 'x-amz-content-sha256' header does not match what "
               "was computed.")
