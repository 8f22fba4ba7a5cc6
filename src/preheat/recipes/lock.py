"""Lock: what a recipe's refs meant when they were pinned: for every need the commit, and each file's size and digest.

The file is TOML, made by `preheat lock` and meant to be compared, not edited: one line a file, in the order of the
paths, so that a difference shows what moved. It names no endpoint and no path of the machine it was made on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import tomlkit
from tomlkit.items import Array, InlineTable

from preheat.digest import Digest
from preheat.errors import PreheatError, UsageError
from preheat.recipes.form import Misread, Where, mistake, read_form
from preheat.recipes.recipe import Need, Recipe
from preheat.ref import FOLDER, Ref
from preheat.snapshot import File, Snapshot

_VERSION = 1
_SAID = "what the refs of the recipe beside it meant when they were pinned: written by `preheat lock`, not by hand"


@dataclass(frozen=True, slots=True)
class Pinned:
    """A need as the recipe has it, and what it meant: `snapshot` has just the files that are needed."""

    need: Need
    snapshot: Snapshot

    @property
    def pin(self) -> Need:
        """The same need, with the ref at its commit: nothing in it can move."""
        ref, asked_as = self.need.ref, "" if self.need.ref.pinned else self.need.ref.revision
        return replace(self.need, ref=ref.at(self.snapshot.commit), asked_as=asked_as)


@dataclass(frozen=True, slots=True)
class Lock:
    """A recipe's needs, pinned; in its order."""

    needs: tuple[Pinned, ...]

    def find(self, need: Need) -> Pinned | None:
        """Find what a need of a recipe was pinned to; None if it was written otherwise then."""
        return next((pinned for pinned in self.needs if pinned.need == need), None)

    def stale(self, recipe: Recipe) -> tuple[str, ...]:
        """Say in words where the recipe has moved away from the lock; nothing, when the lock is all of it."""
        new = [need for need in recipe.needs if self.find(need) is None]
        gone = [pinned.need for pinned in self.needs if pinned.need not in recipe.needs]
        words = [f"{need.ref} is not locked as the recipe has it" for need in new]
        return (*words, *(f"{need.ref} is locked, and not in the recipe so" for need in gone))

    def apply(self, recipe: Recipe) -> Recipe:
        """Pin the recipe's needs, those that are in the lock."""
        pins = ((need, self.find(need)) for need in recipe.needs)
        return replace(recipe, needs=tuple(need if pinned is None else pinned.pin for need, pinned in pins))

    def snapshot(self, pin: Need) -> Snapshot | None:
        """Say what a need that `apply` has pinned means, file by file."""
        return next((pinned.snapshot for pinned in self.needs if pinned.pin == pin), None)


def lock_path(recipe: Recipe) -> Path:
    """Say where a recipe's lock lies: beside it, by the same name: preheat.lock."""
    return (recipe.path or recipe.folder / "preheat.toml").with_suffix(".lock")


class _File(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    size: int
    digest: str


class _Need(msgspec.Struct, forbid_unknown_fields=True):
    ref: str
    commit: str
    files: list[_File]
    same: list[str] = []
    patterns: list[str] = []
    view: str = "hf-cache"
    at: str = ""
    to: dict[str, str] = {}


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    needs: list[_Need] = []


def read_lock(path: Path) -> Lock | None:
    """Read a lock; None where there is none. Raise UsageError that names the file, the line and the mistake."""
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="check its owner and mode") from error
    document = read_form(path, body, _Document)
    try:
        if document.version != _VERSION:
            raise Misread(f"it is of version {document.version}, and this preheat knows {_VERSION}", ("version",))
        return Lock(tuple(_pinned(need, index, path.absolute().parent) for index, need in enumerate(document.needs)))
    except Misread as error:
        raise mistake(path, body, error) from error


def lock_text(lock: Lock, folder: Path) -> str:
    """Write a lock for a recipe in `folder`; the same lock is always the same text."""
    document = tomlkit.document()
    document.add(tomlkit.comment(_SAID))
    document.add("version", tomlkit.item(_VERSION))
    needs = tomlkit.aot()
    for pinned in lock.needs:
        need = pinned.need
        table = tomlkit.table()
        table.add("ref", write_ref(need.ref, folder))
        table.add("commit", pinned.snapshot.commit)
        if need.same:
            table.add("same", [write_ref(ref, folder) for ref in need.same])
        if need.files:
            table.add("patterns", list(need.files))
        table.add("view", need.view)
        if need.at:
            table.add("at", need.at)
        if need.to:
            table.add("to", _inline(sorted(need.to.items())))
        table.add("files", _lines(pinned.snapshot.files))
        needs.append(table)
    if lock.needs:
        document.add("needs", needs)
    return tomlkit.dumps(document)


def write_ref(ref: Ref, folder: Path) -> str:
    """Write a ref so that it means the same on another machine, where `folder` lies elsewhere."""
    if ref.hub == FOLDER and Path(ref.repo).is_relative_to(folder):
        return f"file:{Path('{dir}') / Path(ref.repo).relative_to(folder)}"
    return str(ref)


def _lines(files: Iterable[File]) -> Array:
    array = tomlkit.array()
    array.multiline(True)  # noqa: FBT003 - its only way
    for file in sorted(files, key=lambda file: file.path):
        array.append(_inline([("path", file.path), ("size", file.size), ("digest", str(file.digest))]))
    return array


def _inline(pairs: Iterable[tuple[str, str | int]]) -> InlineTable:
    table = tomlkit.inline_table()
    for name, value in pairs:
        table.append(name, value)
    return table


def _pinned(said: _Need, index: int, folder: Path) -> Pinned:
    here: Where = ("needs", index)
    try:
        same = tuple(Ref.parse(text.replace("{dir}", str(folder))) for text in said.same)
        ref = Ref.parse(said.ref.replace("{dir}", str(folder)))
    except UsageError as error:
        raise Misread(error.message, (*here, "ref")) from error
    if not ref.at(said.commit).pinned:
        raise Misread(f"{said.commit!r} is not a commit", (*here, "commit"))
    try:
        files = tuple(File(file.path, file.size, Digest.parse(file.digest)) for file in said.files)
        snapshot = Snapshot(ref, said.commit, files)
    except PreheatError as error:
        raise Misread(error.message, (*here, "files")) from error
    return Pinned(Need(ref, tuple(said.patterns), said.view, said.at, same, said.to), snapshot)
