"""Answer server: serve prepared answers on loopback, also over TLS, in place of the hubs of a container's app."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import tempfile
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Dict, Mapping

from preheat.guard.net.loopback_certificate import NoCertificate, make_certificate
from preheat.guard.net.prepared_answers import HttpAnswer, PreparedAnswers

_HOST = re.compile(r"(?:127\.0\.0\.1|localhost)(?::[0-9]{1,5})?")
_SIZE = re.compile(r"[0-9]{1,9}")
_PLACES = 256
_MOST_BODY = 4 << 20
_CHUNK = 1 << 20
_SILENCE_S = 75.0
_BODYLESS = (204, 304)


@dataclass(frozen=True)
class AnsweringHub:
    """The variables that lead an app's clients to the server; `unencrypted`: why it has no TLS, else empty."""

    environ: Mapping[str, str]
    unencrypted: str = ""


def answer_hub(answers: PreparedAnswers, environ: Mapping[str, str], closing: ExitStack) -> AnsweringHub:
    """Serve the answers until `closing` closes. `environ` are the app's variables. Raise OSError."""
    plain = _serve(answers, None, closing)
    led = _filled(answers.environ, {"url": f"http://{plain}", "host": plain})
    if not answers.secure:
        return AnsweringHub(led)
    folder = tempfile.mkdtemp(prefix="preheat-")
    closing.callback(shutil.rmtree, folder, True)
    try:
        certificate = make_certificate(folder, environ)
    except NoCertificate as error:
        return AnsweringHub(led, str(error))
    secure = _serve(answers, certificate.context, closing)
    fields = {"url": f"https://{secure}", "host": secure, "trusted": certificate.trusted}
    return AnsweringHub({**led, **_filled(answers.secure, fields)})


def _filled(variables: Mapping[str, str], fields: Mapping[str, str]) -> Dict[str, str]:
    filled = dict(variables)
    for field, value in fields.items():
        filled = {name: text.replace(f"{{{field}}}", value) for name, text in filled.items()}
    return filled


def _serve(answers: PreparedAnswers, tls: ssl.SSLContext | None, closing: ExitStack) -> str:
    """Serve on a free port of loopback; return `HOST:PORT`."""
    server = _Server(answers, tls)
    thread = threading.Thread(target=server.serve_forever, name="hub", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    closing.callback(stop)
    return f"127.0.0.1:{server.server_address[1]}"


class _Server(ThreadingTCPServer):
    """At most 256 connections at once: a further one replaces the oldest. `_turn` guards `_places`."""

    # Not http.server's: that one looks up the name of its address, which takes seconds without a network.
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, answers: PreparedAnswers, tls: ssl.SSLContext | None) -> None:
        self.answers = answers
        self._turn = threading.Lock()
        self._places: Dict[int, socket.socket] = {}
        self.scheme = "http" if tls is None else "https"
        self._tls = tls
        super().__init__(("127.0.0.1", 0), _Responder)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Respond to a connection in a new thread."""
        with self._turn:
            if len(self._places) >= _PLACES:
                with suppress(OSError):
                    # Only shut it down: its own thread reads EOF and closes it.
                    socket.socket.shutdown(self._places.pop(next(iter(self._places))), socket.SHUT_RDWR)
            self._places[id(request)] = request
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._turn:
            self._places.pop(id(request), None)
        super().shutdown_request(request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Respond to a connection, in its own thread: a slow TLS handshake must not keep others waiting."""
        request.settimeout(_SILENCE_S)
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        with self._tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as wrapped:
            with self._turn:
                if id(request) in self._places:
                    self._places[id(request)] = wrapped  # it has the descriptor now
            wrapped.do_handshake()
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a connection that broke: its client has its own error."""


class _Responder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "preheat"
    sys_version = ""
    server: _Server

    def do_HEAD(self) -> None:
        """Respond to any request."""
        size = self.headers.get("Content-Length", "0")
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not _SIZE.fullmatch(size) or int(size) > _MOST_BODY or "transfer-encoding" in headers:
            self.close_connection = True
            self._send(HttpAnswer(413, {}))
        elif not _HOST.fullmatch(self.headers.get("Host", "")):
            # A page of another site, whose name leads to this address.
            self.close_connection = True
            self._send(HttpAnswer(421, {}))
        else:
            body = self.rfile.read(int(size))
            self._send(self.server.answers.find(self.command, self.path, headers, body))

    do_GET = do_POST = do_HEAD  # noqa: N815 - called by its name

    def log_message(self, *args: object) -> None:
        """Log nothing: the output is the app's."""

    def _send(self, answer: HttpAnswer) -> None:
        with ExitStack() as closing:
            source = None
            if answer.file and answer.stop > answer.start:
                with suppress(OSError):
                    source = closing.enter_context(open(answer.file, "rb"))
                if source is None or os.fstat(source.fileno()).st_size != answer.size:
                    answer = HttpAnswer(503, {}, f"{answer.file} is missing or has changed".encode())
            size = answer.stop - answer.start if answer.file else len(answer.body)
            self.send_response(answer.status)
            url = f"{self.server.scheme}://{self.headers.get('Host', '')}"
            for name, value in answer.headers.items():
                self.send_header(name, value.replace("{url}", url))
            if answer.status not in _BODYLESS:
                self.send_header("Content-Length", str(size))
            self.end_headers()
            if self.command == "HEAD" or answer.status in _BODYLESS:
                return
            if source is None or not answer.file:
                self.wfile.write(answer.body)
                return
            source.seek(answer.start)
            left = size
            while left:
                piece = source.read(min(_CHUNK, left))
                if not piece:
                    self.close_connection = True  # the client sees an incomplete response
                    return
                self.wfile.write(piece)
                left -= len(piece)
