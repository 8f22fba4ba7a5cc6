"""Verify: hash the library again, quarantine corrupt blobs, and download them again."""

import time
from collections.abc import Callable, Mapping, Sequence
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

# Downloads a file of a snapshot into the library again; raises PreheatError if it cannot.
Mend = Callable[[Snapshot, File], None]


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """Result of a verification: `blobs` and `size` (bytes) that were hashed, and `skipped` blobs, hashed recently.

    `rotten`: blobs that are corrupt or unreadable. `left`: those of them that are still missing or unreadable, and
    blobs that could not be downloaded again. `mended`: blobs that were downloaded again.
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
    """Hash all blobs, or those of the snapshots `only`; skip unmodified blobs that were verified in the last `since_s`.

    Corrupt blobs move to `quarantine/`, so that a pull downloads them again; a read-only library is not changed. With
    `mend`, quarantined blobs that are still needed are downloaded again.
    """
    wanted = None if only is None else {str(file.digest) for one in only for file in one.files}
    listed = [blob for blob in inventory(library.root / "blobs") if wanted is None or wanted & _names(blob)]
    fresh = _fresh(library, since_s) if since_s else frozenset()
    blobs = [blob for blob in listed if not _names(blob) & fresh]
    on_event(Reading("verify", len(blobs), sum(blob.size for blob in blobs)))
    rotten: list[Blob] = []
    unread: list[Blob] = []
    users: dict[str, list[tuple[Snapshot, File]]] = {}

    def found(finding: Finding) -> None:
        if finding.fault:
            if not finding.inode:
                unread.append(finding.blob)
            rotten.append(finding.blob)
            moved = quarantine(library.root, finding, library.path) if library.writable else None
            if not users:
                users.update(_users(library))
            on_event(_rotten(users, finding, "" if moved is None else str(moved)))

    hash_again(blobs, library.path, library.seals, lambda size: on_event(Read(size)), found)
    if library.writable and wanted is None:
        library.seals.tidy({name for blob in listed for name in _names(blob)})
    mended, unmended = _mend(library, mend, on_event) if mend else ((), ())
    # Unreadable blobs keep their names, and may or may not be correct.
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
    """Return the digests of blobs that were hashed in the last `since_s` seconds and are unmodified since."""
    now = time.time()
    fresh = set()
    for name, seals in library.seals.all().items():
        # The age of a seal from the future is unknown: a clock was wrong.
        recent = [seal for seal in seals if now - since_s <= seal.at <= now]
        with suppress(OSError, UsageError):
            if recent:
                status = library.path(Digest.parse(name)).stat()
                if not all(seal.broken(status) for seal in recent):
                    fresh.add(name)
    return frozenset(fresh)


def _mend(library: Library, mend: Mend, on_event: Listener) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Download missing quarantined blobs that records still need, each from the first record that succeeds.

    Return the digests of the downloaded and of the failed blobs.
    """
    mended, unmended = [], []
    rotten = sorted((library.root / "quarantine").glob("*-*"))
    users = _users(library) if rotten else {}
    for path in rotten:
        algorithm, _, value = path.name.rpartition("-")
        why = ""
        for snapshot, file in users.get(f"{algorithm}:{value}", ()):
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


def _users(library: Library) -> dict[str, list[tuple[Snapshot, File]]]:
    """Return the files that need each blob, by `algorithm:hex`."""
    found: dict[str, list[tuple[Snapshot, File]]] = {}
    for snapshot in library.snapshots():
        for file in snapshot.files:
            found.setdefault(str(file.digest), []).append((snapshot, file))
    return found


def _rotten(users: Mapping[str, Sequence[tuple[Snapshot, File]]], finding: Finding, moved_to: str) -> Rotten:
    paths = {
        f"{snapshot.ref} {file.path}" for name in finding.blob.names for snapshot, file in users.get(str(name), ())
    }
    return Rotten(str(finding.blob.names[0]), finding.fault, tuple(sorted(paths)), moved_to)


def _names(blob: Blob) -> set[str]:
    return {str(name) for name in blob.names}
