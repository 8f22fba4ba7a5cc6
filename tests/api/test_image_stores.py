"""Image stores: whether a registry on this machine is asked over TLS."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from preheat import api
from preheat.core.errors import PreheatError
from preheat.oci.model.image_name import read_place


class BusyRegistry(ThreadingHTTPServer):
    """A registry without TLS that drops its first connection; `asked` has the paths of later requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.dropped = 0
        self.asked: list[str] = []

    def verify_request(self, request: object, client_address: object) -> bool:
        self.dropped += 1
        return self.dropped > 1


class Answer(BaseHTTPRequestHandler):
    """It has no image."""

    def do_GET(self) -> None:
        assert isinstance(self.server, BusyRegistry)
        self.server.asked.append(self.path)
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None: ...


@contextmanager
def busy() -> Iterator[BusyRegistry]:
    with BusyRegistry() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_registry_without_tls_that_drops_a_connection_is_not_asked_over_tls(tmp_path: Path) -> None:
    session = api.Session(api.Settings(library=tmp_path / "library"))
    with busy() as server:
        source = session.image_stores.source(read_place(f"docker://127.0.0.1:{server.server_port}/me/app:1"))
        assert source is not None
        with pytest.raises(PreheatError, match="me/app"):
            source.document(None)
        assert server.asked == ["/v2/me/app/manifests/1"]
