"""Cached files: files in other programs' caches that a pull adds to the library instead of downloading them."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import IntegrityError, LibraryError, NoSpace
from preheat.core.events import Adopted, Listener, Noted, Read
from preheat.core.placement import THEIRS, StatFields
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.units import say_count
from preheat.library.adopt.intake import Intake
from preheat.library.adopt.known_caches import KnownCaches
from preheat.library.adopt.private_files import is_opened_by_library, is_opened_by_link
from preheat.library.library import Library
from preheat.views.links import COPY, HARDLINK, REFLINK, likely_way
from preheat.views.placer import EDITED_UP_TO


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file in a cache, at `path`, with the right size; `copied` are the bytes that the library will copy."""

    path: Path
    file: File
    copied: int


def find_cached(
    files: Sequence[File], names: Iterable[tuple[Ref, str]], caches: KnownCaches, library: Library
) -> tuple[CachedFile, ...]:
    """Return those of a model's files that a cache may have; `names` are the model's refs, each with its commit.

    Only names and sizes are compared, and nothing is read: the digests are verified when the files are taken.
    """
    found = []
    folders = [folder for ref, commit in names for folder in caches.folders(ref, commit)]
    ways: dict[Path, str] = {}
    for file in files if folders else ():
        path = next((path for folder in folders if (path := folder.find(file)) is not None), None)
        if path is None or path.is_relative_to(library.root):
            continue
        if path.parent not in ways:
            ways[path.parent] = likely_way(path.parent, library.root, (REFLINK, HARDLINK, COPY))
        found.append(CachedFile(path, file, file.size if is_copied(path, file, ways[path.parent]) else 0))
    return tuple(found)


def take_cached(files: Sequence[CachedFile], snapshot: Snapshot, library: Library, on_event: Listener) -> set[Digest]:
    """Add files of a model to the library; return the digests of those that were added. Others have changed.

    Raise NoSpace if the disk is full.
    """
    taken: dict[Digest, str] = {}
    for one in files:
        if how := take_file(one.path, str(one.path), one.file, library, on_event):
            taken[one.file.digest] = how
    if taken:
        size = sum(one.file.size for one in files if one.file.digest in taken)
        on_event(Adopted(snapshot.ref, snapshot.commit, len(taken), size, dict(Counter(taken.values()))))
        note_shared([one.path for one in files if one.file.digest in taken], library, on_event)
    return set(taken)


def note_shared(paths: Iterable[Path], library: Library, on_event: Listener) -> None:
    """Report how many files were added to a library where other users can read them, but not at these paths."""
    count = 0
    for path in paths:
        with suppress(OSError):
            if not path.is_relative_to(library.root):
                count += is_opened_by_library(path, path.stat(), library.root)
    if count:
        said = f"other users cannot read {say_count(count, 'file')} that came from this user's folders, but can here"
        on_event(Noted(str(library.root), said))


def take_file(path: Path, named: str, file: File, library: Library, on_event: Listener) -> str:
    """Add the user's file at `path` to the library; return how, empty if it could not be added or has other bytes.

    `named` is its path in the log of placements. Small files, which users may edit, other users' and private files, and
    files that cannot be linked are copied, which is cheaper than a download. Raise NoSpace if the disk is full.
    """
    library.prepare(0)
    # Mark it as the user's before it may become a link to a blob.
    library.marks.note(THEIRS, [(named, file.digest, StatFields())])
    for copy in (True,) if _needs_copy(path, file) else (False, True):
        intake = Intake(library.root, library.path, lambda read: on_event(Read(read)), copy=copy)
        try:
            how = intake.take(path, file.digest).how
        except IntegrityError:
            return ""
        except NoSpace:
            raise
        except LibraryError:
            continue
        library.seals.note(file.digest, library.path(file.digest))
        return how
    return ""


def is_copied(path: Path, file: File, way: str) -> bool:
    """Return whether `take_file` will copy the user's file at `path`; `way` is how it would link it there."""
    return way == COPY or (way == HARDLINK and _needs_copy(path, file))


def _needs_copy(path: Path, file: File) -> bool:
    """Return whether a hard link would be wrong: its owner could change the blob, and would lose the write permission.

    Or other users could then read the user's own file. False for a file that has vanished.
    """
    try:
        look = path.stat()
        return file.size <= EDITED_UP_TO or look.st_uid != os.geteuid() or is_opened_by_link(path, look)
    except OSError:
        return False
