"""Containers: the image of the IndexTTS page, as podman has it, with a container that has started once."""

import os
import shutil
import subprocess
import uuid
from hashlib import sha256
from pathlib import Path

import pytest

from tests.docs.how_to.page import ENGLISH, ShownFile, steps
from tests.docs.how_to.world import World
from tests.oci.bases import layer, layout, python_layer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 4000
# Opens its weights as the app does, and must not be online.
WEBUI = b"""
import http.server, os, sys
[snapshot] = os.scandir("cache_hub/models--index-tts--v23/snapshots")
assert os.path.getsize(snapshot.path + "/gpt.pth") == 1024000 and os.environ["HF_HUB_OFFLINE"] == "1"
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("0.0.0.0", port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def indextts2_container(world: World) -> None:
    """The page's own `.env` and `start_app.sh` are those of the image."""
    podman = shutil.which("podman")
    if podman is None or subprocess.run([podman, "ps"], capture_output=True, check=False, timeout=60).returncode:
        pytest.skip("no podman that can start containers here")
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    name = f"preheat-{uuid.uuid4().hex[:8]}"
    # Options that podman needs on this machine, as set by CI.
    world.first.env |= {one: os.environ[one] for one in ("CONTAINERS_CONF",) if one in os.environ}
    world.names |= {"index-tts:v23": f"{name}:v23", "indextts:/": f"{name}-old:/", "--name tts": f"--name {name}-new"}
    world.names |= {"exec tts": f"exec {name}-new", "logs tts": f"logs {name}-new"}
    app = {
        one.name: one.text
        for one in steps((ENGLISH / "indextts2-container.md").read_text())
        if isinstance(one, ShownFile)
    }
    files = {f"root/index-tts/{path}": world.local(text).encode() for path, text in app.items()}
    files |= {"root/index-tts/webui.py": WEBUI, "root/index-tts/.venv/bin/activate": b'python() { python3 "$@"; }\n'}
    place = layout(
        world.root / "bases", [python_layer(world.root), _bash(), layer(files)], {"WorkingDir": "/root/index-tts"}
    )
    store = f"containers-storage:localhost/{name}:v23"
    world.held.callback(_remove, podman, name)
    _done("skopeo", "--insecure-policy", "copy", "--quiet", place, store)
    _done(podman, "create", "--name", f"{name}-old", f"{name}:v23", "true")
    _done(podman, "cp", str(_cache(world.root)), f"{name}-old:/root/index-tts/")


def _bash() -> bytes:
    """Make a layer with bash and its libraries, since python_layer has only sh."""
    linked = subprocess.run(["ldd", "/bin/bash"], capture_output=True, text=True, check=True).stdout.split()
    paths = ["/bin/bash", *(word for word in linked if word.startswith("/"))]
    return layer({path.lstrip("/"): Path(path).read_bytes() for path in paths})


def _cache(root: Path) -> Path:
    """Write the cache that a first start has left, in the format of huggingface_hub."""
    cache = root / "cache_hub"
    repository = cache / "models--index-tts--v23"
    blob = repository / "blobs" / sha256(WEIGHTS).hexdigest()
    snapshot = repository / "snapshots" / COMMIT
    for folder in (blob.parent, snapshot, repository / "refs"):
        folder.mkdir(parents=True)
    blob.write_bytes(WEIGHTS)
    (snapshot / "gpt.pth").symlink_to(f"../../blobs/{blob.name}")
    (repository / "refs/main").write_text(COMMIT)
    return cache


def _done(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"


def _remove(podman: str, name: str) -> None:
    for one in ("old", "new"):
        subprocess.run(
            [podman, "rm", "--force", "--ignore", "--time", "1", f"{name}-{one}"], capture_output=True, check=False
        )
    for tag in ("v23", "v23-loaded"):
        subprocess.run([podman, "rmi", "--force", "--ignore", f"{name}:{tag}"], capture_output=True, check=False)
