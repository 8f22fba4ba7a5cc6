"""Library: stores snapshots. docs/library-format.md describes its files.

What only downloads need is imported where it is used, because an app waits for the imports of its start.
"""

import contextlib
import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.core.digest import Digest
from preheat.core.errors import LibraryError, NotPreloaded
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.units import say_some
from preheat.disk.free_space import SPARE, DiskNeed, free_bytes, require_space
from preheat.library.app_notes import AppNotes
from preheat.library.blobs.blobs import SMALL, Blobs
from preheat.library.blobs.disk_errors import disk_trouble
from preheat.library.format_version import require_known_format, write_format
from preheat.library.ownership import FOLDERS, require_own_folders
from preheat.library.records.claims import Claims
from preheat.library.records.other_capitals import other_capitals
from preheat.library.records.pins import Pins
from preheat.library.records.placement_log import PlacementLog
from preheat.library.records.records import Records
from preheat.library.records.seals import Seals, fits
from preheat.library.records.shared_fs import shared
from preheat.library.records.this_machine import machine

if TYPE_CHECKING:
    from preheat.library.blob_check import Soundness
    from preheat.library.blobs.partial import Partial
    from preheat.library.blobs.partial_listener import Watcher
    from preheat.library.blobs.partials import Partials


class Library:
    """A folder with blobs by digest, records of snapshots, and partial downloads.

    The first write creates the folder; reading works without write access. A partial whose digest is in `watchers`
    reports its progress there.
    """

    def __init__(self, root: Path, state: Path | None = None) -> None:
        self.root = root
        self._state = state
        self._blobs = Blobs(root / "blobs")
        self.records = Records(root / "records")
        self.pins = Pins(root / "pins")
        self.claims = Claims(root / "claims")
        self.apps = AppNotes(root / "apps")
        self.seals = Seals(root / "seals")
        self.watchers: dict[Digest, Watcher] = {}
        require_known_format(root)
        require_own_folders(*(root / name for name in FOLDERS))

    @functools.cached_property
    def marks(self) -> PlacementLog:
        """Return the log of what views placed outside the library."""
        elsewhere = () if self._state is None else (self._state.parent / "placed" / _short(self.root),)
        return PlacementLog(self.root / "placed", *elsewhere)

    def path(self, digest: Digest) -> Path:
        """Return the path of the blob; it need not exist."""
        return self._blobs.path(digest)

    def location(self, digest: Digest) -> str:
        """Return the path of the blob as a string, which is faster for thousands of files; it need not exist."""
        return self._blobs.location(digest)

    def has(self, digest: Digest) -> bool:
        """Return whether the library has the blob. Blobs are always complete and verified."""
        return self._blobs.has(digest)

    def holds(self, digest: Digest) -> bool:
        """Return whether the library has a blob that a record or claim of the caller protects.

        If a concurrent prune has moved the blob to the trash, move it back now instead of waiting for the prune.
        """
        return self.has(digest) or self._blobs.bring_back(digest, self.root / "trash") or self.has(digest)

    def held_location(self, digest: Digest) -> str:
        """Return the path of a blob that a record or claim protects, after restoring it like `holds`."""
        self.holds(digest)
        return self.location(digest)

    def missing(self, snapshot: Snapshot) -> tuple[File, ...]:
        """Return the snapshot's files that are not in the library, one per digest."""
        by_digest = {file.digest: file for file in snapshot.files if not self.has(file.digest)}
        return tuple(by_digest.values())

    def find(self, ref: Ref) -> Snapshot | None:
        """Return the snapshot that `ref` last pointed to, or None; some of its files may be missing."""
        return self.records.find(ref)

    def revisions(self, ref: Ref) -> dict[str, str]:
        """Return the commit of each known branch and tag of the repository."""
        return self.records.revisions(ref)

    def snapshots(self) -> Iterator[Snapshot]:
        """Iterate over the snapshots of all records, in no order."""
        return self.records.all()

    def require(self, ref: Ref, patterns: Sequence[str] = ()) -> Snapshot:
        """Return the recorded snapshot with the files that match `patterns`; raise NotPreloaded if one is missing."""
        command = ref.how_to_get + "".join(f" --files '{pattern}'" for pattern in patterns)
        snapshot = self.find(ref)
        if snapshot is None:
            other = other_capitals(self.root / "records", ref)
            named = f", which has {other}: capital letters count" if other else ""
            raise NotPreloaded(f"{ref} is not in {self.root}{named}", hint=command)
        wanted = snapshot.only(patterns)
        self.require_files(wanted, command)
        return wanted

    def require_files(self, snapshot: Snapshot, hint: str) -> None:
        """Raise NotPreloaded with `hint` if a file of the snapshot is missing, or is known to be unlisted."""
        missing = [file.path for file in self.missing(snapshot) if not self.holds(file.digest)]
        missing += snapshot.unlisted or ()
        if missing:
            said = f"{snapshot.ref} is incomplete in {self.root}: missing {say_some(missing)}"
            raise NotPreloaded(said, hint=hint)

    def prepare(self, size: int) -> None:
        """Create the folder if it is missing; raise NoSpace if the disk has no room for `size` more bytes."""
        try:
            Path(self._partials.folder).mkdir(parents=True, exist_ok=True)
            if not (self.root / "format").exists():
                write_format(self.root)
            free = free_bytes(self.root)
        except OSError as error:
            raise disk_trouble(error, self.root) from error
        if not os.access(self.root, os.W_OK):
            raise LibraryError(f"{self.root} is not writable", hint="choose another folder with --library")
        require_space([DiskNeed(self.root, size, max(free - SPARE, 0), SPARE)])

    def partial_size(self, file: File) -> int:
        """Return the disk usage of the partial of `file`, in bytes."""
        return self._partials.size(file.digest)

    def progress(self, file: File) -> int:
        """Return how many bytes of `file` this or another process has downloaded so far, from its journal."""
        return self._partials.progress(file)

    def begin(self, file: File) -> "Partial | None":
        """Open and lock the partial of `file`; return None if the library already has the file.

        Raise Busy while another process is downloading it.
        """
        if self.has(file.digest):  # several pulls of one repository would make a partial for each file of the others
            return None
        return self._partials.begin(file, self.has, self.watchers.get(file.digest))

    def keep(self, partial: "Partial") -> None:
        """Verify a partial and store it as a blob; raise IntegrityError if its digest is wrong.

        The bytes are then durable; call `settle` to make the name durable and to write the seals of small files.
        """
        self._blobs.keep(partial)
        digest = partial.file.digest
        self.seals.note(digest, self.location(digest), later=partial.file.size <= SMALL)

    def settle(self) -> None:
        """Make the names of all kept blobs durable; call it once for many small files, because fsync is slow."""
        self.seals.flush()
        self._blobs.settle()

    @contextlib.contextmanager
    def wanted(self, *snapshots: Snapshot, at: Path | None = None) -> Iterator[None]:
        """Protect the snapshots' blobs, also those still to be downloaded, from prune until the records are written.

        `at` is the output path outside the library, if there is one.
        """
        with contextlib.ExitStack() as until:
            # In a read-only library no claim can be written, but its blobs can still be used.
            with contextlib.suppress(OSError):
                digests = dict.fromkeys(file.digest for snapshot in snapshots for file in snapshot.files)
                until.enter_context(self.claims.pulling(digests, at))
            yield

    def touched(self, files: Iterable[File]) -> tuple[File, ...]:
        """Return the `files` whose blob may have changed since it was last hashed; skip missing blobs.

        Costs one stat(2) per file, and reads no bytes: only hashing proves a change. A blob is returned if its size,
        mtime or ctime changed, or if it was never sealed. In a read-only library, blobs with another inode (copies) or
        without a seal are returned only if their size is wrong, because no app of this user can have changed them.
        """
        named = [(f"{file.digest.algorithm}:{file.digest.hex}", file) for file in files]
        known = self.seals.lines([name for name, _ in named])
        writable = self.writable
        found = []
        for name, file in named:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                status = self._blobs.stat(file.digest)
                seals = known.get(name, ())
                broken = not any(fits(seal, status) for seal in seals)
                broken &= writable or any(fits(seal, status, inode=True) for seal in seals)
                if status.st_size != file.size or broken:
                    found.append(file)
        return tuple(found)

    def sound_size(self, file: File) -> int | None:
        """Return the size of a file's blob, in bytes; None if it is missing or corrupt. Quarantine a corrupt blob.

        For servers: costs one stat(2) while the blob is unchanged, and hashes it once when it changes.
        """
        return self._soundness.check(file, self.location(file.digest))

    @functools.cached_property
    def _soundness(self) -> "Soundness":
        from preheat.library.blob_check import Soundness  # imported only by commands that hash

        return Soundness(self)

    @contextlib.contextmanager
    def linking(self, files: Sequence[File]) -> Iterator[None]:
        """Renew the seals of blobs that get a hard link inside the block, because a new link changes the ctime.

        Only blobs that matched their seal before, and whose inode, size and mtime are the same, are sealed again.
        """
        touched = set(self.touched(files)) if files else set()
        at = {file.digest: self.held_location(file.digest) for file in files if file not in touched}
        sound = {digest: os.stat(place) for digest, place in at.items()}  # noqa: PTH116 - as in `location`
        try:
            yield
        finally:
            for digest, before in sound.items():
                with contextlib.suppress(OSError):
                    after = os.stat(at[digest])  # noqa: PTH116 - as in `location`
                    if after.st_ctime_ns != before.st_ctime_ns and _content(after) == _content(before):
                        self.seals.note(digest, at[digest], later=True)
            self.seals.flush()

    @property
    def views(self) -> Path:
        """The folder of apps' views: in the library, or for a read-only library in `state`, by a hash of its path."""
        if self._state is None or self.writable:
            return self.root / "views"
        return self._state / _short(self.root)

    @property
    def writable(self) -> bool:
        """Whether the library can be written or created; False on a read-only share or image layer."""
        at = self.root
        while not at.exists() and at != at.parent:
            at = at.parent
        return os.access(at, os.W_OK | os.X_OK)

    def record(self, snapshot: Snapshot, by: str = "") -> None:
        """Record the commit's files and the commit of its ref; do nothing if the record is up to date.

        `by` is `records.MIRROR` for a version that a mirror downloaded for its clients. A version that was ever pulled
        or adopted by hand keeps an empty `by`.
        """
        try:
            self.settle()
            before = self.records.added_by(snapshot.ref.at(snapshot.commit))
            by = by if before is None or before == by else ""
            if before == by and self.records.find(snapshot.ref) == snapshot:
                return
            self.records.write(snapshot, by)
        except OSError as error:
            raise disk_trouble(error, self.root) from error

    def keep_for_user(self, ref: Ref) -> None:
        """Record that a user pulled the commit that `ref` is pinned to, so a mirror never evicts it."""
        if self.records.added_by(ref) and self.writable:
            known = self.find(ref)
            if known is not None:
                self.record(known)

    @functools.cached_property
    def _partials(self) -> "Partials":
        """The partials of this machine: in a folder of its own on a network share, where locks are unreliable."""
        from preheat.library.blobs.partials import Partials

        return Partials(f"{self.root}/partial/{machine()}" if shared(self.root) else f"{self.root}/partial")


def _short(root: Path) -> str:
    """Return a short hash of a library's path, to name folders that belong to it but are outside it."""
    import hashlib

    return hashlib.sha256(os.fsencode(root)).hexdigest()[:16]


def _content(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns
