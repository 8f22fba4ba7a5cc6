"""The compose file as podman-compose and podman start it: reached from outside, restarted, shared, stopped."""

import hashlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.guard.apps import free_port, until
from tests.oci.bases import python_layer
from tests.outsiders.conftest import Outsider
from tests.outsiders.test_guard_in_containers import works

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

USER = 4321
# Listens on loopback only, and reports what it may do.
APP = """
import hashlib, http.server, json, os, subprocess, time
from pathlib import Path

def may(path):
    try: Path(path, "x").write_text("x"); return True
    except OSError: return False

def zombies():
    pids = filter(str.isdigit, os.listdir("/proc"))
    return sum(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] == "Z" for pid in pids)

def orphan():
    if os.fork() == 0:
        if os.fork() == 0: time.sleep(0.1)
        os._exit(0)
    os.wait()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/orphan": orphan()
        [snapshot] = Path(os.environ["HF_HUB_CACHE"], "models--acme--tiny/snapshots").iterdir()
        said = {
            "weights": hashlib.sha256((snapshot / "model.safetensors").read_bytes()).hexdigest(),
            "user": os.getuid(), "zombies": zombies(), "started": STARTED, "home": os.environ["HOME"],
            "writes": [name for name in ("/", "/usr", "/tmp", os.environ["HF_HUB_CACHE"], ".", "~")
                       if may(os.path.expanduser(name))],
        }
        body = json.dumps(said).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

STARTED = time.monotonic()
import sys
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
RECIPE = """
[app]
name = "web"
command = ["python3", "app.py", "PORT"]
ready = "http://127.0.0.1:PORT/"
[[needs]]
ref = "acme/tiny"
"""


class Compose:
    """Compose projects of one app."""

    def __init__(self, python: Path, app: Preheat, image: str) -> None:
        self._program = str(python.with_name("podman-compose"))
        self._app, self._image = app, image
        self._up: dict[str, Path] = {}
        self.port = free_port()

    def write(self, name: str, *words: str) -> Path:
        """Write the compose file of a project."""
        (self._app.folder / "preheat.toml").write_text(RECIPE.replace("PORT", str(self.port)))
        told = self._app("serve-config", "compose", "--image", self._image, "--json", *words)
        assert told.status == 0, told.out + told.err
        path = self._app.folder / f"{name}.yaml"
        path.write_text(told.last["text"])
        return path

    def up(self, name: str, path: Path) -> str:
        """Start a project; return the name of its container."""
        self._up[name] = path
        self.run(name, "up", "-d")
        return f"{name}_web_1"

    def run(self, name: str, *words: str) -> str:
        done = subprocess.run(
            [self._program, "-p", name, "-f", str(self._up[name]), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def down(self) -> None:
        for name in self._up:
            self.run(name, "down", "-t", "2")


def podman(*words: str) -> str:
    done = subprocess.run(["podman", *words], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout.strip()


def page(port: int, path: str = "/") -> dict[str, object]:
    """Return what the app reports at a port of this machine; nothing if it does not respond."""
    proxies = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with proxies.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            said: dict[str, object] = json.loads(answer.read())
            return said
    except (OSError, ValueError):
        return {}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image with a Python, and nothing else."""
    if not works("podman", "ps") or os.geteuid() != 0:
        pytest.skip("no podman that can start containers here")
    folder = tmp_path_factory.mktemp("image")
    (folder / "root.tar").write_bytes(python_layer(folder))
    name = f"localhost/preheat-compose-{uuid.uuid4().hex[:8]}:1"
    podman("import", str(folder / "root.tar"), name)
    yield name
    podman("rmi", "-f", name)


@pytest.fixture
def compose(outsider: Outsider, preheat: Preheat, image: str) -> Iterator[Compose]:
    python = outsider("podman-compose==1.6.0")
    (preheat.folder / "app").mkdir()
    preheat.folder = preheat.folder / "app"
    (preheat.folder / "app.py").write_text(APP)
    assert preheat("pull", "acme/tiny", "--quiet").status == 0
    shutil.chown(preheat.folder, USER, USER)
    compose = Compose(python, preheat, image)
    yield compose
    compose.down()


def test_the_page_is_reached_from_outside_as_a_user_who_cannot_change_the_library(
    compose: Compose, model: Path
) -> None:
    name = f"preheat-{uuid.uuid4().hex[:8]}"
    container = compose.up(name, compose.write(name))
    assert until(lambda: page(compose.port), 60), podman("logs", container)
    said = page(compose.port)
    assert said["weights"] == hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert (said["user"], said["home"]) == (USER, "/tmp")
    assert said["writes"] == ["/tmp", ".", "~"]
    assert podman("inspect", "-f", "{{.HostConfig.ReadonlyRootfs}}", container) == "true"
    assert until(lambda: works("podman", "healthcheck", "run", container), 60)
    for _ in range(5):
        page(compose.port, "/orphan")
    assert until(lambda: page(compose.port)["zombies"] == 0)
    began = time.monotonic()
    podman("stop", "-t", "15", container)
    assert time.monotonic() - began < 10
    assert podman("inspect", "-f", "{{.State.ExitCode}}", container) == "143"
    podman("start", container)
    assert until(lambda: page(compose.port).get("started", said["started"]) != said["started"], 60)


def test_two_containers_share_one_library_and_the_address_is_the_chosen_one(compose: Compose) -> None:
    ports = (free_port(), free_port())
    names = [f"preheat-{uuid.uuid4().hex[:8]}" for _ in ports]
    containers = [
        compose.up(name, compose.write(name, "--front", f"127.0.0.1:{port}"))
        for name, port in zip(names, ports, strict=True)
    ]
    for port, container in zip(ports, containers, strict=True):
        assert until(lambda port=port: page(port), 60), podman("logs", container)  # type: ignore[misc]
        assert podman("port", container).endswith(f"127.0.0.1:{port}")


def test_without_a_network_it_starts_and_starts_again(compose: Compose, image: str) -> None:
    name = f"preheat-{uuid.uuid4().hex[:8]}"
    path = compose.write(name)
    path.write_text(path.read_text() + "networks:\n  default:\n    internal: true\n")
    container = compose.up(name, path)
    ask = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"

    def answers() -> bool:
        # The machine itself has no address on an internal network: another container asks.
        address = podman("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)
        outside = ("run", "--rm", "--network", f"{name}_default", image, "python3", "-c", ask)
        return works("podman", *outside, f"http://{address}:{compose.port}/")

    for _ in range(2):
        assert until(answers, 60), podman("logs", container)
        podman("restart", "-t", "15", container)
