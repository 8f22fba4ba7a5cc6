"""FlakyHub: a small real hub on a real socket, with faults on demand; it records its requests."""

import json
import math
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from preheat.core.events import Answered, Event
from preheat.mirror.api.folders import Shelf
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.messages import Answer, Flow, Request, Slice, refuse
from preheat.mirror.http.server import Server
from tests.authority import authority

# Called with the request and the right response.
Fault = Callable[[Request, Answer], Answer]

WEIGHTS = r"/resolve/.*\.(bin|safetensors)$"


@dataclass(slots=True)
class _Rule:
    """A fault, the targets that it applies to, and how many more times."""

    pattern: str
    fault: Fault
    times: int


class FlakyHub:
    """Serve folders by their repository names, with the Hugging Face API, inside a `with`.

    Over HTTPS, as real hubs do, with the certificate of tests.authority; over HTTP with `tls=False`. `handshakes` has
    an entry for each TLS handshake: whether it resumed an earlier session.
    """

    def __init__(self, folders: Mapping[str, Path], pace: int | None = None, *, tls: bool = True) -> None:
        self._honest = partial(answer, find=Shelf(folders).find)
        self._rules: list[_Rule] = []
        self._turn = threading.Lock()
        self._requests: list[Request] = []
        self._answered: list[Answered] = []
        self.handshakes: list[bool] = []
        shown = _noting(authority().context, self.handshakes) if tls else None
        self._server = Server(("127.0.0.1", 0), self._reply, self._note, pace, tls=shown)
        self.url = self._server.url

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop(patience_s=0.5)

    def fails(self, pattern: str, fault: Fault, times: int = 1_000_000) -> None:
        """Apply `fault` to requests whose target matches the regular expression `pattern`, this many times."""
        with self._turn:
            self._rules.append(_Rule(pattern, fault, times))

    def recovers(self) -> None:
        """Remove all faults, and forget the requests so far."""
        self._settled()
        with self._turn:
            self._rules.clear()
            self._requests.clear()
            self._answered.clear()

    def asked(self, pattern: str = "") -> list[Request]:
        """Return the requests whose target matches `pattern`."""
        with self._turn:
            return [request for request in self._requests if re.search(pattern, request.target)]

    def sent(self, pattern: str = "") -> int:
        """Return the bytes of the response bodies of such requests."""
        self._settled()
        with self._turn:
            return sum(event.sent for event in self._answered if re.search(pattern, event.path))

    def _reply(self, request: Request) -> Answer:
        full = self._honest(request)
        with self._turn:
            self._requests.append(request)
            strikes = (one for one in self._rules if one.times and re.search(one.pattern, request.target))
            rule = next(strikes, None)
            if rule is not None:
                rule.times -= 1
        # In a separate thread, since a fault may take long.
        return full if rule is None else rule.fault(request, full)

    def _note(self, event: Event) -> None:
        if isinstance(event, Answered):
            with self._turn:
                self._answered.append(event)

    def _settled(self) -> None:
        """Wait until all responses are complete: a response is counted after its last byte."""
        deadline = time.monotonic() + 30
        while True:
            with self._turn:
                if len(self._answered) >= len(self._requests):
                    return
            assert time.monotonic() < deadline, "a request was never answered"
            time.sleep(0.01)


def refuses(status: int, message: str = "", code: str = "", **headers: str) -> Fault:
    """Respond with an error status; `Retry_After="1"` becomes the header."""
    return lambda request, full: refuse(status, message, code, **headers)


def grants(requests: int, window_s: float, status: int = 429, *, says_when: bool = True) -> Fault:
    """Serve this many requests in each time window, and refuse others, with or without Retry-After."""
    turn, opened, used = threading.Lock(), -math.inf, 0

    def fault(request: Request, full: Answer) -> Answer:
        nonlocal opened, used
        with turn:
            now = time.monotonic()
            if now - opened >= window_s:
                opened, used = now, 0
            used += 1
            left_s = math.ceil(opened + window_s - now)
            granted = used <= requests
        told = {"Retry-After": str(left_s)} if says_when else {}
        return full if granted else refuse(status, "Too many requests.", **told)

    return fault


