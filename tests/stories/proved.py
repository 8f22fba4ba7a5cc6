"""Proved: a typical app with its recipe, for the stories of prove."""

import json
import sys
from collections.abc import Callable

import pytest

from tests.command import Preheat, Told
from tests.guard.apps import free_port
from tests.stories.kept import contents

# A typical app: it downloads its weights into HF_HOME at each start, unless HF_HUB_OFFLINE is set.
APP = """
import http.client, http.server, os, pathlib, sys

PORT, FILES = int(sys.argv[1]), sys.argv[2:]

def fetched(name):
    scheme, _, host = os.environ["HF_ENDPOINT"].partition("://")
    connection = (http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection)(host)
    connection.request("GET", "/acme/tiny/resolve/main/" + name)
    home = pathlib.Path(os.environ["HF_HOME"], "hub")
    home.mkdir(parents=True, exist_ok=True)
    home.joinpath(name).write_bytes(connection.getresponse().read())
    return home / name

def preloaded(name):
    repository = pathlib.Path(os.environ["HF_HUB_CACHE"], "models--acme--tiny")
    return repository / "snapshots" / repository.joinpath("refs/main").read_text() / name

print("app", os.getpid(), flush=True)
find = preloaded if os.environ.get("HF_HUB_OFFLINE") == "1" else fetched
weights = [find(name).read_bytes() for name in FILES]

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"%d" % sum(map(len, weights)))

    def log_message(self, *words):
        pass

http.server.HTTPServer(("127.0.0.1", PORT), Page).serve_forever()
"""

FIRST = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("GET", "/")
sys.exit(connection.getresponse().read() != b"9000023")
"""

Recipe = Callable[..., int]


@pytest.fixture
def recipe(preheat: Preheat) -> Recipe:
    """Return a function that writes the app with its recipe, and returns its port."""

    def write(*files: str, ref: str = "hf:acme/tiny", app: str = APP, view: str = "", port: int | None = None) -> int:
        port = port or free_port()
        (preheat.folder / "app.py").write_text(app)
        (preheat.folder / "first.py").write_text(FIRST)
        python = [sys.executable, "-I", "-S"]
        (preheat.folder / "preheat.toml").write_text(
            "[app]\n"
            'name = "talk"\n'
            f"command = {json.dumps([*python, '{dir}/app.py', str(port), *files])}\n"
            f'ready = "http://127.0.0.1:{port}/"\n'
            f'first = "exec:{" ".join(python)} {{dir}}/first.py {port}"\n'
            f'[[needs]]\nref = "{ref}"\nfiles = ["model.safetensors", "config.json"]\n{view}'
        )
        return port

    return write


def contents_but_format(preheat: Preheat) -> dict[str, bytes]:
    """Read the files that a proof left in the library's folder, without the format file."""
    return {name: body for name, body in contents(preheat.library).items() if name != "format"}


def failed(told: Told, status: int, *words: str) -> None:
    """Return whether it ended with this status, these words and a hint, and no traceback."""
    assert told.status == status, told.out + told.err
    assert "Traceback" not in told.err
    assert "hint:" in told.err
    for word in words:
        assert word in told.err
