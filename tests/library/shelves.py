"""Shelves: libraries with models in them, created without a hub."""

import hashlib
from collections.abc import Mapping

from preheat.core.digest import git_sha1, hasher, sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.library.library import Library


def file_of(path: str, data: bytes, *, lfs: bool | None = None) -> File:
    """Describe a file as a hub would: large ones by sha256."""
    if lfs if lfs is not None else len(data) > 1000:
        return File(path, len(data), sha256(hashlib.sha256(data).hexdigest()))
    naming = hasher("git-sha1", len(data))
    naming.update(data)
    return File(path, len(data), git_sha1(naming.hexdigest()))


def keep(library: Library, file: File, data: bytes) -> None:
    """Store bytes, as a pull does."""
    library.prepare(0)
    partial = library.begin(file)
    if partial is not None:
        if data:
            partial.write(0, memoryview(data))
        library.keep(partial)


def shelve(library: Library, name: str, files: Mapping[str, bytes], commit: str = "") -> Snapshot:
    """Store and record a version."""
    listed = tuple(file_of(path, data) for path, data in sorted(files.items()))
    for file in listed:
        keep(library, file, files[file.path])
    commit = commit or hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
    snapshot = Snapshot(Ref.parse(name), commit, listed)
    library.record(snapshot)
    return snapshot
