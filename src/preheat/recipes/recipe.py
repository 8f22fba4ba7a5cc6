"""Recipe: what an app needs, where it looks for it, and how it starts."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from preheat.core.errors import UsageError
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.recipes.toml_file import Misread, mistake, read_body, read_form

FILE_NAME = "preheat.toml"


@dataclass(frozen=True, slots=True)
class Need:
    """A model that an app loads: which of its files, and in which layout it looks for them.

    `same` names repositories that hold the same bytes elsewhere; digests decide. `to` gives files and folders other
    names in the view. `asked_as` is the branch or tag that the app asks for, where a lock has pinned `ref` since;
    `locked`, which files the lock says that it needs, by their digests: all of them, unless the lock is `partly` one.
    """

    ref: Ref
    files: tuple[str, ...] = ()
    view: str = "hf-cache"
    at: str = ""
    same: tuple[Ref, ...] = ()
    to: dict[str, str] = field(default_factory=dict, hash=False)
    asked_as: str = ""
    locked: Snapshot | None = field(default=None, compare=False, repr=False)
    partly: bool = field(default=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Recipe:
    """An app: `command` starts it, `ready` probes it, `first` is its first real use, `folder` is its `{dir}`.

    `about` says for people what it is; `verified`, what of it was checked and how, and "no" when nothing was. `makes`
    are paths of what its first start makes for itself, to be quicker later. `path` is the file it was read from.
    """

    name: str
    folder: Path
    command: tuple[str, ...] = ()
    ready: str = ""
    first: str = ""
    env: dict[str, str] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    about: str = ""
    verified: str = ""
    makes: tuple[str, ...] = ()
    path: Path | None = None


class _App(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    command: list[str] = []
    ready: str = ""
    first: str = ""
    env: dict[str, str] = {}
    about: str = ""
    verified: str = ""
    makes: list[str] = []


class _RecipeNeed(msgspec.Struct, forbid_unknown_fields=True):
    ref: str
    same: list[str] = []
    files: list[str] = []
    view: str = "hf-cache"
    at: str = ""
    to: dict[str, str] = {}


class _RecipeDocument(msgspec.Struct, forbid_unknown_fields=True):
    app: _App
    needs: list[_RecipeNeed] = []


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
        body = read_body(path)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"there is no recipe at {path}", hint="name a preheat.toml, or say what to start: preheat run -- CMD"
        ) from error
    return understand(path, body, path.absolute().parent)


def understand(path: Path, body: bytes, folder: Path) -> Recipe:
    """Make a recipe of `body`, the content of `path`, with `folder` for its `{dir}`. Raise UsageError as above."""
    document = read_form(path, body, _RecipeDocument)
    app = document.app
    try:
        _check(app)
        needs = tuple(_need(need, index, folder) for index, need in enumerate(document.needs))
    except Misread as error:
        raise mistake(path, body, error) from error

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
        about=app.about,
        verified=app.verified,
        makes=tuple(here(place) for place in app.makes),
        path=path.absolute(),
    )


def is_app_name(words: str) -> bool:
    """Whether an app can be called so: it names folders in the library."""
    return bool(words) and "/" not in words and not words.startswith(".")


def _check(app: _App) -> None:
    if unfit := _unfit(app):
        raise Misread(f"{unfit!r} cannot be given to a program: no NUL; no = in a variable's name", ("app",))
    if not is_app_name(app.name):
        raise Misread(f"{app.name!r} is not an app's name: letters, digits and dashes", ("app", "name"))


def _unfit(app: _App) -> str | None:
    """Find a word that execve(2) cannot take."""
    words = (app.name, app.ready, app.first, *app.command, *app.env, *app.env.values())
    return next((word for word in words if "\0" in word), None) or next(
        (name for name in app.env if not name or "=" in name), None
    )


def _need(need: _RecipeNeed, index: int, folder: Path) -> Need:
    def ref(text: str, *where: str | int) -> Ref:
        try:
            return Ref.parse(text.replace("{dir}", str(folder)))
        except UsageError as error:
            raise Misread(error.message, ("needs", index, *where)) from error

    same = tuple(ref(text, "same", number) for number, text in enumerate(need.same))
    return Need(ref(need.ref, "ref"), tuple(need.files), need.view, need.at, same, need.to)
