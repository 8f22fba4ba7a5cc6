"""Caches: the types that the readers of other programs' caches return: versions, files, and invalid entries."""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import PreheatError
from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.disk.regular_file import why


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file in a cache: its `path` in the repository, the file `source` with its bytes, and its digest if known."""

    path: str
    source: Path
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class CachedVersion:
    """A version of a repository in a cache.

    `ref` is what the library will record. If the cache has no `commit` (""), a hash of the files replaces it.
    `revisions` are the branches and tags that point to the commit; `listed` are all files of the commit, if the cache
    lists them. Otherwise `missing` names files that the cache lacks, as in `Snapshot.unlisted`, and `known` are files
    that it lacks, with their sizes and digests.
    """

    ref: Ref
    commit: str
    revisions: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    listed: tuple[File, ...] = ()
    missing: tuple[str, ...] = ()
    known: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True)
class InvalidEntry:
    """An entry of a cache that cannot be adopted, and the reason."""

    path: Path
    reason: str


def resolved(path: Path, root: Path) -> Path | InvalidEntry:
    """Follow symlinks to a regular file below `root`; return the file, or an InvalidEntry if there is none."""
    try:
        end = path.resolve(strict=True)
        status = end.stat()
    except RuntimeError:  # a symlink loop, up to Python 3.12
        return InvalidEntry(path, "it is a symlink loop")
    except OSError as error:
        reasons = {errno.ENOENT: "it is a broken symlink", errno.ELOOP: "it is a symlink loop"}
        return InvalidEntry(path, reasons.get(error.errno or 0, f"it cannot be read: {why(error)}"))
    if not end.is_relative_to(root.resolve()):
        return InvalidEntry(path, f"it is a symlink that points outside {root}")
    if not stat.S_ISREG(status.st_mode):
        return InvalidEntry(path, "it is not a regular file")
    return end


def files_below(folder: Path, skip: frozenset[str] = frozenset()) -> Iterator[tuple[str, Path] | InvalidEntry]:
    """Yield each file below a folder as its relative path with `/` and its full path, or as an InvalidEntry.

    Symlinks to folders are not followed. `skip` are names at the top level to leave out.
    """

    def listing(under: str) -> Iterator[tuple[str, Path] | InvalidEntry]:
        here = folder / under
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            yield InvalidEntry(here, f"it cannot be listed: {why(error)}")
            return
        for entry in entries:
            path = f"{under}/{entry.name}" if under else entry.name
            reason = why_invalid(path)
            if reason:
                yield InvalidEntry(here / entry.name, reason)
            elif not under and entry.name in skip:
                continue
            elif entry.is_dir(follow_symlinks=False):
                yield from listing(path)
            else:
                yield path, here / entry.name

    return listing("")


def why_invalid(path: str) -> str:
    """Return why the path is invalid for a file of a repository; empty if it is valid."""
    try:
        File(path, 0, Digest("git-sha1", "0" * 40))
    except (PreheatError, UnicodeEncodeError):
        return "its name is invalid for a file in a repository"
    return ""


def ref_of(text: str) -> Ref | None:
    """Parse a ref; return None if it is invalid."""
    try:
        return Ref.parse(text)
    except PreheatError:
        return None
