"""Built-in recipes: those that come with preheat, by name; the files are in `builtin/`."""

from importlib.resources import files
from pathlib import Path

from preheat.recipes.lock_file import Lock, understand_lock
from preheat.recipes.recipe import Recipe, understand

_SUFFIX, _LOCK = ".toml", ".lock"
_SHIPPED = files("preheat.recipes") / "builtin"


def names() -> tuple[str, ...]:
    """List the recipes' names."""
    found = (entry.name for entry in _SHIPPED.iterdir() if entry.name.endswith(_SUFFIX))
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in found))


def is_built_in(words: str) -> bool:
    """Whether `words` are the name of a recipe that comes with preheat; a path to one has a slash or a suffix."""
    return words in names()


def text_of(name: str) -> str:
    """Read a recipe as it was written."""
    return (_SHIPPED / f"{name}{_SUFFIX}").read_text(encoding="utf-8")


def built_in(name: str, folder: Path) -> Recipe:
    """Read a recipe, with `folder` for its `{dir}`; its lock lies there too."""
    return understand(folder / f"{name}{_SUFFIX}", text_of(name).encode(), folder)


def shipped_lock(name: str, folder: Path) -> Lock:
    """Read the digests that come with a recipe; a lock of nothing where none are known."""
    shipped = _SHIPPED / f"{name}{_LOCK}"
    if not shipped.is_file():
        return Lock(())
    return understand_lock(folder / f"{name}{_LOCK}", shipped.read_bytes(), folder)
