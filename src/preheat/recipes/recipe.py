"""Recipe: the models that an app needs, where it expects them, and how it starts."""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote

import msgspec

from preheat.core.errors import UsageError
from preheat.core.ref import ARCHIVES, IMAGE, MADE, SOURCES, URL, Ref
from preheat.core.snapshot import Snapshot
from preheat.core.values.replace import replace
from preheat.recipes.depends import Depends, DependsForm, read_depends
from preheat.recipes.places import Places, split_place
from preheat.recipes.toml_file import Misread, Where, mistake, read_body, read_form

FILE_NAME = "preheat.toml"
_NOT_COMPARED = ("places", "start_list")
LINKS = ("symlink", "hardlink", "copy")  # the values of `link`


class Need(msgspec.Struct, frozen=True, eq=False):
    """A model that an app loads: its ref, the files needed, and the layout in which the app expects them.

    `same` lists other repositories and images with the same files, verified by digest. `to` renames files and folders
    in the view. After a lock has pinned `ref` to a commit, `asked_as` is the branch or tag that the app requests, and
    `locked` contains the files with their digests: all files, or only some of them if `partly`.

    `unpack` is `zip` or `tar` if the app reads the members of the archive at `ref`. `link` is the kind of link that the
    app requires, one of `LINKS`; empty if it accepts any. The app can start without an `optional` need. `depends` is
    what the files of a `made` ref depend on. `archive_size`, in bytes, is known from a lock.
    """

    ref: Ref
    files: tuple[str, ...] = ()
    view: str = "hf-cache"
    at: str = ""
    same: tuple[Ref, ...] = ()
    to: dict[str, str] = {}
    unpack: str = ""
    link: str = ""
    optional: bool = False
    asked_as: str = ""
    locked: Snapshot | None = None
    partly: bool = False
    depends: Depends | None = None
    archive_size: int | None = None

    def __eq__(self, other: object) -> bool:
        """Return whether two needs are equal in their recipes; fields that only a lock has are ignored."""
        return isinstance(other, Need) and (self._said, self.to) == (other._said, other.to)

    def __hash__(self) -> int:
        return hash(self._said)

    @property
    def _said(self) -> tuple[object, ...]:
        said = (self.ref, self.files, self.view, self.at, self.same)
        return (*said, self.unpack, self.link, self.optional, self.asked_as)

    @property
    def stored(self) -> Ref:
        """Return the ref under which the library records the files: for an archive, that of its members."""
        return self.ref.members(self.unpack) if self.unpack else self.ref


class Recipe(msgspec.Struct, frozen=True, eq=False):
    """An app: `command` starts it, `ready` probes it, `first` is its first real use, `folder` is its `{dir}`.

    `about` is a description for people. `verified` states how the recipe was checked, or "no". `makes` lists paths of
    files that the app's first start creates, as older recipes name them; no verb uses it. `hub`: the app asks its hub
    at each start, so `run` serves the library to it on loopback. `memory_snapshot`: `run` restores the ready app from
    memory. `port`: what `{port}` stands for, 0 if not set. `thresholds`: figures at which `prove` fails. `path` is
    the file that it was read from. `places` are the folders that `at` of needs may name; None for the app's only.
    `built_in`: it has no file at `path`. `start_list` is what a traced start read besides, from the lock.
    """

    name: str
    folder: Path
    command: tuple[str, ...] = ()
    ready: str = ""
    first: str = ""
    env: dict[str, str] = {}
    needs: tuple[Need, ...] = ()
    about: str = ""
    verified: str = ""
    makes: tuple[str, ...] = ()
    hub: bool = False
    memory_snapshot: bool = False
    port: int = 0
    thresholds: tuple[str, ...] = ()
    path: Path | None = None
    places: Places | None = None
    built_in: bool = False
    start_list: str = ""

    def __eq__(self, other: object) -> bool:
        """Return whether two recipes are the same, wherever they run; the start list of a lock does not count."""
        return isinstance(other, Recipe) and all(
            getattr(self, name) == getattr(other, name) for name in self.__struct_fields__ if name not in _NOT_COMPARED
        )

    __hash__ = None  # type: ignore[assignment]  # as a dict of variables has none

    @property
    def typed(self) -> str:
        """Return what to type for the recipe, as APP with its options; empty for the one in the current folder."""
        if self.path is None:
            return ""
        here = Path.cwd()
        if self.built_in:
            return self.path.stem + ("" if self.folder == here else f" --dir {quote(str(self.folder))}")
        if self.path == here / FILE_NAME:
            return ""
        return quote(str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path))

    @property
    def why_not_saved(self) -> str:
        """Return why the app's memory cannot be saved, as far as the recipe shows; empty if it can."""
        return "the app's hub has another port at each start" if self.hub else ""

    def place_of(self, need: Need) -> Path:
        """Return the folder of a need that has an `at`. Raise UsageError for a place that is unknown here."""
        return (self.places or Places(self.folder)).expand(need.at)

    @property
    def names_places(self) -> bool:
        """Whether a need depends on where the app runs: on its user's folders or its Python."""
        return any(need.ref.hub == MADE or need.at.startswith(("{", "~")) for need in self.needs)

    def at_places(self, environ: Mapping[str, str]) -> "Recipe":
        """Return the recipe with the places of an app that is started with the variables `environ`."""
        if not self.names_places:
            return self
        return replace(self, places=Places.of(environ, self.folder, self.command, self.env))


