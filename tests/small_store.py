"""A small object store: the part of the S3 API that all share, on a port of this machine, with faults on demand.

It checks the access key, not the signature: tests/outsiders/ has real servers.
"""

import hashlib
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from tests.authority import secured

KEY, SECRET = "AKIATESTONLY", "very-secret-key-of-the-store"


@dataclass
class StoreFaults:
    """What the store does wrong; the counts decrease."""

    public: bool = False  # reads need no key
    expired: bool = False
    skewed: bool = False  # the client's clock is wrong
    unsigned_only: bool = False  # signed addresses are refused
    no_ranges: bool = False
    no_conditions: str = ""  # "ignored", or "refused" with 501
    false_tags: bool = False  # an ETag is another one each time
    lie: str = ""  # keys that match have other bytes
    short: str = ""  # keys that match lose their last bytes
    busy: int = 0  # 503 for this many requests
    cut: list[int] = field(default_factory=list)  # end a response after this many bytes
    broken_parts: int = 0  # 500 for this many parts of uploads
    hold: threading.Event | None = None  # the parts of uploads wait for it


def client_environ(url: str, key: str, secret: str) -> dict[str, str]:
    """Return the variables of an S3 client with a login."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


class SmallStore:
    """One bucket, `models`: its objects, and its requests as `METHOD key`."""

    def __init__(self, faults: StoreFaults) -> None:
        self.faults = faults
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.asked: list[str] = []
        self.signed = 0  # requests with a signature in the address
        self.sent = 0  # bytes of blobs
        self.turn = threading.Lock()
        self.url = ""

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a client with a login."""
        return client_environ(self.url, KEY, SECRET)

    def keys(self, pattern: str = "") -> list[str]:
        """Return the keys that match."""
        with self.turn:
            return sorted(key for key in self.objects if re.search(pattern, key))


