"""Photograph: the mirror's page at work, for docs/mirror.md: docs/pictures/mirror-page.png. Needs chromium.

    .venv/bin/python -m docs.photograph

The mirror is real, and so is what it does; its hub is the benchmarks' stand-in, its models random bytes under the names
of known ones.
"""

import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.hub.repo import read_repo
from benchmarks.hub.serving import Hub, Manner
from tests.outsiders.browser import chromium

HERE = Path(__file__).resolve().parent
PICTURE = HERE / "pictures" / "mirror-page.png"
PREHEAT = Path(sys.executable).with_name("preheat")
# Name, bytes of its weights; the last is being fetched when the picture is taken.
MODELS = (
    ("openai/whisper-tiny.en", 151_000_000),
    ("rhasspy/piper-voices", 63_000_000),
    ("Systran/faster-whisper-base", 145_000_000),
    ("IndexTeam/IndexTTS-2", 480_000_000),
)
WIDTH, HEIGHT = 900, 880


def main() -> None:
    """Take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        repos = {name: read_repo(name, _model(work / name, size)) for name, size in MODELS}
        with Hub(repos, Manner(rate=80_000_000)) as hub:
            _photograph(work, hub.url)


def _photograph(work: Path, hub: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    library = ("--library", str(work / "library"))
    words = [PREHEAT, "mirror", "-q", *library, "--listen", f"127.0.0.1:{port}", "--upstream", f"hf={hub}"]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([*words, "--size-cap", "200G"]) as mirror:
        try:
            _until(url, lambda told: bool(told))
            for name, _ in MODELS[:-1]:
                _read(url, name, times=5)
            subprocess.run([PREHEAT, "pin", "-q", *library, MODELS[0][0]], check=True)
            readers = [threading.Thread(target=_read, args=(url, MODELS[-1][0], 1), daemon=True) for _ in range(3)]
            for reader in readers:
                reader.start()
            _until(url, lambda told: any(one["done"] > 0.3 * one["size"] for one in told["fetches"]))
            _take(url)
            for reader in readers:
                reader.join()
        finally:
            mirror.terminate()


def _take(url: str) -> None:
    with chromium("127.0.0.1") as page:
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1.5, "mobile": False}
        page.tell("Emulation.setDeviceMetricsOverride", **size)
        page.open(url)
        page.until("document.querySelector('progress') !== null")
        # As a machine in a room would show it, and not as the one the picture was taken on.
        page.run(
            "document.querySelectorAll('pre').forEach(one => "
            f"one.textContent = one.textContent.replaceAll('{url.removeprefix('http://')}', 'mirror.lan:8000'))"
        )
        taken = page.tell("Page.captureScreenshot", format="png")
    PICTURE.write_bytes(base64.b64decode(taken["data"]))


def _model(folder: Path, size: int) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}\n")
    with open(folder / "model.safetensors", "wb") as file:
        for at in range(0, size, 1 << 23):
            file.write(os.urandom(min(1 << 23, size - at)))
    return folder


def _read(url: str, name: str, times: int) -> None:
    for _ in range(times):
        for path in ("config.json", "model.safetensors"):
            with urllib.request.urlopen(f"{url}/{name}/resolve/main/{path}") as answer:
                while answer.read(1 << 20):
                    pass


def _until(url: str, happens: Callable[[dict[str, Any]], bool]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{url}/status.json") as answer:
                if happens(json.load(answer)):
                    return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)


if __name__ == "__main__":
    main()
