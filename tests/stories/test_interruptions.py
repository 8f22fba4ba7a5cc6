"""Ctrl-C and SIGTERM in the middle of each verb: 130 and 143, no traceback, the cursor back, nothing half made."""

import hashlib
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import authority
from tests.command import COMMAND
from tests.flaky_hub import FlakyHub
from tests.oci.bases import layer, layout
from tests.stories.caches import write
from tests.stories.terminal import CTRL_C, Screen, in_terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BIG = 1_000_000_000
RECIPE = f"""[app]
name = "small"
command = [{sys.executable!r}, "-c", "import time; print('loading', flush=True); time.sleep(600)"]
ready = "line:listening"

[[needs]]
ref = "REF"
"""
STRAY = hashlib.sha256(b"stray").hexdigest()
STOPS: dict[str, tuple[bytes | signal.Signals, int, str]] = {
    "Ctrl-C": (CTRL_C, 130, "interrupted"),
    "SIGTERM": (signal.SIGTERM, 143, "ended by SIGTERM"),
}


class World:
    """An app, a hub that is slow, and a library that has a large model already."""

    def __init__(self, folder: Path, hub: FlakyHub) -> None:
        self.folder, self.url = folder, hub.url
        self.library = folder / "library"

    def env(self, library: Path) -> dict[str, str]:
        """Return the environment of the command."""
        own = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "HF_ENDPOINT": self.url}
        return own | {"PREHEAT_LIBRARY": str(library)} | authority().environ

    def type(self, *words: str, library: Path, until: str = "", stop: bytes | signal.Signals | None = None) -> Screen:
        """Run the command in a terminal."""
        return in_terminal([str(COMMAND), *words], self.env(library), self.folder, until, stop)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("interrupted")
    write(folder / "model/config.json", b"{}")
    write(folder / "model/model.safetensors", bytes(9_000_000))
    write(folder / "big/weights.bin", b"")
    with open(folder / "big/weights.bin", "r+b") as file:
        file.truncate(BIG)
    write(folder / "preheat.toml", RECIPE.replace("REF", "acme/tiny").encode())
    write(folder / "big.toml", RECIPE.replace("REF", f"file:{folder}/big").encode())
    layout(folder / "base", [layer({"usr/bin/python3": "python3.11", "usr/bin/python3.11": b"#!"})])
    with FlakyHub({"acme/tiny": folder / "model"}, pace=400_000) as hub:
        world = World(folder, hub)
        assert world.type("pull", f"file:{folder}/big", "--unsafe-files", "allow", library=world.library).status == 0
        yield world


# Words of the command, what it draws in the middle, and whether it starts with an empty library.
VERBS = {
    "pull": ("pull acme/tiny --connections 2", "MB of 9.0 MB", True),
    "pull of a folder": ("pull file:big", "of 1.0 GB", True),
    "run --pull": ("run --pull --connections 2", "MB of 9.0 MB", True),
    "adopt": ("adopt big --as acme/big", "of 1.0 GB", True),
    "verify": ("verify", "of 1.0 GB", False),
    "view": ("view flat copied file:big --link copy", "of 1.0 GB", False),
    "build": ("build big.toml --base oci:base:base --output oci:image:new", "of 1.0 GB", False),
    "prune": ("prune --younger 0s --yes --settle 60s", "until changes by other machines appear", False),
    "prove": ("prove big.toml --observe 0s --conditions preloaded", "small: starting", False),
    "doctor": ("doctor", "measuring the download rate", True),
    "run": ("run big.toml", "loading", False),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("how", STOPS)
def test_an_interrupted_verb_ends_clean(world: World, verb: str, how: str, tmp_path: Path) -> None:
    typed, until, is_new = VERBS[verb]
    stop, status, said = STOPS[how]
    library = tmp_path / "library" if is_new else world.library
    stray = write(library / "blobs/sha256" / STRAY[:2] / STRAY, b"stray") if verb == "prune" else None
    words = typed.replace("file:big", f"file:{world.folder}/big").split()
    try:
        screen = world.type(*words, library=library, until=until, stop=stop)
        assert screen.alive, screen.text
        assert screen.status == status, screen.text
        assert screen.cursor_is_shown
        assert "Traceback" not in screen.text
        assert "Exception" not in screen.text
        if verb != "run":
            assert re.findall("preheat: (.*)", screen.text) == [said]
        require_whole(library)
        assert not (world.folder / "image/index.json").exists(), "an image without all its layers has no name"
        assert [path for path in (world.folder / "copied").rglob("*") if path.is_file()] == []
        assert not list(library.glob("claims/*")), "a claim would keep blobs from prune"
        assert not list(library.glob("proof-*"))
        assert stray is None or world.type("prune", "--yes", library=library).status == 0
    finally:
        for left in ("copied", "image"):
            shutil.rmtree(world.folder / left, ignore_errors=True)


def require_whole(library: Path) -> None:
    """Require that each blob of a library has the bytes that its name says, and that no temporary file is left."""
    for path in (library / "blobs/sha256").rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                assert hashlib.file_digest(file, "sha256").hexdigest() == path.name
    assert [path.name for path in library.glob("partial/*.new")] == []


def test_a_second_ctrl_c_prints_no_traceback(world: World, tmp_path: Path) -> None:
    words = ("adopt", "big", "--as", "acme/big")
    screen = world.type(*words, library=tmp_path / "library", until="of 1.0 GB", stop=CTRL_C * 5)
    assert screen.status in (130, -signal.SIGINT), screen.text
    assert "Traceback" not in screen.text
    assert screen.cursor_is_shown