@contextmanager
def store_serving(faults: StoreFaults | None = None, *, tls: bool = True) -> Iterator[SmallStore]:
    """Serve a store, over TLS as real ones do, or over HTTP."""
    store = SmallStore(faults or StoreFaults())

    class Handler(_Handler):
        its = store

    server = _Server(("127.0.0.1", 0), Handler)
    store.url = secured(server) if tls else f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that were killed."""


class _Handler(BaseHTTPRequestHandler):
    its: SmallStore
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *words: object) -> None:
        """Print nothing."""

    def handle_one_request(self) -> None:
        """Handle a request of any method."""
        try:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            length = int(self.headers.get("Content-Length") or 0)
            self._body = self.rfile.read(length)
            self._respond()
            self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _respond(self) -> None:
        store, faults = self.its, self.its.faults
        parts = urlsplit(self.path)
        words = parse_qs(parts.query, keep_blank_values=True)
        bucket, _, key = unquote(parts.path).removeprefix("/").partition("/")
        with store.turn:
            store.asked.append(f"{self.command} {key}")
            store.signed += "X-Amz-Signature" in words
            busy, faults.busy = faults.busy > 0, max(faults.busy - 1, 0)
        if busy:
            return self._fail(503, "SlowDown")
        if bucket != "models":
            return self._fail(404, "NoSuchBucket")
        if why := self._denied(words):
            return self._fail(*why)
        if self.command == "GET" and "list-type" in words:
            return self._list(words["prefix"][0])
        match self.command, "".join(words.keys() & {"uploads", "uploadId"}):
            case (("GET" | "HEAD"), _):
                return self._get(key)
            case "PUT", "uploadId":
                return self._put_part(words)
            case "PUT", _:
                return self._put(key)
            case "POST", "uploads":
                return self._begin(key)
            case "POST", "uploadId":
                return self._complete(key, words["uploadId"][0])
            case "DELETE", "uploadId":
                store.uploads.pop(words["uploadId"][0], None)
                return self._say(204, b"")
            case _:
                return self._fail(405, "MethodNotAllowed")

    def _denied(self, words: dict[str, list[str]]) -> tuple[int, str] | None:
        faults, head = self.its.faults, self.headers.get("Authorization", "")
        signed = words.get("X-Amz-Credential", [""])[0]
        key = signed.partition("/")[0] if signed else (re.findall(r"Credential=([^/]*)/", head) or [""])[0]
        if not key:
            return None if faults.public and self.command in ("GET", "HEAD") else (403, "AccessDenied")
        if faults.expired:
            return 400, "ExpiredToken"
        if faults.skewed:
            return 403, "RequestTimeTooSkewed"
        if signed and faults.unsigned_only:
            return 400, "AuthorizationQueryParametersError"
        return None if key == KEY else (403, "InvalidAccessKeyId")

    def _get(self, key: str) -> None:
        store, faults = self.its, self.its.faults
        with store.turn:
            body = store.objects.get(key)
        if body is None:
            return self._fail(404, "NoSuchKey")
        if faults.lie and re.search(faults.lie, key):
            body = bytes(reversed(body))
        if faults.short and re.search(faults.short, key):
            body = body[:-10]
        headers = {"ETag": self._tag(body), "Last-Modified": "Mon, 01 Jun 2026 12:00:00 GMT"}
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        status = 200
        if found and not faults.no_ranges:
            start, stop = int(found[1]), min(int(found[2]) + 1, len(body))
            if start >= len(body):
                return self._fail(416, "InvalidRange")
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
            body, status = body[start:stop], 206
        with store.turn:
            cut = faults.cut.pop(0) if key.startswith(("blobs/", "team/blobs/")) and faults.cut else None
        self._say(status, body, headers, cut, counted="blobs/" in key)
        return None

    def _list(self, prefix: str) -> None:
        with self.its.turn:
            found = [(key, len(body)) for key, body in sorted(self.its.objects.items()) if key.startswith(prefix)]
        dated = "<LastModified>2026-06-01T12:00:00.000Z</LastModified><ETag>x</ETag>"
        keys = "".join(f"<Contents><Key>{key}</Key><Size>{size}</Size>{dated}</Contents>" for key, size in found)
        text = f"<Name>models</Name><Prefix>{prefix}</Prefix><KeyCount>{len(found)}</KeyCount>{keys}"
        self._say(200, f"<ListBucketResult>{text}<IsTruncated>false</IsTruncated></ListBucketResult>".encode())

    def _put(self, key: str) -> None:
        store, faults = self.its, self.its.faults
        none, match = self.headers.get("If-None-Match"), self.headers.get("If-Match")
        if (none or match) and faults.no_conditions == "refused":
            return self._fail(501, "NotImplemented")
        with store.turn:
            there = store.objects.get(key)
            if not faults.no_conditions and (
                (none == "*" and there is not None) or (match and (there is None or match != self._tag(there)))
            ):
                failed = True
            else:
                failed = False
                store.objects[key] = self._body
        return self._fail(412, "PreconditionFailed") if failed else self._say(200, b"", {"ETag": self._tag(self._body)})

    def _begin(self, key: str) -> None:
        name = secrets.token_hex(8)
        with self.its.turn:
            self.its.uploads[name] = {}
        text = f"<Bucket>models</Bucket><Key>{key}</Key><UploadId>{name}</UploadId>"
        self._say(200, f"<InitiateMultipartUploadResult>{text}</InitiateMultipartUploadResult>".encode())

    def _put_part(self, words: dict[str, list[str]]) -> None:
        faults = self.its.faults
        if faults.hold is not None:
            faults.hold.wait(30)
        with self.its.turn:
            broken, faults.broken_parts = faults.broken_parts > 0, max(faults.broken_parts - 1, 0)
            parts = self.its.uploads.get(words["uploadId"][0])
            if parts is not None and not broken:
                parts[int(words["partNumber"][0])] = self._body
        if broken:
            return self._fail(500, "InternalError")
        if parts is None:
            return self._fail(404, "NoSuchUpload")
        return self._say(200, b"", {"ETag": self._tag(self._body)})

    def _complete(self, key: str, name: str) -> None:
        with self.its.turn:
            parts = self.its.uploads.pop(name, None)
            if parts is not None:
                self.its.objects[key] = b"".join(parts[number] for number in sorted(parts))
        if parts is None:
            return self._fail(404, "NoSuchUpload")
        text = f"<Bucket>models</Bucket><Key>{key}</Key><ETag>x</ETag>"
        self._say(200, f"<CompleteMultipartUploadResult>{text}</CompleteMultipartUploadResult>".encode())
        return None

    def _tag(self, body: bytes) -> str:
        return f'"{secrets.token_hex(8) if self.its.faults.false_tags else hashlib.md5(body).hexdigest()}"'

    def _fail(self, status: int, code: str) -> None:
        # Real stores repeat the key, and what was signed.
        text = f"<Code>{code}</Code><Message>no</Message><AWSAccessKeyId>{KEY}</AWSAccessKeyId>"
        self._say(status, f'<?xml version="1.0"?><Error>{text}</Error>'.encode())

    def _say(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        cut: int | None = None,
        *,
        counted: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            whole = memoryview(body if cut is None else body[:cut])
            for at in range(0, len(whole), 64 << 10):
                self.wfile.write(whole[at : at + (64 << 10)])
                with self.its.turn:
                    self.its.sent += len(whole[at : at + (64 << 10)]) if counted else 0
        if cut is not None:
            self.close_connection = True
