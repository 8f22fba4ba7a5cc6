"""Ports of containers: podman starts an image at the port of its recipe, or at the one chosen for the build."""

import json
import os
import subprocess
import urllib.request
import uuid
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.guard.apps import free_port, until
from tests.oci.bases import layer, layout, python_layer
from tests.outsiders.test_guard_in_containers import podman, works

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Listens on loopback only, at the port that it is given.
APP = b"""
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "5"); self.end_headers()
        self.wfile.write(b"hello")
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
TAKES = """
[app]
name = "talk"
port = 8188
command = ["/usr/bin/python3", "{dir}/app.py", "{port}"]
ready = "http://127.0.0.1:8188/"
"""
# Without {port}, and with a probe that names no port.
FIXED = TAKES.replace('"{port}"', '"8188"').replace("http://127.0.0.1:8188/", "exec:/usr/bin/python3 {dir}/ask.py")
ASK = b"import urllib.request; urllib.request.urlopen('http://127.0.0.1:8188/')"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    layers = [python_layer(folder), layer({"app": None, "app/app.py": APP, "app/ask.py": ASK})]
    return layout(folder / "layout", layers, {"WorkingDir": "/app", "User": "4321:4321"}, packed=True)


def answers(port: int) -> bool:
    """Return whether the app responds at a port of this machine."""
    try:
        return bool(_opened(f"http://127.0.0.1:{port}/") == b"hello")
    except OSError:
        return False


def _opened(url: str) -> bytes:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as page:
        body: bytes = page.read()
        return body


@pytest.mark.parametrize(
    ("recipe", "words", "port"), [(TAKES, (), 8188), (TAKES, ("--port", "9005"), 9005), (FIXED, (), 8188)]
)
def test_an_image_serves_at_its_port_through_the_engine(
    preheat: Preheat, base: str, recipe: str, words: tuple[str, ...], port: int
) -> None:
    with podman() as command:
        preheat.env.update({name: os.environ[name] for name in ("CONTAINERS_CONF",) if name in os.environ})
        (preheat.folder / "preheat.toml").write_text(recipe)
        name, public = f"preheat-{uuid.uuid4().hex[:8]}", free_port()
        told = preheat("build", "--base", base, "--output", f"containers-storage:{name}:1", "--json", *words)
        assert told.status == 0, told.out + told.err

        def run(*given: str) -> str:
            done = subprocess.run([*command, *given], capture_output=True, text=True, check=False, timeout=120)
            assert done.returncode == 0, done.stderr
            return done.stdout

        try:
            [image] = json.loads(run("image", "inspect", f"{name}:1"))
            assert list(image["Config"]["ExposedPorts"]) == [f"{port}/tcp"]
            run("run", "--detach", "--name", name, "--publish", f"127.0.0.1:{public}:{port}", f"{name}:1")
            assert until(lambda: answers(public), 60), run("logs", name)
            assert until(lambda: works(*command, "healthcheck", "run", name), 60)
        finally:
            subprocess.run([*command, "rm", "--force", "--time", "2", name], check=False, capture_output=True)
            subprocess.run([*command, "rmi", "--force", f"{name}:1"], check=False, capture_output=True)


def test_a_dockerfile_exposes_the_port_of_the_recipe(preheat: Preheat, base: str) -> None:
    (preheat.folder / "preheat.toml").write_text(TAKES)
    told = preheat("build", "--base", base, "--dockerfile", "context")
    assert told.status == 0, told.err
    text = Path(preheat.folder, "context/Dockerfile").read_text()
    assert "\nEXPOSE 8188\n" in text
    assert '"--front", "0.0.0.0:8188"' in text
