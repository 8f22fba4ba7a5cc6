"""Digest check: whether the bytes in the library match a snapshot's digests, for example those of a lock."""

import os
from dataclasses import replace

from preheat.core.digest import Digest
from preheat.core.errors import IntegrityError, PreheatError
from preheat.core.snapshot import File, Snapshot
from preheat.disk.file_hash import feed
from preheat.library.blobs.blobs import name_too
from preheat.library.blobs.partial import disk
from preheat.library.library import Library


def held(library: Library, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot, each file by a digest that the library knows the same bytes by, where it has them.

    That is nearly always the file's own digest, and costs a stat(2). Where the commit is recorded with a digest of the
    other algorithm, as another hub lists it, that blob is hashed once, and named by the file's own digest too if the
    library can be written. Raise IntegrityError where the recorded blob has other bytes.
    """
    missing = {file.digest for file in library.missing(snapshot)}
    recorded = library.find(snapshot.ref.at(snapshot.commit)) if missing else None
    if recorded is None:
        return snapshot
    files = (
        _known(library, recorded.file(file.path), file) if file.digest in missing else file for file in snapshot.files
    )
    return replace(snapshot, files=tuple(files))


def require_held(library: Library, snapshot: Snapshot, hint: str) -> Snapshot:
    """Return the snapshot as `held` does. Raise NotPreloaded for bytes that are missing, with `hint`, and as `held`."""
    try:
        found = held(library, snapshot)
    except PreheatError as error:
        error.hint = error.hint or hint
        raise
    library.require_files(found, hint)
    return found


def lacking(library: Library, snapshot: Snapshot) -> tuple[File, ...]:
    """Return the files whose bytes the library lacks, each digest once; what it has of other bytes does not count."""
    try:
        return library.missing(held(library, snapshot))
    except IntegrityError:
        return library.missing(snapshot)


def _known(library: Library, recorded: File | None, file: File) -> File:
    if recorded is None or not library.has(recorded.digest):
        return file
    kindred = recorded.digest.algorithm == file.digest.algorithm or recorded.size != file.size
    if kindred or _hashed(library, recorded, file.digest) != file.digest.hex:
        raise IntegrityError(f"{library.root} has other bytes for {file.path} than {file.digest}, which is locked")
    if not library.writable:
        return recorded
    at = library.path(file.digest)
    with disk(at):
        at.parent.mkdir(parents=True, exist_ok=True)
        name_too(library.path(recorded.digest), at)
    library.seals.note(file.digest, at)
    library.seals.note(recorded.digest, library.path(recorded.digest))  # one name more changes its time of change
    return file if library.has(file.digest) else recorded


def _hashed(library: Library, file: File, digest: Digest) -> str:
    hasher = digest.hasher(file.size)
    path = library.path(file.digest)
    with disk(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            feed(descriptor, 0, file.size, [hasher], lambda: False)  # an app may be writing to it: it is copied
        finally:
            os.close(descriptor)
    return hasher.hexdigest()