def bears(connections: int, status: int = 503) -> Fault:
    """Serve this many requests at a time, and refuse others."""
    turn, busy = threading.Lock(), 0

    def fault(request: Request, full: Answer) -> Answer:
        nonlocal busy
        with turn:
            busy += 1
            granted = busy <= connections
        try:
            if granted:
                time.sleep(0.1)
            return full if granted else refuse(status, "busy")
        finally:
            with turn:
                busy -= 1

    return fault


def wants_token(token: str) -> Fault:
    """Refuse requests without this token, as the hub does."""

    def fault(request: Request, full: Answer) -> Answer:
        if request.headers.get("authorization") == f"Bearer {token}":
            return full
        return refuse(401, "Invalid username or password.")

    return fault


def says(old: str, new: str) -> Fault:
    """Replace `old` by `new` in the response."""

    def fault(request: Request, full: Answer) -> Answer:
        body = _bytes(full).replace(old.encode(), new.encode())
        return replace(full, headers={**full.headers, "Content-Length": str(len(body))}, body=body)

    return fault


def flips_a_byte_at(place: int) -> Fault:
    """Flip one bit at offset `place`, if it is in the requested range."""

    def fault(request: Request, full: Answer) -> Answer:
        body = bytearray(_bytes(full))
        start = full.body.start if isinstance(full.body, Slice) else 0
        if start <= place < start + len(body):
            body[place - start] ^= 1
        return replace(full, body=bytes(body))

    return fault


def hangs_up_after(size: int) -> Fault:
    """Announce the whole response, send `size` bytes of it, and close the connection."""

    def fault(request: Request, full: Answer) -> Answer:
        return replace(full, headers={**full.headers, "Connection": "close"}, body=_bytes(full)[:size])

    return fault


def answers_after(seconds: float) -> Fault:
    """Wait this long, then send the whole response."""

    def fault(request: Request, full: Answer) -> Answer:
        time.sleep(seconds)
        return full

    return fault


def sends_less_by(size: int) -> Fault:
    """Send `size` bytes less than requested, with a matching Content-Length."""

    def fault(request: Request, full: Answer) -> Answer:
        body = _bytes(full)[:-size]
        headers = {**full.headers, "Content-Length": str(len(body))}
        if isinstance(full.body, Slice) and full.status == 206:
            whole = full.headers["Content-Range"].rpartition("/")[2]
            headers["Content-Range"] = f"bytes {full.body.start}-{full.body.stop - 1 - size}/{whole}"
        return replace(full, headers=headers, body=body)

    return fault


def knows_no_ranges(request: Request, full: Answer) -> Answer:
    """Send the whole file, whatever range was requested."""
    if not isinstance(full.body, Slice):
        return full
    size = Path(full.body.path).stat().st_size
    headers = {name: value for name, value in full.headers.items() if name not in ("Content-Range", "Accept-Ranges")}
    return Answer(200, headers | {"Content-Length": str(size)}, Slice(full.body.path, 0, size))


def redirects_to(url: str) -> Fault:
    """Redirect the client to the same path at another address."""
    return lambda request, full: Answer(302, {"Location": f"{url}{request.target}", "Content-Length": "0"})


def lists(*names: str) -> Fault:
    """Answer a search as the hubs do: with the names of an owner, or with those that contain a word."""

    def fault(request: Request, full: Answer) -> Answer:
        fields = dict(parse_qsl(urlsplit(request.target).query))
        owner, word = fields.get("author", fields.get("owner", "")), fields.get("search", "").lower()
        found = [
            {"id": name} for name in names if word in name.lower() and name.startswith(f"{owner}/" if owner else "")
        ]
        body = json.dumps({"data": {"models": found}} if "/openapi/" in request.target else found).encode()
        return Answer(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)

    return fault


def _noting(context: ssl.SSLContext, handshakes: list[bool]) -> ssl.SSLContext:
    class NotingSocket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            handshakes.append(bool(self.session_reused))

    context.sslsocket_class = NotingSocket
    return context


def _bytes(full: Answer) -> bytes:
    if isinstance(full.body, bytes):
        return full.body
    assert not isinstance(full.body, Flow), "it has all it serves"
    with open(full.body.path, "rb") as file:
        file.seek(full.body.start)
        return file.read(full.body.stop - full.body.start)
