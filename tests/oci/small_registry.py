"""A small registry: the OCI distribution API on a port of this machine, with faults on demand."""

import base64
import hashlib
import json
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.authority import secured

USER, PASSWORD = "me", "very secret"


@dataclass
class Faults:
    """The faults to come; the counts decrease."""

    auth: str = ""  # basic or token
    expire: int = 0  # this many times, a valid token expires
    expire_reads: int = 0  # the same when a blob is read
    busy: int = 0  # 429 for this many requests
    drop: int = 0  # this many connections end without a response
    busy_tokens: int = 0  # 429 for this many requests to the token service
    broken: int = 0  # 503 for this many PATCH requests
    cut: list[int] = field(default_factory=list)  # cut an upload or a download after this many bytes
    largest: int = 0  # 413 for a longer body
    curt: bool = False  # without reading it
    forget: int = 0  # this many sessions are lost at the first PATCH
    lose_put: int = 0  # this many final PUT requests succeed without a response
    lie: bool = False  # blobs are something else
    no_mount: bool = False
    no_ranges: bool = False  # each blob is sent as a whole


class Registry:
    """Its blobs, by repository and digest, and its requests: `METHOD path`."""

    def __init__(self, faults: Faults, *, tls: bool) -> None:
        self.faults = faults
        self.tls = tls
        self.blobs: dict[str, bytes] = {}
        self.repositories: dict[str, set[str]] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.asked: list[str] = []
        self.shown: list[str] = []
        self.sent = 0  # bytes of blobs
        self.tokens: set[str] = set()
        self.turn = threading.Lock()
        self.host = ""

    @property
    def url(self) -> str:
        """The URL of the registry."""
        return f"{'https' if self.tls else 'http'}://{self.host}"

    @property
    def received(self) -> int:
        """Bytes of its blobs."""
        return sum(map(len, self.blobs.values()))

    def keep(self, repository: str, body: bytes) -> str:
        """Store a blob."""
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.blobs[digest] = body
        self.repositories.setdefault(repository, set()).add(digest)
        return digest


