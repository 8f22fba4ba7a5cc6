"""Built-in recipes: the recipes in `builtin/`, by name."""

from pathlib import Path

from preheat.core.values.replace import replace
from preheat.recipes.lock_file import Lock, understand_lock
from preheat.recipes.recipe import Recipe, understand

_SUFFIX, _LOCK = ".toml", ".lock"
_SHIPPED = Path(__file__).with_name("builtin")  # not importlib.resources, whose import takes 6 ms


def names() -> tuple[str, ...]:
    """Return the names of the built-in recipes, sorted."""
    found = (entry.name for entry in _SHIPPED.iterdir() if entry.name.endswith(_SUFFIX))
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in found))


def is_built_in(words: str) -> bool:
    """Return whether `words` are the name of a built-in recipe; a path to a recipe has a slash or a suffix."""
    return words in names()


def text_of(name: str) -> str:
    """Return the TOML text of a built-in recipe."""
    return (_SHIPPED / f"{name}{_SUFFIX}").read_text(encoding="utf-8")


def form_text() -> str:
    """Return a preheat.toml with every field, and a comment on each."""
    return (_SHIPPED.parent / "form.toml").read_text(encoding="utf-8")


def built_in(name: str, folder: Path) -> Recipe:
    """Read a built-in recipe, with `folder` for its `{dir}` and its lock."""
    return replace(understand(folder / f"{name}{_SUFFIX}", text_of(name).encode(), folder), built_in=True)


def shipped_lock(name: str, folder: Path) -> Lock:
    """Return the lock that comes with a built-in recipe; an empty lock if it has none."""
    shipped = _SHIPPED / f"{name}{_LOCK}"
    if not shipped.is_file():
        return Lock(())
    return understand_lock(folder / f"{name}{_LOCK}", shipped.read_bytes(), folder)
