"""Hostile: responses that no hub should send, and a server that sends them over TLS."""

import contextlib
import gzip
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from preheat.mirror.http.messages import Answer, Request
from tests.authority import authority
from tests.flaky_hub import Fault, refuses

MANY = "9" * 5000


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Respond to every request with the same bytes, over TLS."""
    listening = socket.create_server(("127.0.0.1", 0))
    context = authority().context

    def serve(client: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError), context.wrap_socket(client, server_side=True) as line:
            line.settimeout(10)
            line.recv(65536)
            line.sendall(answer)

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def redirect(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def document(body: bytes, *fields: str) -> bytes:
    head = "".join(f"{field}\r\n" for field in (*fields, "Content-Type: application/json", "Connection: close"))
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


def listing(path: str = "model.safetensors", size: object = 5, sha: str = "0" * 64) -> bytes:
    lfs = {"sha256": sha, "size": size, "pointerSize": 1}
    files = [{"rfilename": path, "size": size, "blobId": "0" * 40, "lfs": lfs}]
    return document(json.dumps({"sha": "1" * 40, "siblings": files}).encode())


HOSTILE = {
    "a redirect to an invalid port": redirect("https://hub.example:99999/"),
    "a redirect to a port of 5000 digits": redirect(f"https://hub.example:{MANY}/"),
    "a redirect to a truncated address": redirect("https://[::1/"),
    "a redirect to no host": redirect("https:///x"),
    "a redirect to another scheme": redirect("ftp://hub.example/"),
    "a redirect to a host of 300 characters": redirect(f"https://{'a' * 300}.example/"),
    "a redirect to raw bytes": b"HTTP/1.1 302 No\r\nLocation: https://\xff\xfe..\xc3/\r\nContent-Length: 0\r\n\r\n",
    "a redirect to itself": redirect("/x"),
    "a status of 5000 digits": f"HTTP/1.1 {MANY} OK\r\n\r\n".encode(),
    "a length of 5000 digits": f"HTTP/1.1 200 OK\r\nContent-Length: {MANY}\r\n\r\n{{}}".encode(),
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a chunk size of 5000 digits": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{MANY}\r\n{{}}".encode(),
    "an invalid chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    "a response falsely marked as gzip": document(b"{}", "Content-Encoding: gzip"),
    "a Retry-After of 5000 digits": f"HTTP/1.1 429 No\r\nRetry-After: {MANY}\r\nContent-Length: 0\r\n\r\n".encode(),
    "an invalid date": b"HTTP/1.1 503 No\r\nRetry-After: Fri, 99 Foo 99999 99:99:99\r\nContent-Length: 0\r\n\r\n",
    "an endless header": b"HTTP/1.1 200 OK\r\nA: " + b"a" * 200_000,
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"A: a\r\n" * 500 + b"\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "no JSON": document(b"<html>"),
    "JSON in JSON in JSON": document(b"[" * 100_000),
    "invalid UTF-8": document(b'{"sha": "\xff\xfe"}'),
    "a number of 5000 digits": document(f'{{"sha": "{"1" * 40}", "siblings": [{{"size": {MANY}}}]}}'.encode()),
    "a path outside the folder": listing("../../x"),
    "a path with half of a surrogate pair": document(listing().partition(b"\r\n\r\n")[2].replace(b"model", b"\\ud800")),
    "a negative file size": listing(size=-1),
    "an impossible file size": listing(size=1 << 80),
    "an invalid digest": listing(sha="zz"),
    "access denied": b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
    "a redirect to a socket": redirect("http+unix://%2Fvar%2Frun%2Fdocker.sock/x"),
    "a redirect of 60,000 characters": redirect("/" + "a" * 60_000),
    "a gzip bomb": document(gzip.compress(bytes(16 << 20)), "Content-Encoding: gzip"),
    "a hundred encodings": document(b"{}", f"Content-Encoding: {','.join(['gzip'] * 100)}"),
    "an unknown encoding": document(b"{}", "Content-Encoding: br"),
    "an unknown charset": document(b"\xff\xfe{}", "Content-Type: application/json; charset=utf-99"),
    "a header with NUL": b"HTTP/1.1 200 OK\r\nA\0: b\0\r\n\r\n",
    "lines that end with LF": b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
    "another version of HTTP": b"HTTP/9.9 200 OK\r\n\r\n",
    "an invalid status": b"HTTP/1.1 abc X\r\n\r\n",
    "only interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "a link to a file": document(b'{"sha": "' + b"1" * 40 + b'"}', 'Link: <file:///etc/passwd>; rel="next"'),
    "a link to nowhere": document(b'{"sha": "' + b"1" * 40 + b'"}', 'Link: <https://[::1>; rel="next"'),
}


def with_headers(status: int = 0, **headers: str) -> Fault:
    """Respond with other headers: `Content_Range="…"`."""

    def fault(request: Request, full: Answer) -> Answer:
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(full, status=status or full.status, headers={**full.headers, **said})

    return fault


FAULTS = {
    "a range of 5000 digits": with_headers(Content_Range=f"bytes 0-{MANY}/{MANY}"),
    "an invalid range": with_headers(Content_Range="bytes x-y/z"),
    "a range of other units": with_headers(Content_Range="lines 0-1/2"),
    "a range in Arabic digits": with_headers(Content_Range="bytes \u0660-\u0661/\u0662"),
    "a redirect to an invalid port": with_headers(302, Location="https://hub.example:99999/", Content_Length="0"),
    "a redirect to a truncated address": with_headers(302, Location="https://[::1/", Content_Length="0"),
    "an unknown status": refuses(599),
    "a denial": refuses(403),
    "a redirect to a closed port": with_headers(302, Location="https://127.0.0.1:1/", Content_Length="0"),
}