@contextmanager
def serving(faults: Faults | None = None, *, tls: bool = True) -> Iterator[Registry]:
    """Serve a registry, over TLS as real ones do, or over HTTP."""
    registry = Registry(faults or Faults(), tls=tls)

    class Handler(_Handler):
        its = registry

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        secured(server)
    registry.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    its: Registry

    def log_message(self, *_words: object) -> None:
        """Do not log."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PATCH = do_PUT = do_GET  # noqa: N815 - the names that the server calls

    def _answer(self) -> None:
        its, faults = self.its, self.its.faults
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if faults.drop:
            faults.drop -= 1
            self.close_connection = True
            return None
        with its.turn:
            its.asked.append(f"{self.command} {parts.path}")
            its.shown.append(self.headers.get("Authorization", ""))
            busy = faults.busy > 0
            faults.busy -= busy
        if parts.path == "/token":
            with its.turn:
                busy = faults.busy_tokens > 0
                faults.busy_tokens -= busy
            return self._say(429, {"Retry-After": "0"}) if busy else self._token()
        if busy:
            return self._say(429, {"Retry-After": "0"})
        if not self._let_in():
            return None
        if parts.path == "/v2/":
            return self._say(200)
        if found := re.fullmatch(r"/v2/(.+)/blobs/uploads/(.*)", parts.path):
            return self._upload(found[1], found[2], query)
        if found := re.fullmatch(r"/v2/(.+)/(blobs|manifests)/([^/]+)", parts.path):
            return self._blob(found[1], found[3]) if found[2] == "blobs" else self._manifest(found[1], found[3])
        return self._say(404)

    def _let_in(self) -> bool:
        faults, shown = self.its.faults, self.headers.get("Authorization", "")
        if faults.auth == "basic" and shown != _basic():
            self._refuse('Basic realm="here"')
            return False
        if faults.auth == "token":
            good = shown.removeprefix("Bearer ") in self.its.tokens
            if good and faults.expire and self.command == "PATCH":
                faults.expire -= 1
                self.its.tokens.clear()
                good = False
            if good and faults.expire_reads > 0 and self.command == "GET" and "/blobs/" in self.path:
                faults.expire_reads -= 1
                self.its.tokens.clear()
                good = False
            if not good:
                realm = f"{self.its.url}/token"
                self._refuse(f'Bearer realm="{realm}",service="here",scope="repository:x:pull,push"')
                return False
        return True

    def _token(self) -> None:
        if self.headers.get("Authorization") not in (None, _basic()):
            return self._say(401)
        token = secrets.token_hex(8)
        self.its.tokens.add(token)
        return self._say(200, {}, json.dumps({"token": token}).encode())

    def _upload(self, repository: str, session: str, query: dict[str, str]) -> None:
        its, faults = self.its, self.its.faults
        length = int(self.headers.get("Content-Length") or 0)
        if self.command == "POST":
            if "mount" in query and not faults.no_mount and query["mount"] in its.repositories.get(query["from"], ()):
                its.repositories.setdefault(repository, set()).add(query["mount"])
                return self._say(201, {"Docker-Content-Digest": query["mount"]})
            session = secrets.token_hex(8)
            its.uploads[session] = bytearray()
            return self._at(202, repository, session)
        if session not in its.uploads or (self.command == "PATCH" and faults.forget > 0):
            faults.forget -= 1
            its.uploads.pop(session, None)
            self._drop(length)
            return self._say(404)
        if self.command == "GET":
            return self._at(204, repository, session)
        if faults.largest and length > faults.largest:
            self.close_connection |= faults.curt
            self._drop(0 if faults.curt else length)
            return self._say(413)
        if self.command == "PATCH":
            if faults.broken > 0:
                faults.broken -= 1
                self._drop(length)
                return self._say(503)
            start = int((self.headers.get("Content-Range") or "0-").partition("-")[0])
            if start != len(its.uploads[session]):
                self._drop(length)
                return self._say(416)
            cut = faults.cut.pop() if faults.cut and faults.cut[-1] < length else None
            its.uploads[session] += self.rfile.read(length if cut is None else cut)
            return self._at(202, repository, session) if cut is None else self._hang_up()
        body = bytes(its.uploads.pop(session)) + self.rfile.read(length)
        if query["digest"] != f"sha256:{hashlib.sha256(body).hexdigest()}":
            return self._say(400, {}, b'{"errors": [{"code": "DIGEST_INVALID", "message": "not its digest"}]}')
        its.keep(repository, body)
        if faults.lose_put > 0:
            faults.lose_put -= 1
            return self._hang_up()
        return self._say(201, {"Docker-Content-Digest": query["digest"]})

    def _blob(self, repository: str, digest: str) -> None:
        its, faults = self.its, self.its.faults
        if digest not in its.repositories.get(repository, ()):
            return self._say(404)
        body = its.blobs[digest]
        if faults.lie:
            body = body[:-1] + bytes([body[-1] ^ 1])
        asked = self.headers.get("Range")
        first, _, last = (asked or "bytes=0-")[6:].partition("-")
        start, end = int(first), min(int(last) + 1 if last else len(body), len(body))
        if faults.no_ranges:
            asked, start, end = None, 0, len(body)
        if self.command == "GET" and faults.cut:
            stop = start + faults.cut.pop()
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            self.wfile.write(body[start : min(stop, end)])
            return self._hang_up()
        with its.turn:
            its.sent += (end - start) * (self.command == "GET")
        if not asked:
            return self._say(200, {}, body)
        return self._say(206, {"Content-Range": f"bytes {start}-{end - 1}/{len(body)}"}, body[start:end])

    def _manifest(self, repository: str, reference: str) -> None:
        its = self.its
        if self.command == "PUT":
            body = self.rfile.read(int(self.headers["Content-Length"]))
            missing = [one["digest"] for one in _named(body) if one["digest"] not in its.repositories[repository]]
            if missing:
                return self._say(404, {}, b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN"}]}')
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            for name in (reference, digest):
                its.manifests[repository, name] = (self.headers["Content-Type"], body)
            return self._say(201, {"Docker-Content-Digest": digest})
        found = its.manifests.get((repository, reference))
        return self._say(404) if found is None else self._say(200, {"Content-Type": found[0]}, found[1])

    def _at(self, status: int, repository: str, session: str) -> None:
        arrived = len(self.its.uploads[session])
        # Like distribution: a URL with a state in its query, and the range 0-0 for an empty upload.
        last = max(arrived - 1, 0)
        headers = {"Location": f"/v2/{repository}/blobs/uploads/{session}?_state=a%2Fb", "Range": f"0-{last}"}
        self._say(status, headers)

    def _refuse(self, challenge: str) -> None:
        self._drop(int(self.headers.get("Content-Length") or 0))
        self._say(401, {"WWW-Authenticate": challenge}, b'{"errors": [{"code": "UNAUTHORIZED"}]}')

    def _drop(self, length: int) -> None:
        while length > 0 and (got := self.rfile.read(min(length, 1 << 16))):
            length -= len(got)

    def _say(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def _named(body: bytes) -> list[dict[str, str]]:
    said = json.loads(body)
    return [said["config"], *said["layers"]]
