"""What operations get and give."""
import dataclasses
import re
import typing

from emulator_model import ServiceError


@dataclasses.dataclass
class Request:
    operation: typing.Any
    params: dict
    headers: dict   # names in lower case
    body: bytes


@dataclasses.dataclass
class Answer:
    """`output` by the model; or a body or a stream of `length` bytes as it is."""
    output: dict
    status: int = None
    headers: dict = dataclasses.field(default_factory=dict)
    body: bytes = None
    stream: typing.Any = None
    length: int = None
    restore: list = None    # S3: a RestoreStatus (or None) for each listed object


def page(state, wanted):
    """How many entries a page has."""
    return max(1, min(state.settings["page"], 1000 if wanted is None else int(wanted)))


def byte_range(header, size):
    """(start, length) of a Range header; all without one. 416 if it holds no byte of the object."""
    if not header:
        return 0, size
    m = re.match(r"bytes=(\d*)-(\d*)$", header)
    if not m or not (m[1] or m[2]):
        return 0, size  # what is no range is ignored
    if not m[1]:
        start, end = max(0, size - int(m[2])), size - 1
    else:
        start, end = int(m[1]), min(int(m[2]) if m[2] else size - 1, size - 1)
    if start >= size or end < start:
        raise ServiceError(416, "InvalidRange", "The requested range is not satisfiable")
    return start, end - start + 1
