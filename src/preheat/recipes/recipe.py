"""Recipe: what an app needs, where it looks for it, how it starts."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from preheat.errors import UsageError
from preheat.ref import Ref

FILE_NAME = "preheat.toml"


@dataclass(frozen=True, slots=True)
class Need:
    """A model that an app loads: which of its files, and in which layout it looks for them.

    `same` names repositories that hold the same bytes elsewhere; digests decide. `to` gives files and folders other
    names in the view.
    """

    ref: Ref
    files: tuple[str, ...] = ()
    view: str = "hf-cache"
    at: str = ""
    same: tuple[Ref, ...] = ()
    to: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """An app: `command` starts it, `ready` probes it, `first` is its first real use, `folder` is its `{dir}`."""

    name: str
    folder: Path
    command: tuple[str, ...] = ()
    ready: str = ""
    first: str = ""
    env: dict[str, str] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()


class _App(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    command: list[str] = []
    ready: str = ""
    first: str = ""
    env: dict[str, str] = {}


class _Need(msgspec.Struct, forbid_unknown_fields=True):
    ref: str
    same: list[str] = []
    files: list[str] = []
    view: str = "hf-cache"
    at: str = ""
    to: dict[str, str] = {}


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    app: _App
    needs: list[_Need] = []


def names_recipe(words: str) -> bool:
    """Whether `words` name a recipe, and not a model: a TOML file, there or not, or a folder with a preheat.toml."""
    try:
        return words.endswith(".toml") or Path(words, FILE_NAME).is_file()
    except OSError:
        return False  # no path could be like that


def read_recipe(path: Path) -> Recipe:
    """Read a preheat.toml, with `{dir}` made its folder. Raise UsageError that names the file and the mistake."""
    try:
        path = path / FILE_NAME if path.is_dir() else path
        body = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"there is no recipe at {path}", hint="name a preheat.toml, or say what to start: preheat run -- CMD"
        ) from error
    try:
        document = msgspec.toml.decode(body, type=_Document)
        folder = path.absolute().parent
        needs = tuple(_need(need) for need in document.needs)
    except (msgspec.DecodeError, UnicodeDecodeError, UsageError) as error:
        raise UsageError(f"{path}: {error}", hint="its form is in docs/recipes.md") from error
    app = document.app
    if unfit := _unfit(app):
        raise UsageError(f"{path}: {unfit!r} cannot be given to a program", hint="no NUL; no = in a variable's name")
    if not app.name or "/" in app.name or app.name.startswith("."):
        raise UsageError(f"{path}: {app.name!r} is not an app's name", hint="letters, digits and dashes")

    def here(text: str) -> str:
        return text.replace("{dir}", str(folder))

    return Recipe(
        name=app.name,
        folder=folder,
        command=tuple(here(word) for word in app.command),
        ready=here(app.ready),
        first=here(app.first),
        env={name: here(value) for name, value in app.env.items()},
        needs=needs,
    )


def _unfit(app: _App) -> str | None:
    """Find a word that execve(2) cannot take."""
    words = (app.name, app.ready, app.first, *app.command, *app.env, *app.env.values())
    return next((word for word in words if "\0" in word), None) or next(
        (name for name in app.env if not name or "=" in name), None
    )


def _need(need: _Need) -> Need:
    same = tuple(Ref.parse(ref) for ref in need.same)
    return Need(Ref.parse(need.ref), tuple(need.files), need.view, need.at, same, need.to)
