"""The coat around other people's HTTP clients fits the versions that are there, and tells what they were answered."""

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

REQUESTS = "import requests, sys; print(requests.get(sys.argv[1] + '/old').text)"
HTTPX = "import httpx2 as httpx, sys; print(httpx.get(sys.argv[1] + '/old', follow_redirects=True).text)"
HTTPX_ASYNC = """
import asyncio, sys, httpx2
async def ask():
    async with httpx2.AsyncClient(follow_redirects=True) as client:
        print((await client.get(sys.argv[1] + "/old")).text)
asyncio.run(ask())
"""
AIOHTTP = """
import asyncio, sys, aiohttp
async def ask():
    async with aiohttp.ClientSession() as session, session.get(sys.argv[1] + "/old") as answer:
        print(await answer.text())
asyncio.run(ask())
"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
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
        ("huggingface_hub==2.4.0", HTTPX),
        ("huggingface_hub==2.4.0", HTTPX_ASYNC),
        ("aiohttp==3.14.5", AIOHTTP),
    ],
    ids=["requests", "httpx", "httpx-async", "aiohttp"],
)
def test_each_answer_is_noted_once_redirects_too(
    requirement: str, code: str, page: str, tmp_path: Path, outsider: Outsider
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SHIM), "PREHEAT_TRACE": str(notes), **authority().environ}
    words = [str(outsider(requirement)), "-c", code, page]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "body\n", done.stderr
    lines = [json.loads(line) for path in notes.glob("*.trace") for line in path.read_text().splitlines()]
    http = [line[2:7] for line in lines if line[0] == "http"]
    assert http == [
        ["GET", f"{page}/old", 302, 0, "/new"],
        ["GET", f"{page}/new", 200, 4, ""],
    ]
