"""Faults on demand.

`behaviour.json` in the emulator's folder (or POST /_emulator/behaviour) is a list of rules, the
first that strikes is used:

    op      name of an operation, or "*"                             (default "*")
    kind    what happens, see KINDS, or "mixed": one of `kinds`      (default "mixed")
    kinds   for "mixed"                                              (default: all that the wire does)
    p       probability of each request                              (default 1)
    skip    so many requests that fit go through first               (default 0)
    count   at most so many faults                                   (default: without end)
    after   the operation is done first, its answer is the fault     (default false)
    code, status, message, retry_after, seconds     of an answer; of a stall, of what is slow

Draws come from one generator with a fixed seed.
"""
import json
import os
import random
import threading

from emulator_model import ServiceError

# (status, code for S3, code for Glacier); None: not an answer but something that happens on the wire
KINDS = {
    "500": (500, "InternalError", "ServiceUnavailableException"),
    "502": (502, "BadGateway", "ServiceUnavailableException"),
    "503": (503, "SlowDown", "ThrottlingException"),
    "504": (504, "GatewayTimeout", "ServiceUnavailableException"),
    "429": (429, "TooManyRequests", "ThrottlingException"),
    "408": (408, "RequestTimeout", "RequestTimeoutException"),
    "timeout": (400, "RequestTimeout", "RequestTimeoutException"),
    "token": (400, "ExpiredToken", "ExpiredTokenException"),
    "skew": (403, "RequestTimeTooSkewed", "InvalidSignatureException"),
    "denied": (403, "AccessDenied", "AccessDeniedException"),
    "policy": (400, "InvalidRequest", "PolicyEnforcedException"),
    "capacity": (503, "GlacierExpeditedRetrievalNotAvailable", "InsufficientCapacityException"),
    "limit": (400, "TooManyBuckets", "LimitExceededException"),
    "answer": (400, "InvalidRequest", "InvalidParameterValueException"),
    "inside": None,      # 200 with an error in its body
    "cut-before": None,  # connection closed before the body is read
    "cut-in": None,      # in the middle of the request's body
    "cut-after": None,   # the operation is done, its answer lost
    "cut-answer": None,  # in the middle of the answer
    "stall": None,       # nothing for `seconds`, then cut
    "slow": None,        # nothing for `seconds`, then all is well
    "corrupt": None,     # a byte of the body, sent or received, is another one
    "duplicate": None,   # the answer comes twice
}
MIXED = ["500", "503", "429", "408", "timeout", "cut-before", "cut-in", "cut-after", "cut-answer",
         "stall", "corrupt", "duplicate"]


class Faults:
    def __init__(self, folder, seed):
        self.path = os.path.join(folder, "behaviour.json")
        self.lock, self.random = threading.Lock(), random.Random(seed)
        self.stamp, self.rules, self.seen = None, [], []

    def set(self, rules):
        for rule in rules:
            kinds = rule.get("kinds", MIXED) if rule.get("kind", "mixed") == "mixed" else [rule["kind"]]
            for kind in kinds:
                KINDS[kind]  # an unknown kind is the test's error
        with open(self.path + ".new", "w") as f:
            json.dump(rules, f)
        os.replace(self.path + ".new", self.path)
        with self.lock:
            self.stamp = None  # also where the new file has the number and the time of the last one

    def load(self):
        try:
            stamp = os.stat(self.path)
        except FileNotFoundError:
            return
        if self.stamp != (stamp.st_ino, stamp.st_mtime_ns):
            self.stamp = (stamp.st_ino, stamp.st_mtime_ns)
            with open(self.path) as f:
                self.rules = json.load(f)
            self.seen = [{"fits": 0, "faults": 0} for _ in self.rules]

    def pick(self, operation):
        """The rule that strikes this request, with its kind drawn; or None."""
        with self.lock:
            self.load()
            for rule, seen in zip(self.rules, self.seen):
                if rule.get("op", "*") not in ("*", operation):
                    continue
                seen["fits"] += 1
                if seen["fits"] <= rule.get("skip", 0) or seen["faults"] >= rule.get("count", 1 << 60):
                    continue
                if self.random.random() >= rule.get("p", 1):
                    continue
                seen["faults"] += 1
                kind = rule.get("kind", "mixed")
                if kind == "mixed":
                    kind = self.random.choice(rule.get("kinds", MIXED))
                return dict(rule, kind=kind)
            return None


def error_of(rule, service):
    """The answer of a fault that is one."""
    status, s3, glacier = KINDS[rule["kind"]]
    code = rule.get("code", s3 if service == "s3" else glacier)
    headers = {"Retry-After": str(rule["retry_after"])} if "retry_after" in rule else {}
    return ServiceError(rule.get("status", status), code, rule.get("message", "Please try again."), headers)
