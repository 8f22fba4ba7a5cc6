"""Digest check: compare the blobs in the library with a snapshot's digests, for example those of a lock."""

import contextlib
import os
from collections.abc import Iterable

from preheat.core.digest import Digest
from preheat.core.errors import IntegrityError, PreheatError
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.library.blobs.blobs import add_name
from preheat.library.blobs.disk_errors import disk
from preheat.library.library import Library


def with_known_digests(library: Library, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with, for each file, a digest by which the library has its blob, if it has one.

    Usually that is the listed digest: one stat(2) per file. If the library's record of the commit has a digest of the
    other algorithm, because another hub listed that, hash the blob and compare. If the library is writable, also make
    the listed digest a name of the blob. Raise IntegrityError if the blob has other bytes.
    """
    return _held(library, snapshot, library.missing(snapshot), add_names=True)


def _held(library: Library, snapshot: Snapshot, lacks: Iterable[File], *, add_names: bool) -> Snapshot:
    missing = {file.digest for file in lacks}
    recorded = library.find(snapshot.ref.at(snapshot.commit)) if missing else None
    if recorded is None:
        return snapshot
    files = (
        _known(library, recorded.file(file.path), file, add_names=add_names) if file.digest in missing else file
        for file in snapshot.files
    )
    return replace(snapshot, files=tuple(files))


def require_known(library: Library, snapshot: Snapshot, hint: str) -> Snapshot:
    """Return `with_known_digests`, and raise its errors; raise NotPreloaded with `hint` if files are missing."""
    missing = library.missing(snapshot)
    try:
        found = _held(library, snapshot, missing, add_names=True)
    except PreheatError as error:
        error.hint = error.hint or hint
        raise
    if missing or found.unlisted:
        library.require_files(found, hint)
    return found


def lacking(library: Library, snapshot: Snapshot, *, add_names: bool = True) -> tuple[File, ...]:
    """Return the files that the library is missing or has with other bytes, one per digest. See `held`."""
    missing = library.missing(snapshot)
    try:
        found = _held(library, snapshot, missing, add_names=add_names)
    except IntegrityError:
        return missing
    return missing if found is snapshot else library.missing(found)


def require_sizes(library: Library, files: Iterable[File]) -> None:
    """Raise IntegrityError if a file's listed size differs from the size of the blob with its digest.

    The listing may be wrong: only a download with this listing checks its sizes. Costs one stat(2) per file.
    """
    for file in files:
        with contextlib.suppress(OSError):  # missing: its download reports that
            size = os.stat(library.location(file.digest)).st_size  # noqa: PTH116 - faster for thousands of files
            if size != file.size:
                raise IntegrityError(
                    f"{file.path} is listed with {file.size} bytes, but the bytes with its digest are {size}",
                    hint="do not trust this hub; use another --endpoint",
                )


def _known(library: Library, recorded: File | None, file: File, *, add_names: bool) -> File:
    if recorded is None or not library.has(recorded.digest):
        return file
    kindred = recorded.digest.algorithm == file.digest.algorithm or recorded.size != file.size
    if kindred or _hashed(library, recorded, file.digest) != file.digest.hex:
        raise IntegrityError(f"{file.path} in {library.root} does not match its locked digest {file.digest}")
    if not add_names or not library.writable:
        return recorded
    at = library.path(file.digest)
    with disk(at):
        at.parent.mkdir(parents=True, exist_ok=True)
        add_name(library.path(recorded.digest), at)
    library.seals.note(file.digest, at)
    library.seals.note(recorded.digest, library.path(recorded.digest))  # the new hard link changed its ctime
    return file if library.has(file.digest) else recorded


def _hashed(library: Library, file: File, digest: Digest) -> str:
    from preheat.disk.file_hash import feed  # hardly ever needed, and the app waits for it

    hasher = digest.hasher(file.size)
    path = library.path(file.digest)
    with disk(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            feed(descriptor, 0, file.size, [hasher], lambda: False)  # an app may be writing to it: read, not mmap
        finally:
            os.close(descriptor)
    return hasher.hexdigest()
