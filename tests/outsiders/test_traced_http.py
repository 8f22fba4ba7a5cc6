"""The coat around other people's HTTP clients fits the versions that are there, and tells what they were answered."""

import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import preheat.guard
from tests.authority import authority, secured
from tests.outsiders.conftest import Outsider

pytestmark = pytest.mark.slow

SHIM = Path(preheat.guard.__file__).parent / "shim"

REQUESTS = """
import requests, sys
print(requests.get(sys.argv[1] + "/old").text)
with requests.get(sys.argv[1] + "/chunks", stream=True) as answer:
    print(b"".join(answer.iter_content(7))[-4:].decode())
"""
URLLIB = """
import sys, urllib.request as u
print(u.urlopen(sys.argv[1] + "/old").read().decode())
u.urlretrieve(sys.argv[1] + "/chunks", "chunks")
print(open("chunks").read()[-4:])
"""
HTTPX = """
import httpx2 as httpx, sys
print(httpx.get(sys.argv[1] + "/old", follow_redirects=True).text)
with httpx.stream("GET", sys.argv[1] + "/chunks") as answer:
    print(b"".join(answer.iter_bytes(7))[-4:].decode())
"""
HTTPX_ASYNC = """
import asyncio, sys, httpx2
async def ask():
    async with httpx2.AsyncClient(follow_redirects=True) as client:
        print((await client.get(sys.argv[1] + "/old")).text)
        async with client.stream("GET", sys.argv[1] + "/chunks") as answer:
            print((b"".join([chunk async for chunk in answer.aiter_bytes(7)]))[-4:].decode())
asyncio.run(ask())
"""
AIOHTTP = """
import asyncio, sys, aiohttp
async def ask():
    async with aiohttp.ClientSession() as session, session.get(sys.argv[1] + "/old") as answer:
        print(await answer.text())
        async with session.get(sys.argv[1] + "/chunks") as answer:
            print((b"".join([chunk async for chunk in answer.content.iter_chunked(7)]))[-4:].decode())
asyncio.run(ask())
"""


CHUNKS = (b"PK\x03\x04 an archive\r\n", b"\r\n", b"ends") * 50


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for chunk in (*CHUNKS, b""):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            return
        old = self.path == "/old"
        self.send_response(302 if old else 200)
        if old:
            self.send_header("Location", "/new")
        self.send_header("Content-Length", "0" if old else "4")
        self.end_headers()
        self.wfile.write(b"" if old else b"body")

    def log_message(self, format: str, *words: object) -> None:  # noqa: A002 - its base's name
        pass


@pytest.fixture
def page() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    url = secured(server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield url
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("requirement", "code"),
    [
        ("huggingface_hub==0.36.2", REQUESTS),
        ("huggingface_hub==0.36.2", URLLIB),
        ("huggingface_hub==2.4.0", HTTPX),
        ("huggingface_hub==2.4.0", HTTPX_ASYNC),
        ("aiohttp==3.14.5", AIOHTTP),
    ],
    ids=["requests", "urllib", "httpx", "httpx-async", "aiohttp"],
)
def test_each_answer_is_noted_once_redirects_too(
    requirement: str, code: str, page: str, tmp_path: Path, outsider: Outsider
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SHIM), "PREHEAT_TRACE": str(notes), **authority().environ}
    words = [str(outsider(requirement)), "-c", code, page]
    done = subprocess.run(words, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "body\nends\n", done.stderr
    lines = [json.loads(line) for path in notes.glob("*.trace") for line in path.read_text().splitlines()]
    http = [line[2:7] for line in lines if line[0] == "http"]
    assert http == [
        ["GET", f"{page}/old", 302, 0, "/new"],
        ["GET", f"{page}/new", 200, 4, ""],
        ["GET", f"{page}/chunks", 200, None, ""],
    ]
    whole = b"".join(CHUNKS)
    bodies = [line[2:8] for line in lines if line[0] == "body"]
    assert bodies == [
        [f"{page}/new", 200, 0, 4, 4, hashlib.sha256(b"body").hexdigest()],
        [f"{page}/chunks", 200, 0, len(whole), None, hashlib.sha256(whole).hexdigest()],
    ]
    [saved] = (notes / "bodies").iterdir()
    assert saved.read_bytes() == whole