class _App(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    command: list[str] = []
    ready: str = ""
    first: str = ""
    env: dict[str, str] = {}
    about: str = ""
    verified: str = ""
    makes: list[str] = []
    hub: bool = False
    memory_snapshot: bool = False
    port: int = 0
    thresholds: list[str] = []


class _RecipeNeed(msgspec.Struct, forbid_unknown_fields=True):
    ref: str
    same: list[str] = []
    files: list[str] = []
    view: str = "hf-cache"
    at: str = ""
    to: dict[str, str] = {}
    unpack: str = ""
    link: str = ""
    optional: bool = False
    depends: DependsForm | None = None


class _RecipeDocument(msgspec.Struct, forbid_unknown_fields=True):
    app: _App
    needs: list[_RecipeNeed] = []


def names_recipe(words: str) -> bool:
    """Return whether `words` name a recipe, not a model: a `.toml` path, existing or not, or a folder with a recipe."""
    try:
        return words.endswith(".toml") or Path(words, FILE_NAME).is_file()
    except OSError:
        return False  # not a valid path


def read_recipe(path: Path) -> Recipe:
    """Read a preheat.toml, with its folder for `{dir}`. Raise UsageError with the file and the mistake."""
    try:
        path = path / FILE_NAME if path.is_dir() else path
        body = read_body(path)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"there is no recipe at {path}",
            hint=f"to start a program: preheat run -- python {path}"
            if path.suffix == ".py"
            else "pass the path of a preheat.toml; to write one: preheat trace -- CMD; without one: preheat run -- CMD",
        ) from error
    return understand(path, body, path.absolute().parent)


def located(recipe: Recipe, error: UsageError, where: Where) -> UsageError:
    """Return an error about a value of a recipe with its file and line; `where` is its path of keys and indices."""
    if recipe.path is None or not recipe.path.is_file():
        return error  # a built-in recipe
    return mistake(recipe.path, read_body(recipe.path), Misread(error.message, where, f"{error.hint}; "))


def understand(path: Path, body: bytes, folder: Path) -> Recipe:
    """Parse `body`, the content of `path`, with `folder` for its `{dir}`. Raise UsageError as `read_recipe` does."""
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
        hub=app.hub,
        memory_snapshot=app.memory_snapshot,
        port=app.port,
        thresholds=tuple(app.thresholds),
        path=path.absolute(),
    )


def json_schema() -> str:
    """Return the JSON schema of a recipe, for editors that complete and check TOML."""
    import json

    return json.dumps({"title": FILE_NAME, **msgspec.json.schema(_RecipeDocument)}, indent=2) + "\n"


def is_app_name(words: str) -> bool:
    """Return whether `words` are valid as an app's name; it is used as a folder name in the library."""
    return bool(words) and "/" not in words and not words.startswith(".")


def _check(app: _App) -> None:
    if unfit := _unfit(app):
        raise Misread(f"{unfit!r} contains NUL, or is an invalid variable name", ("app",))
    if not 0 <= app.port <= 65535:
        raise Misread(f"{app.port} is not a port: 1 to 65535", ("app", "port"))
    if not is_app_name(app.name):
        raise Misread(f"{app.name!r} is not an app's name: letters, digits and dashes", ("app", "name"))


def _unfit(app: _App) -> str | None:
    """Return a word that execve(2) does not accept, or None."""
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
    depends = read_depends(need.depends)
    own = Need(ref(need.ref, "ref"), tuple(need.files), need.view, need.at, same, need.to, need.unpack, need.link)
    check_need(own, depends, ("needs", index))
    return replace(own, optional=need.optional, depends=depends)


def check_need(need: Need, depends: Depends | None, where: Where) -> None:
    """Raise Misread, at `where` in the document, for a need whose fields contradict each other."""
    try:
        split_place(need.at)
    except UsageError as error:
        raise Misread(f"{error.message}: {error.hint}", (*where, "at")) from error
    if need.unpack and need.unpack not in ARCHIVES:
        raise Misread(f"{need.unpack!r} is not a kind of archive: {', '.join(ARCHIVES)}", (*where, "unpack"))
    if need.unpack and (need.ref.hub != URL or need.same):
        raise Misread("only the archive at an https://…#sha256=HEX can be unpacked", (*where, "unpack"))
    if need.ref.hub in SOURCES:
        kind = "an image" if need.ref.hub == IMAGE else "an object store"
        raise Misread(f"{kind} is only a source of other models' files: name it in `same`", (*where, "ref"))
    if need.ref.hub in ARCHIVES:
        raise Misread(f'write unpack = "{need.ref.hub}", and the archive\'s address as ref', (*where, "ref"))
    if need.link and need.link not in LINKS:
        raise Misread(f"{need.link!r} is not a kind of link: {', '.join(LINKS)}", (*where, "link"))
    if depends is not None and need.ref.hub != MADE:
        raise Misread("only what an app's start made can depend on something", (*where, "depends"))
