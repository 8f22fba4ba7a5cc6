"""Library: stores snapshots. docs/library-format.md describes its files."""

import contextlib
import functools
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.core.digest import Digest
from preheat.core.errors import Busy, LibraryError, NoSpace, NotPreloaded
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.library.blobs.blobs import Blobs
from preheat.library.blobs.file_lock import take
from preheat.library.blobs.journal import Journal, boot_id
from preheat.library.blobs.partial import Partial, disk, disk_trouble
from preheat.library.blobs.partial_listener import Watcher
from preheat.library.format_version import require_known_format, write_format
from preheat.library.records.claims import Claims, machine
from preheat.library.records.pins import Pins
from preheat.library.records.placement_log import Marks
from preheat.library.records.records import Records
from preheat.library.records.seals import Seals
from preheat.library.records.shared_fs import shared

if TYPE_CHECKING:
    from preheat.library.blob_check import Soundness

_SPARE = 64 << 20  # left free for records, journals and everybody else


class Library:
    """Blobs by digest, records of snapshots, and partials on their way in, below one folder.

    Reading asks nothing of the folder but to be there; it is made by the first write. `watchers` are told of the
    partials with their digests that begin here.
    """

    def __init__(self, root: Path, state: Path | None = None) -> None:
        self.root = root
        self._state = state
        self._blobs = Blobs(root / "blobs")
        self.records = Records(root / "records")
        self.pins = Pins(root / "pins")
        self.claims = Claims(root / "claims")
        self.seals = Seals(root / "seals")
        elsewhere = () if state is None else (state.parent / "placed" / _short(root),)
        self.marks = Marks(root / "placed", *elsewhere)
        self.watchers: dict[Digest, Watcher] = {}
        require_known_format(root)

    def path(self, digest: Digest) -> Path:
        """Say where the blob is, or would be."""
        return self._blobs.path(digest)

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here, whole and verified."""
        return self._blobs.has(digest)

    def holds(self, digest: Digest) -> bool:
        """Whether the blob is here, for a caller that a record or claim entitles to it.

        A removal beside this process may just have moved it aside, and would put it back: then that is done now.
        """
        return self.has(digest) or self._blobs.bring_back(digest, self.root / "trash") or self.has(digest)

    def held_path(self, digest: Digest) -> Path:
        """Return where a blob is that a record or claim entitles the caller to; see `holds`."""
        self.holds(digest)
        return self.path(digest)

    def missing(self, snapshot: Snapshot) -> tuple[File, ...]:
        """Say which files' bytes are not here, each digest once."""
        by_digest = {file.digest: file for file in snapshot.files if not self.has(file.digest)}
        return tuple(by_digest.values())

    def find(self, ref: Ref) -> Snapshot | None:
        """Find what `ref` meant when it was last recorded; some of its files may not be here."""
        return self.records.find(ref)

    def revisions(self, ref: Ref) -> dict[str, str]:
        """Say which branches and tags of the repository are known, and at which commits."""
        return self.records.revisions(ref)

    def snapshots(self) -> Iterator[Snapshot]:
        """Read all records, in no order."""
        return self.records.all()

    def require(self, ref: Ref, patterns: Sequence[str] = ()) -> Snapshot:
        """Return the recorded snapshot's files that match `patterns`, all of them here; raise NotPreloaded if not."""
        command = f"preheat pull {ref}" + "".join(f" --files '{pattern}'" for pattern in patterns)
        snapshot = self.find(ref)
        if snapshot is None:
            raise NotPreloaded(f"{ref} is not in {self.root}", hint=command)
        wanted = snapshot.only(patterns)
        self.require_files(wanted, command)
        return wanted

    def require_files(self, snapshot: Snapshot, hint: str) -> None:
        """Raise NotPreloaded if one of the snapshot's files is not here; `hint` says what would bring it."""
        missing = [file for file in self.missing(snapshot) if not self.holds(file.digest)]
        if missing:
            names = f"{missing[0].path}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            raise NotPreloaded(f"{snapshot.ref} is in {self.root}, but without {names}", hint=hint)

    def prepare(self, size: int) -> None:
        """Make the folder if need be, and raise NoSpace if `size` bytes more would not fit into it."""
        try:
            self._partials.mkdir(parents=True, exist_ok=True)
            if not (self.root / "format").exists():
                write_format(self.root)
            free = shutil.disk_usage(self.root).free
        except OSError as error:
            raise disk_trouble(error, self.root) from error
        if not os.access(self.root, os.W_OK):
            raise LibraryError(f"{self.root} cannot be written", hint="choose another place with --library")
        if size + _SPARE > free:
            raise NoSpace(
                f"{self.root} has {free / 1e9:.1f} GB free, and {size / 1e9:.1f} GB are to come",
                hint="free some, or choose another place with --library",
            )

    def free(self) -> int:
        """Say how many bytes its disk has room for, spare room apart; the folder need not be there yet."""
        place = next(folder for folder in (self.root, *self.root.parents) if folder.is_dir())
        return max(shutil.disk_usage(place).free - _SPARE, 0)

    def partial_size(self, file: File) -> int:
        """Say how many bytes on disk `file`'s partial takes already."""
        try:
            return self._partial_path(file.digest).stat().st_blocks * 512
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def progress(self, file: File) -> int:
        """Say how many bytes of `file` whoever is fetching it has so far."""
        journal = self._partial_path(file.digest).with_suffix(".journal")
        return sum(stop - start for start, stop in Journal.read(journal, file.size, boot_id()).ranges)

    def begin(self, file: File) -> Partial | None:
        """Open the partial of `file` for this process alone; None if the file is here by now.

        Raise Busy while another process is fetching it.
        """
        path = f"{self._partials}/{file.digest.algorithm}-{file.digest.hex}.part"
        try:
            descriptor = take(path)
        except OSError as error:
            raise disk_trouble(error, Path(path)) from error
        if descriptor is None:
            raise Busy(f"another preheat is fetching {file.path}", hint="wait for it, or stop it")
        if self.has(file.digest):
            with disk(Path(path)):
                Path(path).unlink(missing_ok=True)
                Path(path).with_suffix(".journal").unlink(missing_ok=True)
            os.close(descriptor)
            return None
        return Partial(Path(path), file, descriptor, self.watchers.get(file.digest))

    def keep(self, partial: Partial) -> None:
        """Verify what arrived and give it its name. Raise IntegrityError if it is not what was asked for.

        The bytes are on disk then; the name is, once it is settled.
        """
        self._blobs.keep(partial)
        self.seals.note(partial.file.digest, self.path(partial.file.digest))

    def settle(self) -> None:
        """Put the names of what was kept on disk; thousands of small files share what that costs."""
        self._blobs.settle()

    @contextlib.contextmanager
    def wanted(self, snapshot: Snapshot, at: Path | None = None) -> Iterator[None]:
        """Keep the snapshot's blobs, here or on their way, from being pruned while it has no record yet.

        `at` is what is made of them outside the library.
        """
        with contextlib.ExitStack() as until:
            # Where no claim can be written, nothing can be pulled, and what is here can be used.
            with contextlib.suppress(OSError):
                until.enter_context(self.claims.pulling((file.digest for file in snapshot.files), at))
            yield

    def suspicious(self, snapshot: Snapshot) -> tuple[File, ...]:
        """Return the files that are here and may have changed since their bytes were last hashed; see `touched`."""
        return self.touched(snapshot.files)

    def touched(self, files: Iterable[File]) -> tuple[File, ...]:
        """Return those of `files` that are here and do not look as they did when their bytes were last hashed.

        A stat(2) each and no more; only hashing tells whether the bytes changed. A file of another size, time of
        modification or time of change is suspected, and one that was never sealed. In a library that this process
        cannot write, a copy and what was never sealed are not: no app of this user can have changed them.
        """
        files = tuple(files)
        known = self.seals.all({str(file.digest) for file in files})
        writable = self.writable
        found = []
        for file in files:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                status = self.path(file.digest).stat()
                seals = known.get(str(file.digest), [])
                broken = all(seal.broken(status) for seal in seals)
                broken &= writable or any(seal.inode == status.st_ino for seal in seals)
                if status.st_size != file.size or broken:
                    found.append(file)
        return tuple(found)

    def sound(self, file: File) -> bool:
        """Return whether the file is here with the right bytes; what looks touched is hashed once, and quarantined.

        For who serves many: a stat(2) while nothing changed.
        """
        return self._soundness.check(file)

    @functools.cached_property
    def _soundness(self) -> "Soundness":
        from preheat.library.blob_check import Soundness  # it hashes, which most commands have no use for

        return Soundness(self)

    @contextlib.contextmanager
    def linking(self, files: Sequence[File]) -> Iterator[None]:
        """Seal anew, after the block, the blobs that it gave another name: that changes a file's time of change.

        Only those that were untouched before and differ in nothing else.
        """
        touched = set(self.touched(files))
        sound = {file.digest: self.held_path(file.digest).stat() for file in files if file not in touched}
        try:
            yield
        finally:
            for digest, before in sound.items():
                with contextlib.suppress(OSError):
                    after = self.path(digest).stat()
                    if after.st_ctime_ns != before.st_ctime_ns and _content(after) == _content(before):
                        self.seals.note(digest, self.path(digest))

    @property
    def views(self) -> Path:
        """Where views of apps lie: in the library, or where it cannot be written, in `state`, by the library's path."""
        if self._state is None or self.writable:
            return self.root / "views"
        return self._state / _short(self.root)

    @property
    def writable(self) -> bool:
        """Whether something can be written here, or the folder be made: not on a read-only share or image layer."""
        at = self.root
        while not at.exists() and at != at.parent:
            at = at.parent
        return os.access(at, os.W_OK | os.X_OK)

    def record(self, snapshot: Snapshot, by: str = "") -> None:
        """Write down which files the commit has and where its ref pointed, unless that is what is written already.

        `by` is `records.MIRROR` for what clients of a mirror asked for. What came by hand, before or since, is by hand.
        """
        try:
            self.settle()
            before = self.records.brought_by(snapshot.ref.at(snapshot.commit))
            by = by if before is None or before == by else ""
            if before == by and self.records.find(snapshot.ref) == snapshot:
                return
            self.records.write(snapshot, by)
        except OSError as error:
            raise disk_trouble(error, self.root) from error

    def vouch(self, ref: Ref) -> None:
        """Keep that somebody asked by hand for the commit that `ref` is pinned to: no mirror evicts it from now on."""
        if self.records.brought_by(ref) and self.writable:
            known = self.find(ref)
            if known is not None:
                self.record(known)

    def _partial_path(self, digest: Digest) -> Path:
        return self._partials / f"{digest.algorithm}-{digest.hex}.part"

    @functools.cached_property
    def _partials(self) -> Path:
        """Where this machine's partials lie. On a share each has its own: no lock there is sure to keep another out."""
        return self.root / "partial" / machine() if shared(self.root) else self.root / "partial"


def _short(root: Path) -> str:
    """Name what is kept elsewhere for a library."""
    return hashlib.sha256(os.fsencode(root)).hexdigest()[:16]


def _content(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns
