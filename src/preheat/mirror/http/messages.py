"""Messages: request, response and refusal, without a socket."""

import io
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec

MOST_FIELDS = 20_000


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came; header names are in lower case. `secure` requests came by TLS."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    secure: bool = False


def scheme_of(request: Request) -> str:
    """Return `https` for a request that came by TLS, to this server or to a proxy before it."""
    return "https" if request.secure or request.headers.get("x-forwarded-proto", "") == "https" else "http"


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes `start` up to, not including, `stop` of the file at `path`."""

    path: Path
    start: int
    stop: int


class Arriving(Protocol):
    """A file on its way, to be answered with as it comes."""

    @property
    def verified(self) -> bool:
        """Whether all of it is here, with the right digest."""

    def await_first(self, start: int, stop: int) -> int:
        """Wait until something of bytes `start` up to `stop` can be sent; return the age to ask `pieces` for."""

    def pieces(self, start: int, stop: int, age: int) -> Generator[tuple[io.FileIO, int, int]]:
        """Hand out a file, and the start and stop of what is here of it, again and again; raise BrokenOff."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Bytes `start` up to, not including, `stop` of a file on its way."""

    arriving: Arriving
    start: int
    stop: int
    age: int

    def pieces(self) -> Generator[tuple[io.FileIO, int, int]]:
        """Hand out the bytes as they come, to send each piece before the next; raise BrokenOff. Close it at the end."""
        return self.arriving.pieces(self.start, self.stop, self.age)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. An answer to HEAD has the headers of the body that it leaves out."""

    status: int
    headers: Mapping[str, str]
    body: bytes | Slice | Flow = b""


class BrokenOff(ConnectionError):
    """The rest of an answer will not come: hang up, so that nobody takes what came for the whole."""


class Refused(Exception):
    """The request cannot be served, and this is what to say."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def bearer(request: Request) -> str:
    """Say which token came with a request; nothing, if none did that could be one."""
    match = re.fullmatch(r"bearer +([!-~]{1,4096})", request.headers.get("authorization", ""), re.IGNORECASE)
    return match[1] if match else ""


def refuse(status: int, message: str, code: str = "", **headers: str) -> Answer:
    """Say no, as the hub's clients understand it: they read the headers, people the body."""
    told = {"X-Error-Message": re.sub(r"[^ -~]", "?", message)} | ({"X-Error-Code": code} if code else {})
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    return json_answer(msgspec.json.encode({"error": message}), status, told)


def json_answer(body: bytes, status: int, headers: Mapping[str, str]) -> Answer:
    """Answer with a document."""
    form = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body))}
    return Answer(status, form | dict(headers), body)


def read_target(target: str) -> tuple[list[str], dict[str, list[str]]]:
    """Take a target apart; a segment may hold a `/` that came encoded, as in the revision `refs/pr/1`."""
    path, _, query = re.sub(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*", "", target).partition("#")[0].partition("?")
    try:
        segments = [unquote_to_bytes(segment.encode("latin-1")).decode() for segment in path.split("/")]
        fields = parse_qs(query, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise Refused(refuse(400, "the address cannot be read")) from error
    if "\0" in "".join(segments):
        raise Refused(refuse(400, "the address holds a NUL"))
    while segments and not segments[-1]:
        segments.pop()
    return (segments if segments[:1] != [""] else segments[1:]), fields
