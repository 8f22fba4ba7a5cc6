"""Caches: what the readers of other programs' caches return: versions, files, and what was not understood."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import PreheatError
from preheat.core.ref import Ref
from preheat.core.snapshot import File


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file of a repository: its path there, where its bytes lie, and what they must hash to, if the cache says."""

    path: str
    source: Path
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class CachedVersion:
    """A version of a repository in a cache.

    `ref` names it as it is asked for; without a `commit`, the files make one. `revisions` are the branches and tags at
    it; `listed` are all files of the commit, when the cache knows that much.
    """

    ref: Ref
    commit: str
    revisions: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    listed: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True)
class Odd:
    """What lies in a cache and cannot be taken, and why."""

    path: Path
    reason: str


def resolved(path: Path, root: Path) -> Path | Odd:
    """Follow links to a regular file below `root`."""
    try:
        end = path.resolve(strict=True)
        status = end.stat()
    except RuntimeError:  # pathlib's word for it, up to Python 3.12
        return Odd(path, "it is a link in a loop")
    except OSError as error:
        reasons = {errno.ENOENT: "it is a link to nothing", errno.ELOOP: "it is a link in a loop"}
        return Odd(path, reasons.get(error.errno or 0, f"it cannot be read: {os.strerror(error.errno or 0).lower()}"))
    if not end.is_relative_to(root.resolve()):
        return Odd(path, f"it is a link out of {root}")
    if not stat.S_ISREG(status.st_mode):
        return Odd(path, "it is not a regular file")
    return end


def files_below(folder: Path, skip: frozenset[str] = frozenset()) -> Iterator[tuple[str, Path] | Odd]:
    """Walk a folder without following links to folders: each file's path with `/`, and the file; or what is odd."""

    def listing(under: str) -> Iterator[tuple[str, Path] | Odd]:
        here = folder / under
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            yield Odd(here, f"it cannot be listed: {os.strerror(error.errno or 0).lower()}")
            return
        for entry in entries:
            path = f"{under}/{entry.name}" if under else entry.name
            reason = hostile(path)
            if reason:
                yield Odd(here / entry.name, reason)
            elif not under and entry.name in skip:
                continue
            elif entry.is_dir(follow_symlinks=False):
                yield from listing(path)
            else:
                yield path, here / entry.name

    return listing("")


def hostile(path: str) -> str:
    """Say why no repository can have a file of that path; nothing if one can."""
    try:
        File(path, 0, Digest("git-sha1", "0" * 40))
    except (PreheatError, UnicodeEncodeError):
        return "its name cannot be a file's of a repository"
    return ""


def commit_of(files: Iterable[File]) -> str:
    """Make a commit of the files, for a cache that knows none: the same files make the same one."""
    naming = hashlib.sha1(usedforsecurity=False)
    for file in sorted(files, key=lambda file: file.path):
        naming.update(f"{file.digest} {file.size} {file.path}\0".encode())
    return naming.hexdigest()


def ref_of(text: str) -> Ref | None:
    """Read a name; None for what cannot be one."""
    try:
        return Ref.parse(text)
    except PreheatError:
        return None
