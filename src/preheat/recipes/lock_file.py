"""Lock file: the commit of each need when it was pinned, and each file's size and digest.

The file is TOML, written by `preheat lock`, for diffs and not for editing: one line per file, sorted by path. It
contains no endpoint and no absolute path.
"""

import functools
from pathlib import Path

import msgspec

from preheat.core.digest import Digest
from preheat.core.errors import PreheatError, UsageError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.recipes.depends import Depends, DependsForm, read_depends
from preheat.recipes.recipe import Need, Recipe, check_need
from preheat.recipes.toml_file import Misread, Where, mistake, read_body, read_form

VERSION = 1


class Archive(msgspec.Struct, frozen=True):
    """The archive that a need's files are the members of: its size in bytes, and its digest."""

    size: int
    digest: Digest


class Pinned(msgspec.Struct, frozen=True):
    """A need of the recipe, and the `snapshot` that it was pinned to. The snapshot lists only the files needed.

    If `partly`, the snapshot lists only the files whose digests are known. The other files are pinned only by the
    commit. `archive` contains the files of an unpacked need; `depends` is what those of a made need depend on.
    """

    need: Need
    snapshot: Snapshot
    partly: bool = False
    archive: Archive | None = None
    depends: Depends | None = None

    @property
    def pin(self) -> Need:
        """Return the need with its ref at the commit and with its files' digests, so that no branch can change it."""
        ref, asked_as = self.need.ref.at(self.snapshot.commit), "" if self.need.ref.pinned else self.need.ref.revision
        own = replace(self.need, ref=ref, asked_as=asked_as)
        locked = self.snapshot.named(own.stored)
        size, depends = self.archive.size if self.archive else None, self.depends or self.need.depends
        return replace(own, locked=locked, partly=self.partly, depends=depends, archive_size=size)


class Lock(msgspec.Struct, frozen=True, dict=True):
    """The pinned needs of a recipe, in the recipe's order.

    `start_list` is what a traced start read besides them (guard/warm_up/start_list.py); empty if it was not traced.
    """

    needs: tuple[Pinned, ...]
    start_list: str = ""

    @functools.cached_property
    def _by_need(self) -> dict[Need, Pinned]:
        # Of two equal needs, the first one applies.
        return {pinned.need: pinned for pinned in reversed(self.needs)}

    def find(self, need: Need) -> Pinned | None:
        """Return the pin of a recipe's need; None if the lock does not contain the need."""
        return self._by_need.get(need)

    def stale(self, recipe: Recipe) -> tuple[str, ...]:
        """Return a sentence for each difference between recipe and lock; empty if the lock is up to date.

        An optional need may be missing from the lock.
        """
        needs = set(recipe.needs)
        gone = dict.fromkeys(pinned.need.ref for pinned in self.needs if pinned.need not in needs)
        unpinned = [need for need in recipe.needs if self.find(need) is None]
        new = dict.fromkeys(need.ref for need in unpinned if need.ref in gone or not need.optional)
        words = [f"{ref} {'differs from' if ref in gone else 'is not in'} the lock" for ref in new]
        return (*words, *(f"{ref} is not in the recipe" for ref in gone if ref not in new))

    @property
    def whole(self) -> bool:
        """Return whether the lock has a digest for every file."""
        return not any(pinned.partly for pinned in self.needs)

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with each need pinned that is in the lock, and with the lock's start list."""
        pins = ((need, self.find(need)) for need in recipe.needs)
        needs = tuple(need if pinned is None else pinned.pin for need, pinned in pins)
        return replace(recipe, needs=needs, start_list=self.start_list)


def lock_path(recipe: Recipe) -> Path:
    """Return the path of a recipe's lock: next to it, with the suffix `.lock`."""
    return (recipe.path or recipe.folder / "preheat.toml").with_suffix(".lock")


class _LockFile(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    size: int
    digest: str


class _LockArchive(msgspec.Struct, forbid_unknown_fields=True):
    size: int
    digest: str


class _LockNeed(msgspec.Struct, forbid_unknown_fields=True):
    ref: str
    commit: str
    files: list[_LockFile]
    same: list[str] = []
    patterns: list[str] = []
    view: str = "hf-cache"
    at: str = ""
    to: dict[str, str] = {}
    partly: bool = False
    unpack: str = ""
    link: str = ""
    optional: bool = False
    archive: _LockArchive | None = None
    depends: DependsForm | None = None


class _LockStart(msgspec.Struct, forbid_unknown_fields=True):
    reads: str = ""


class _LockDocument(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    needs: list[_LockNeed] = []
    start: _LockStart | None = None


def read_lock(path: Path) -> Lock | None:
    """Read a lock; return None if there is none. Raise UsageError with the file, line and mistake."""
    try:
        body = read_body(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="check its owner and mode") from error
    return understand_lock(path, body, path.absolute().parent)


def understand_lock(path: Path, body: bytes, folder: Path) -> Lock:
    """Parse `body`, the content of `path`, with `folder` for its `{dir}`. Raise UsageError as `read_lock` does."""
    document = read_form(path, body, _LockDocument)
    try:
        if document.version != VERSION:
            raise Misread(f"lock version {document.version} is not supported, only version {VERSION}", ("version",))
        needs = tuple(_pinned(need, index, folder) for index, need in enumerate(document.needs))
        return Lock(needs, "" if document.start is None else document.start.reads)
    except Misread as error:
        raise mistake(path, body, error) from error


def _pinned(said: _LockNeed, index: int, folder: Path) -> Pinned:
    here: Where = ("needs", index)
    try:
        same = tuple(Ref.parse(text.replace("{dir}", str(folder))) for text in said.same)
        ref = Ref.parse(said.ref.replace("{dir}", str(folder)))
    except UsageError as error:
        raise Misread(error.message, (*here, "ref")) from error
    if not ref.at(said.commit).pinned:
        raise Misread(f"{said.commit!r} is not a commit", (*here, "commit"))
    if said.unpack and said.commit != ref.revision:
        raise Misread(f"{said.commit!r} is not the commit of the archive at the need's address", (*here, "commit"))
    depends = read_depends(said.depends)
    need = Need(ref, tuple(said.patterns), said.view, said.at, same, said.to, said.unpack, said.link)
    check_need(need, depends, here)
    try:
        files = tuple(File(file.path, file.size, Digest.parse(file.digest)) for file in said.files)
        snapshot = Snapshot(need.stored, said.commit, files)
    except PreheatError as error:
        raise Misread(error.message, (*here, "files")) from error
    need = replace(need, optional=said.optional)
    return Pinned(need, snapshot, said.partly, _archive(said, ref, here), depends)


def _archive(said: _LockNeed, ref: Ref, here: Where) -> Archive | None:
    if said.archive is None:
        return None
    try:
        archive = Archive(said.archive.size, Digest.parse(said.archive.digest))
    except PreheatError as error:
        raise Misread(error.message, (*here, "archive")) from error
    if not said.unpack or archive.digest != ref.digest or archive.size < 0:
        raise Misread("the archive is not the one at the need's address", (*here, "archive"))
    return archive
