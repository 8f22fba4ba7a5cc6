"""Real requests: probes that send a request as a client would, and check that the response is complete."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Iterable, NamedTuple

if TYPE_CHECKING:
    from http.client import HTTPConnection

KINDS = ("gradio", "openai", "wav")
_FORM = r"(?s)(gradio|openai|wav)(?:@(\d+(?:\.\d+)?)s)?:(http://\S+)(?:\s+(.+))?"
_WITHIN_S = 30.0
_CONNECT_S = 5.0
_MOST_BYTES = 64 * 1024 * 1024


class RealRequest(NamedTuple):
    """A probe that sends a real request; the response must be complete within `within_s` seconds.

    `body` is JSON; an empty body uses the default request of the kind.
    """

    kind: str
    host: str
    port: int
    target: str
    body: str = ""
    within_s: float = _WITHIN_S

    def ready(self) -> bool:
        """See Probe."""
        if not listens(self.host, self.port):
            return False
        # Imported once the app listens: until then it imports too, and would wait for the core.
        from http.client import HTTPException

        try:
            if self.kind == "gradio":
                return self._gradio()
            return self._openai() if self.kind == "openai" else self._wav()
        except (OSError, HTTPException, ValueError, LookupError, TypeError, RecursionError, MemoryError):
            # No response in time, or an unexpected one: the probe is repeated.
            return False

    def _gradio(self) -> bool:
        """Call an endpoint as Gradio's client does: request an event ID, then wait for the event to complete."""
        import json

        call = {"data": json.loads(self.body) if self.body else []}
        for prefix in ("/gradio_api/call", "/call"):  # Gradio 5 and later; Gradio 4
            status, data = self._ask("POST", f"{prefix}{self.target}", json.dumps(call))
            if status == 404:
                continue
            event = json.loads(data)["event_id"]
            status, data = self._ask("GET", f"{prefix}{self.target}/{event}")
            return status == 200 and b"event: complete" in data
        return False

    def _openai(self) -> bool:
        """Generate one token with the first model listed."""
        import json

        base = self.target.rstrip("/")
        status, data = self._ask("GET", f"{base}/models")
        if status != 200:
            return False
        model = json.loads(data)["data"][0]["id"]
        chat = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
        plain = {"model": model, "max_tokens": 1, "prompt": "Hi"}
        asked = [("/chat/completions", chat), ("/completions", plain)]
        if self.body:
            asked = [(path, {"model": model, **json.loads(self.body)}) for path, _ in asked[:1]]
        for path, question in asked:
            status, data = self._ask("POST", base + path, json.dumps(question))
            if status == 200:
                return bool(json.loads(data)["choices"])
        # A completion-only model has no chat template, and responds to the chat request with 400 or 404.
        return False

    def _wav(self) -> bool:
        status, data = self._ask("POST" if self.body else "GET", self.target, self.body)
        return status == 200 and whole_wav(data)

    def _ask(self, method: str, target: str, body: str = "") -> tuple[int, bytes]:
        from http.client import HTTPConnection

        connection = HTTPConnection(self.host, self.port, timeout=self.within_s)
        # The socket timeout applies to each read: an app that sends one byte per second would never reach it.
        hanging_up = HangUp(connection, self.within_s)
        try:
            headers = {"User-Agent": "preheat-guard", "Connection": "close"}
            if body:
                headers["Content-Type"] = "application/json"
            connection.request(method, target, body.encode("utf-8") or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(_MOST_BYTES)
        finally:
            hanging_up.cancel()
            connection.close()


class OneRealRequest:
    """A probe that sends a real request until it succeeds, then only connects, to spare the app."""

    def __init__(self, request: RealRequest) -> None:
        self._request = request
        self._answered = False

    def ready(self) -> bool:
        """See Probe."""
        if not self._answered:
            self._answered = self._request.ready()
            return self._answered
        return listens(self._request.host, self._request.port)


def listens(host: str, port: int) -> bool:
    """Return whether a connection is accepted."""
    import socket

    try:
        socket.create_connection((host, port), _CONNECT_S).close()
    except OSError:
        return False
    return True


def split_request(text: str) -> tuple[str, float, str, str]:
    """Split `KIND[@SECONDSs]:URL [JSON]` into kind, seconds, URL and body. Raise ValueError if it is invalid."""
    found = re.fullmatch(_FORM, text)
    if not found:
        raise ValueError(f"{text} is not a real request: gradio:http://HOST:PORT/NAME [JSON], openai:…/v1, wav:…/tts")
    kind, within, url, body = found.groups()
    if body:
        import json

        try:
            json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{text}: {error}") from error
    return kind, float(within) if within else _WITHIN_S, url, body or ""


def whole_wav(data: bytes) -> bool:
    """Return whether the bytes are a RIFF WAVE file with audio data that is not truncated."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return False
    return any(name == b"data" and size > 0 for name, size in _chunks(data))


def _chunks(data: bytes) -> Iterable[tuple[bytes, int]]:
    """Yield the name of each chunk of a WAVE file, and its number of bytes, or 0 if it is truncated."""
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        here = min(size, len(data) - at - 8)
        # A streaming server does not know the length in advance, and sets the maximum.
        yield data[at : at + 4], here if here == size or size >= 0x7FFFFFFF else 0
        at += 8 + size + size % 2


class HangUp:
    """Shut a connection down after some seconds, unless it is cancelled; `done` is set before."""

    def __init__(self, connection: HTTPConnection, seconds: float) -> None:
        self.done = False
        self._connection = connection
        self._timer = threading.Timer(seconds, self._hang_up)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Leave the connection open."""
        self._timer.cancel()

    def _hang_up(self) -> None:
        self.done = True
        with suppress(OSError, AttributeError):
            self._connection.sock.shutdown(2)  # SHUT_RDWR
