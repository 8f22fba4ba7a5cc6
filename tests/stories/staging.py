"""Staging: a shared library with a locked app, and a stage in the folder `nvme`."""

import os
from pathlib import Path

from tests.command import Preheat, Told
from tests.stories.two_machines import NOWHERE

RECIPE = """
[app]
name = "demo"
command = ["true"]
[[needs]]
ref = "acme/tiny"
files = ["*.safetensors", "config.json"]
"""
NAMES = ("model.safetensors", "config.json")


def staged(preheat: Preheat, *words: str, what: str = "preheat.toml", **env: str) -> Told:
    return preheat("stage", what, "--to", "nvme", "--json", *words, inside=(), **env)


def away(preheat: Preheat) -> None:
    """No hub answers any more."""
    preheat.env["HF_ENDPOINT"] = NOWHERE


def size(model: Path, *names: str) -> int:
    return sum((model / name).stat().st_size for name in names or NAMES)


def age(folder: Path, seconds: float, name: str = "*") -> None:
    """Let what is staged be that old."""
    [note] = folder.glob(f"stages/{name}-*/staged.json")
    then = note.stat().st_mtime - seconds
    os.utime(note, (then, then))
