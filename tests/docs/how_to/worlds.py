"""Worlds: what the reader of each page has already."""

import os
import shutil
import subprocess
from collections.abc import Callable

from preheat.guard.net.network_namespace import why_not
from tests.authority import authority
from tests.docs.how_to.containers import indextts2_container
from tests.docs.how_to.world import World
from tests.guard.memory_snapshot.frozen import CRIU
from tests.small_proxy import SmallProxy, proxying
from tests.stories.desk import comfyui as install_comfyui
from tests.stories.desk import fooocus, safetensors, write
from tests.stories.test_app_views import CHECKPOINT

# Reads the file after -m, if there is one, and serves a page at the port after --port.
SERVER = """#!/usr/bin/env python3
import http.server, sys
words = sys.argv[1:]
if "-m" in words: open(words[words.index("-m") + 1], "rb").read()
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
http.server.ThreadingHTTPServer(("127.0.0.1", int(words[words.index("--port") + 1])), Page).serve_forever()
"""
TRANSCRIBE = """
import os, pathlib
assert os.environ["HF_HUB_OFFLINE"] == "1"
[model] = pathlib.Path(os.environ["HF_HUB_CACHE"]).glob("models--Systran*/snapshots/*/model.bin")
print(len(model.read_bytes()))
"""


def whisper(world: World) -> None:
    folder = world.app("", "Systran/faster-whisper-large-v3", "model.bin")
    (folder / "transcribe.py").write_text(TRANSCRIBE)
    # The default is to watch the app for another 5 s.
    world.names["preheat trace"] = "preheat trace --settle 1s"


def comfyui(world: World) -> None:
    install_comfyui(world.first.home)
    world.first.cwd = world.first.home / "ComfyUI"
    (world.first.cwd / "main.py").write_text(SERVER)


def llm_server(world: World) -> None:
    world.first.cwd = world.first.home / "llm"
    for program in ("bin/llama-server", "llm/vllm/.venv/bin/vllm"):
        world.first.write(program, SERVER)


def proxy(world: World) -> None:
    world.app()
    through = world.held.enter_context(proxying())
    world.names["proxy.example:3128"] = through.url.removeprefix("http://")
    world.names["/etc/ssl/certs/corp-ca.pem"] = str(authority().ca_file)
    world.names["https://hub.corp.example"] = world.hub
    world.registry()
    # The company's image with the weights.
    world.first.type("preheat pull")
    world.first.type(world.local("preheat build --base scratch --output docker://registry.corp.example/weights:1"))
    shutil.rmtree(world.first.library)
    world.held.callback(lambda: _asked(through))


def _asked(through: SmallProxy) -> None:
    assert through.asked, "the pulls did not use the proxy"


def team_mirror(world: World) -> None:
    world.names["0.0.0.0:8000"] = "127.0.0.1:8000"
    world.names["mirror.lan"] = "127.0.0.1"
    world.another("On each other machine")
    if shutil.which("curl") is None:
        world.missing["curl"] = "not installed"


def air_gap(world: World) -> None:
    world.app()
    disk = world.root / "usb"
    disk.mkdir()
    world.names["/media/usb"] = str(disk)
    world.first.type("preheat lock")
    world.another("On the machine without a network")
    if why_not():
        world.missing["--network none"] = why_not()


def kubernetes(world: World) -> None:
    world.app()
    world.registry("webui:1", "python:3.12-slim", "busybox:stable")


def one_model_folder(world: World) -> None:
    home = world.first.home
    folders = (install_comfyui(home) / "checkpoints", fooocus(home) / "checkpoints", home / "more-models")
    for folder in folders:
        write(folder / "dream.safetensors", safetensors(*CHECKPOINT))
    world.first.type("preheat pull me/styles")


def fast_restarts(world: World) -> None:
    world.app()
    world.first.type("preheat pull")
    if CRIU and os.geteuid() == 0:
        world.first.env["PREHEAT_CRIU"] = CRIU
    else:
        world.missing |= dict.fromkeys(("--memory-snapshot", "memory:"), "needs root and CRIU 4")


def ci(world: World) -> None:
    folder = world.app()
    (folder / "test_talk.py").write_text("import unittest\nclass T(unittest.TestCase):\n  def test_it(self): pass\n")
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    # Each offline start is observed for another 30 s by default.
    world.names["preheat prove"] = "preheat prove --observe 0s"
    world.registry("webui:1")


WORLDS: dict[str, Callable[[World], None]] = {
    "air-gap": air_gap,
    "ci": ci,
    "comfyui": comfyui,
    "fast-restarts": fast_restarts,
    "indextts2-container": indextts2_container,
    "kubernetes": kubernetes,
    "llm-server": llm_server,
    "one-model-folder": one_model_folder,
    "proxy": proxy,
    "team-mirror": team_mirror,
    "whisper": whisper,
}
