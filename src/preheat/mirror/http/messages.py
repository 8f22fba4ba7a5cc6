"""Messages: HTTP requests, responses and refusals, without a socket."""

import io
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec

MOST_FIELDS = 20_000
_BEARER = re.compile(r"bearer +([!-~]{1,4096})", re.IGNORECASE)
_ORIGIN = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*")


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed request; header names are in lower case. `secure` requests came over TLS; `client` is whose it is."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    secure: bool = False
    client: str = ""


def scheme_of(request: Request) -> str:
    """Return `https` for a request that came over TLS, to this server or to a proxy in front of it, else `http`."""
    return "https" if request.secure or request.headers.get("x-forwarded-proto", "") == "https" else "http"


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes `start` to `stop`, exclusive, of the file at `path`."""

    path: Path | str
    start: int
    stop: int


class Arriving(Protocol):
    """A file that is served while it is downloaded."""

    @property
    def verified(self) -> bool:
        """Whether the file is complete, with the right digest."""

    def await_first(self, start: int, stop: int) -> int:
        """Wait until part of bytes `start` to `stop` can be sent; return the age to pass to `pieces`."""

    def pieces(self, start: int, stop: int, age: int) -> Generator[tuple[io.FileIO, int, int]]:
        """Yield an open file, and the start and stop offsets to send from it, as bytes arrive; raise BrokenOff."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Bytes `start` to `stop`, exclusive, of a file that is still being downloaded."""

    arriving: Arriving
    start: int
    stop: int
    age: int

    def pieces(self) -> Generator[tuple[io.FileIO, int, int]]:
        """Yield the bytes as they arrive; send each piece before the next. Raise BrokenOff. Callers must close it."""
        return self.arriving.pieces(self.start, self.stop, self.age)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. The response to a HEAD request has the headers of the body that it omits."""

    status: int
    headers: Mapping[str, str]
    body: bytes | Slice | Flow = b""


class BrokenOff(ConnectionError):
    """The rest of a response cannot be sent: close the connection, so that the client sees an incomplete response."""


class Refused(Exception):
    """The request is refused; `answer` is the response to send."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def bearer(request: Request) -> str:
    """Return the request's bearer token; "" if there is no valid one."""
    shown = request.headers.get("authorization")
    match = _BEARER.fullmatch(shown) if shown else None
    return match[1] if match else ""


def refuse(status: int, message: str, code: str = "", **headers: str) -> Answer:
    """Return an error response in the hub's form: clients read its headers, users its body."""
    told = {"X-Error-Message": re.sub(r"[^ -~]", "?", message)} | ({"X-Error-Code": code} if code else {})
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    return json_answer(msgspec.json.encode({"error": message}), status, told)


def json_answer(body: bytes, status: int, headers: Mapping[str, str]) -> Answer:
    """Return a response with a JSON body."""
    form = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body))}
    return Answer(status, form | dict(headers), body)


def read_target(target: str) -> tuple[list[str], dict[str, list[str]]]:
    """Split a request target into path segments and query; a segment may contain an encoded `/`, as in `refs/pr/1`.

    Raise Refused (400) if it is invalid.
    """
    path, _, query = _ORIGIN.sub("", target).partition("#")[0].partition("?")
    try:
        segments = path.split("/")
        if "%" in path or not path.isascii():
            segments = [unquote_to_bytes(segment.encode("latin-1")).decode() for segment in segments]
        fields = parse_qs(query, max_num_fields=MOST_FIELDS) if query else {}
    except ValueError as error:
        raise Refused(refuse(400, "invalid URL")) from error
    if any("\0" in segment for segment in segments):
        raise Refused(refuse(400, "the URL contains a NUL"))
    while segments and not segments[-1]:
        segments.pop()
    return (segments if segments[:1] != [""] else segments[1:]), fields
