"""The real modelscope asks its hub at each start: such an app is proved from the library."""

import json
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.guard.apps import free_port
from tests.outsiders.conftest import Outsider

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

APP = """
import http.server, os, sys
from modelscope import snapshot_download
folder = snapshot_download("acme/tiny")
size = sum(os.path.getsize(os.path.join(folder, name)) for name in ("model.safetensors", "config.json"))

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"%d" % size)

    def log_message(self, *words):
        pass

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


@pytest.mark.parametrize("version", ["1.27.0", "1.40.2"])
def test_an_app_with_a_real_modelscope_is_proved_from_the_library(
    outsider: Outsider, preheat: Preheat, hub: FlakyHub, tmp_path: Path, version: str
) -> None:
    python, port = outsider(f"modelscope=={version}"), free_port()
    (tmp_path / "app.py").write_text(APP)
    address = hub.url.partition("://")[2].replace("127.0.0.1", "localhost")
    (tmp_path / "preheat.toml").write_text(
        f'[app]\nname = "asks"\ncommand = {json.dumps([str(python), "app.py", str(port)])}\n'
        f'ready = "http://127.0.0.1:{port}/"\nhub = true\n'
        '[[needs]]\nref = "ms:acme/tiny"\nview = "modelscope"\n'
    )
    preheat.env |= {"MODELSCOPE_ENDPOINT": hub.url, "MODELSCOPE_DOMAIN": address}
    running = preheat.start("prove", "--conditions", "preloaded", "--observe=0s", "--json")
    told = running.ended(within_s=500)
    assert told.status == 0, told.out + told.err
    assert told.last["preloaded"]["outbound"] in (0, None)
    agents = {request.headers.get("user-agent", "").lower() for request in hub.asked()}
    assert not [agent for agent in agents if "modelscope" in agent], "the app asked its own library"
