"""Verify: hash the library again, quarantine corrupt blobs, and download them again."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from preheat.core.digest import Digest
from preheat.core.errors import PreheatError, UsageError
from preheat.core.events import Listener, Mended, Read, Reading, Rotten
from preheat.core.snapshot import File, Snapshot
from preheat.library.library import Library
from preheat.library.upkeep.inventory import Blob, inventory
from preheat.library.upkeep.verification import Finding, quarantine
from preheat.library.upkeep.verification import verify as hash_again

# Brings a file of a snapshot into the library again; raises PreheatError when it cannot.
Mend = Callable[[Snapshot, File], None]


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """How many blobs and bytes were hashed, and how many blobs were not, as they had been of late.

    `rotten` are the blobs found so or that could not be read; `left` those of them that are not here again, and those
    that were to be mended and could not be; `mended` is what came anew.
    """

    blobs: int
    size: int
    skipped: int
    rotten: tuple[str, ...]
    left: tuple[str, ...]
    mended: tuple[str, ...]


def verify(
    library: Library, only: Sequence[Snapshot] | None, since_s: float, on_event: Listener, mend: Mend | None = None
) -> VerifyResult:
    """Hash all blobs, or those of the snapshots `only`, except those found right in the last `since_s` and untouched.

    What is rotten loses its names, so that a pull brings it again, and lies in `quarantine/`; a library that cannot be
    written is left as it is. With `mend`, what is or was rotten and is still needed is brought again.
    """
    wanted = None if only is None else {str(file.digest) for one in only for file in one.files}
    listed = [blob for blob in inventory(library.root / "blobs") if wanted is None or wanted & _names(blob)]
    fresh = _fresh(library, since_s) if since_s else frozenset()
    blobs = [blob for blob in listed if not _names(blob) & fresh]
    on_event(Reading("verify", len(blobs), sum(blob.size for blob in blobs)))
    rotten: list[Blob] = []
    unread: list[Blob] = []

    def found(finding: Finding) -> None:
        if finding.fault:
            if not finding.inode:
                unread.append(finding.blob)
            rotten.append(finding.blob)
            moved = quarantine(library.root, finding, library.path) if library.writable else None
            on_event(_rotten(library, finding, "" if moved is None else str(moved)))

    hash_again(blobs, library.path, library.seals, lambda size: on_event(Read(size)), found)
    if library.writable and wanted is None:
        library.seals.tidy({name for blob in listed for name in _names(blob)})
    mended, unmended = _mend(library, mend, on_event) if mend else ((), ())
    # What could not be read still has its name, and nobody knows whether it is right.
    left = [
        blob
        for blob in rotten
        if blob in unread or not (library.writable and any(library.has(name) for name in blob.names))
    ]
    return VerifyResult(
        blobs=len(blobs),
        size=sum(blob.size for blob in blobs),
        skipped=len(listed) - len(blobs),
        rotten=tuple(str(blob.names[0]) for blob in rotten),
        left=tuple(dict.fromkeys([*(str(blob.names[0]) for blob in left), *unmended])),
        mended=mended,
    )


def _fresh(library: Library, since_s: float) -> frozenset[str]:
    """Name the blobs that were hashed of late and look as they did then."""
    limit = time.time() - since_s
    fresh = set()
    for name, seals in library.seals.all().items():
        recent = [seal for seal in seals if seal.at >= limit]
        with suppress(OSError, UsageError):
            if recent:
                status = library.path(Digest.parse(name)).stat()
                if not all(seal.broken(status) for seal in recent):
                    fresh.add(name)
    return frozenset(fresh)


def _mend(library: Library, mend: Mend, on_event: Listener) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Bring again what was quarantined, is missing and needed; each by the first record that it can be had by.

    Return what came, and what did not.
    """
    mended, unmended = [], []
    for path in sorted((library.root / "quarantine").glob("*-*")):
        algorithm, _, value = path.name.rpartition("-")
        why = ""
        for snapshot, file in _users(library, f"{algorithm}:{value}"):
            if library.has(file.digest):
                why = ""
                break
            try:
                mend(snapshot, file)
            except PreheatError as error:
                why = why or error.message
            else:
                why = ""
                mended.append(str(file.digest))
                on_event(Mended(str(file.digest), ""))
                break
        if why:
            unmended.append(f"{algorithm}:{value}")
            on_event(Mended(f"{algorithm}:{value}", why))
    return tuple(mended), tuple(unmended)


def _users(library: Library, digest: str) -> list[tuple[Snapshot, File]]:
    return [
        (snapshot, file) for snapshot in library.snapshots() for file in snapshot.files if str(file.digest) == digest
    ]


def _rotten(library: Library, finding: Finding, moved_to: str) -> Rotten:
    paths = {
        f"{snapshot.ref} {file.path}" for name in finding.blob.names for snapshot, file in _users(library, str(name))
    }
    return Rotten(str(finding.blob.names[0]), finding.fault, tuple(sorted(paths)), moved_to)


def _names(blob: Blob) -> set[str]:
    return {str(name) for name in blob.names}
