"""View: the protocol of a layout: the files to place, and the environment variables that point to them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from preheat.core.digest import Digest
from preheat.core.snapshot import File, Snapshot

BlobPath = Callable[[Digest], Path | str]


class PlacedFile(msgspec.Struct, frozen=True, gc=False):
    """A file of the snapshot, placed at `at`.

    `pointer` is the path that clients open, if it differs: a relative symlink to `at`, or the file itself on a
    filesystem without symlinks. If `yields` is true, another version's file at the same path takes precedence.
    """

    at: Path
    file: File
    pointer: Path | None = None
    yields: bool = False


class Alias(msgspec.Struct, frozen=True):
    """A symlink at `at` to `target`: another name for a folder of the view."""

    at: Path
    target: str


def modified_s(path: Path) -> float | None:
    """Return when a file was modified, in seconds since 1970; None if it does not exist or cannot be read."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


class PriorNote(msgspec.Struct, frozen=True):
    """A note before placing: its `body` (None if it does not exist), and whether preheat wrote it (`ours`).

    `theirs` are the user's own files in the view, which are not replaced. `modified_s` looks up a file of the view.
    """

    body: bytes | None
    ours: bool = True
    theirs: Collection[Path] = ()
    modified_s: Callable[[Path], float | None] = modified_s


class ViewNote(msgspec.Struct, frozen=True):
    """A small file that the layout's client reads and writes, at `at`.

    `settle` returns the content to write, or None if it conflicts with content that preheat did not write. `of` is the
    file that the note describes; the note is not written if the user keeps another file at that path. Of two `single`
    notes with the same path, the last one is written.
    """

    at: Path
    settle: Callable[["PriorNote"], bytes | None]
    of: Path | None = None
    single: bool = False


Piece = PlacedFile | Alias | ViewNote


class Placement(msgspec.Struct, frozen=True):
    """The counts of a placement: the files by kind of link, and the bytes copied.

    Files that were in place already are not counted. `has_symlinks`: at least one file, new or old, is a symlink to a
    blob.
    """

    links: Mapping[str, int]
    copied: int
    has_symlinks: bool = False


class View(Protocol):
    """One layout: a pure description of its files, which `Placer.lay` places."""

    kind: str
    renames: bool
    """Whether files in the view may have other names than in their repository."""
    edited: bool
    """Whether people edit small files in it; these are copied, to keep edits out of the library."""
    ways: Sequence[str]
    """The ways to link, in the order to try them."""

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:
        """Return the files, links and notes of the view below `at`, in the order to place them.

        `whole` means that the snapshot has all of the commit's files. Raise LibraryError for files that the layout
        does not support.
        """

    def environ(self, at: Path) -> dict[str, str]:
        """Return the variables that make the layout's own client look below `at`."""


class SortedFile(msgspec.Struct, frozen=True):
    """The place of a model file in an app's view, by its `kind`; `at` is None if it has none, for the reason `why`."""

    file: File
    kind: str
    at: Path | None
    why: str = ""

    @property
    def said(self) -> str:
        """Return the kind and the place as words."""
        kind = self.kind or "unknown kind"
        return f"{kind}, at {self.at}" if self.at is not None else f"{kind}, not placed: {self.why}"


@runtime_checkable
class AppView(View, Protocol):
    """A layout that depends on the kind of each file; it reads the files, so the library must have them first."""

    def sort(self, snapshot: Snapshot, at: Path) -> tuple[SortedFile, ...]:
        """Return the model files of a snapshot with their kinds and places; raise LibraryError for an unread file."""
