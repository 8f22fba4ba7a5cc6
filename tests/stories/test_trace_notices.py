"""What a trace reports of the app's port and of its clients: only what matters to this app, once."""

import sys
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.guard.apps import free_port
from tests.stories.test_trace import SCRIPT, traced, write_app

__all__ = ["traced"]

ONLY_AN_API = """
import http.server
class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_error(404 if self.path == "/" else 204)
http.server.HTTPServer(("127.0.0.1", {port}), Api).serve_forever()
"""
INSISTS = """
import socket
try: socket.create_connection(("www.modelscope.cn", 443), 1)
except OSError: pass
"""


@pytest.mark.slow
def test_an_app_without_a_page_is_ready_by_its_port_and_that_is_said_once(traced: Preheat) -> None:
    port = free_port()
    write_app(traced, ONLY_AN_API.format(port=port))
    told = traced("trace", "--settle", "1s", "--", *SCRIPT)
    assert told.status == 0, told.err
    said = f"tcp:{port}: taken for the ready probe, as http://127.0.0.1:{port}/ responds with 404"
    assert told.err.count(f"{said}; --ready names a better one") == 1, told.err
    assert f'ready = "tcp:{port}"' in (traced.folder / "preheat.toml").read_text()


@pytest.fixture
def uncertified(traced: Preheat, tmp_path: Path) -> Preheat:
    """The command without the package that makes certificates."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without/sitecustomize.py").write_text("import sys; sys.modules['cryptography'] = None\n")
    traced.env["PYTHONPATH"] = str(tmp_path / "without")
    return traced


def test_no_certificate_is_reported_only_if_a_client_bypasses_the_mirror_for_it(uncertified: Preheat) -> None:
    trace = ("trace", "--force", "--no-replay", "--settle", "0s", "--")
    told = uncertified(*trace, "no-such-command")
    assert told.status != 0
    assert "cryptography" not in told.err
    write_app(uncertified, "open(get('config.json')).read()\n")
    told = uncertified(*trace, *SCRIPT)
    assert told.status == 0, told.err
    assert "cryptography" not in told.err
    write_app(uncertified, INSISTS)
    told = uncertified(*trace, *SCRIPT)
    assert told.status == 0, told.err
    assert told.err.count("modelscope up to 1.37 bypasses the mirror") == 1
    assert f"{Path(sys.executable).name}" in told.err, "with the command that installs it"
