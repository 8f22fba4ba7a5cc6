"""Two machines: one whose library has a locked app, and another without a hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.command import Preheat

NOWHERE = "https://127.0.0.1:9"
# An app that finds its model in the cache of the hub's library, and in a folder of its own.
RECIPE = """
[app]
name = "demo"
command = ["python3", "{dir}/app.py"]
[[needs]]
ref = "acme/tiny"
[[needs]]
ref = "acme/tiny"
view = "flat"
at = "checkpoints"
"""


def locked(preheat: Preheat, recipe: str) -> Preheat:
    """Write a recipe, lock it, and pull its models."""
    (preheat.folder / "preheat.toml").write_text(recipe)
    assert preheat("lock").status == 0
    assert preheat("pull", "--quiet").status == 0
    return preheat


@contextmanager
def another(folder: Path, like: Preheat | None = None) -> Iterator[Preheat]:
    """Set up a machine with a folder and a library of its own, no hub, and the recipe and lock of `like`."""
    folder.mkdir()
    for name in ("preheat.toml", "preheat.lock") if like is not None else ():
        assert like is not None
        (folder / name).write_bytes((like.folder / name).read_bytes())
    machine = Preheat(folder, NOWHERE)
    yield machine
    machine.close()
