"""A hub whose list of files never ends is given up, before it takes memory or time without end."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from preheat.errors import HubError
from preheat.hubs.huggingface import MOST_FILES, MOST_PAGES, HuggingFace
from preheat.ref import Ref
from preheat.transport.transport import Transport, Wires


class _Endless(BaseHTTPRequestHandler):
    """Answers each page with some files and the address of one more."""

    protocol_version = "HTTP/1.1"
    files, pages = 0, 0

    def do_GET(self) -> None:
        body: object = {"sha": "a" * 40, "siblings": [{"rfilename": "a"}]}
        link = ""
        if "/tree/" in self.path:
            number = type(self).pages = type(self).pages + 1
            one = {"type": "file", "oid": "b" * 40, "size": 1}
            body = [one | {"path": f"{number}/{index}"} for index in range(self.files)]
            link = f'<{self.path.partition("&cursor")[0]}&cursor={number}>; rel="next"'
        said = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.send_header("Link", link)
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def endless() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("files", [0, pytest.param(50_000, marks=pytest.mark.slow)])
def test_a_list_without_end_is_given_up(endless: str, files: int) -> None:
    _Endless.files, _Endless.pages = files, 0
    with pytest.raises(HubError, match="without end"):
        HuggingFace(endless, Transport(Wires(connections=1))).resolve(Ref.parse("acme/tiny"))
    assert _Endless.pages <= min(MOST_PAGES, MOST_FILES // files + 2 if files else MOST_PAGES)
