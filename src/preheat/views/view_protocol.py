"""View: the protocol of a layout: place a snapshot, and the environment variables that lead to it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from preheat.core.digest import Digest
from preheat.core.snapshot import File, Snapshot

BlobPath = Callable[[Digest], Path]


@dataclass(frozen=True, slots=True)
class Bytes:
    """A file's bytes, at `at`.

    `pointer` is where clients look for it, if that is elsewhere: a relative symlink to `at`, or the file itself where
    there are no symlinks. A file that `yields` gives way to another version's at the same path.
    """

    at: Path
    file: File
    pointer: Path | None = None
    yields: bool = False


@dataclass(frozen=True, slots=True)
class Alias:
    """A symlink at `at` to `target`: another name for a folder of the view."""

    at: Path
    target: str


@dataclass(frozen=True, slots=True)
class Before:
    """What is in the place of a note: its `body`, None if there is none, and whether preheat wrote it.

    `theirs` are the user's own files of the view, which stay as they are.
    """

    body: bytes | None
    ours: bool = True
    theirs: Collection[Path] = ()


@dataclass(frozen=True, slots=True)
class ViewNote:
    """A small file that the layout's client reads and writes, at `at`.

    `settle` returns what should be there, or None where what somebody else wrote contradicts that. A note `of` a file
    says nothing about another file at that path. Of two notes that are `single`, with one path, the last counts.
    """

    at: Path
    settle: Callable[["Before"], bytes | None]
    of: Path | None = None
    single: bool = False


Piece = Bytes | Alias | ViewNote


@dataclass(frozen=True, slots=True)
class Placement:
    """What placing came to: how many files were linked in which way, and how many bytes had to be copied.

    What was in place already counts nowhere; `leads` says whether any of it, new or not, is a symlink to a blob.
    """

    links: Mapping[str, int]
    copied: int
    leads: bool = False


class View(Protocol):
    """One layout: a pure description of what lies where, which `placer.lay` carries out."""

    kind: str
    renames: bool
    """Whether files may have other names here than in their repository."""
    edited: bool
    """Whether people edit small files in it, which are copied then, so that no edit reaches the library."""
    ways: Sequence[str]
    """The ways to link, the first that works counting."""

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:
        """Return what lies below `at` for the snapshot's files; `whole` if the commit has no others.

        In the order in which it is to be placed. Raise LibraryError where the layout cannot have them.
        """

    def environ(self, at: Path) -> dict[str, str]:
        """Say which variables make the layout's own client look below `at`."""
