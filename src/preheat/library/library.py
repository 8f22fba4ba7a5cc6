"""Library: where snapshots are kept for good. Its format is docs/library-format.md."""

import errno
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from preheat.digest import Digest
from preheat.errors import Busy, LibraryError, NoSpace, NotPreloaded
from preheat.library.blobs import Blobs
from preheat.library.journal import Journal, boot_id
from preheat.library.lock import Lock
from preheat.library.partial import Partial, disk_trouble
from preheat.library.records import Records, write_whole
from preheat.ref import Ref
from preheat.snapshot import File, Snapshot

_FORMAT = "1"
_SPARE = 64 << 20  # left free for records, journals and everybody else


class Library:
    """Blobs by digest, records of snapshots, and partials on their way in, below one folder.

    Reading asks nothing of the folder but to be there; it is made by the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = Blobs(root / "blobs")
        self._records = Records(root / "records")
        self._check_format()

    def path(self, digest: Digest) -> Path:
        """Say where the blob is, or would be."""
        return self._blobs.path(digest)

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here, whole and verified."""
        return self._blobs.has(digest)

    def missing(self, snapshot: Snapshot) -> tuple[File, ...]:
        """Say which files' bytes are not here, each digest once."""
        by_digest = {file.digest: file for file in snapshot.files if not self.has(file.digest)}
        return tuple(by_digest.values())

    def find(self, ref: Ref) -> Snapshot | None:
        """Find what `ref` meant when it was last recorded; some of its files may not be here."""
        return self._records.find(ref)

    def revisions(self, ref: Ref) -> dict[str, str]:
        """Say which branches and tags of the repository are known, and at which commits."""
        return self._records.revisions(ref)

    def snapshots(self) -> Iterator[Snapshot]:
        """Read all records, in no order."""
        return self._records.all()

    def require(self, ref: Ref, patterns: Sequence[str] = ()) -> Snapshot:
        """Return the recorded snapshot's files that match `patterns`, all of them here; raise NotPreloaded if not."""
        command = f"preheat pull {ref}" + "".join(f" --files '{pattern}'" for pattern in patterns)
        snapshot = self.find(ref)
        if snapshot is None:
            raise NotPreloaded(f"{ref} is not in {self.root}", hint=command)
        wanted = snapshot.only(patterns)
        missing = self.missing(wanted)
        if missing:
            names = f"{missing[0].path}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            raise NotPreloaded(f"{ref} is in {self.root}, but without {names}", hint=command)
        return wanted

    def prepare(self, size: int) -> None:
        """Make the folder if need be, and raise NoSpace if `size` bytes more would not fit into it."""
        try:
            (self.root / "partial").mkdir(parents=True, exist_ok=True)
            if not (self.root / "format").exists():
                write_whole(self.root / "format", f"{_FORMAT}\n".encode())
            free = shutil.disk_usage(self.root).free
        except OSError as error:
            raise disk_trouble(error, self.root) from error
        if size + _SPARE > free:
            raise NoSpace(
                f"{self.root} has {free / 1e9:.1f} GB free, and {size / 1e9:.1f} GB are to come",
                hint="free some, or choose another place with --library",
            )

    def partial_size(self, file: File) -> int:
        """Say how many bytes on disk `file`'s partial takes already."""
        try:
            return self._partial_path(file.digest).stat().st_blocks * 512
        except FileNotFoundError:
            return 0

    def progress(self, file: File) -> int:
        """Say how many bytes of `file` whoever is fetching it has so far."""
        journal = self._partial_path(file.digest).with_suffix(".journal")
        return sum(stop - start for start, stop in Journal.read(journal, file.size, boot_id()).ranges)

    def begin(self, file: File) -> Partial | None:
        """Open the partial of `file` for this process alone; None if the file is here by now.

        Raise Busy while another process is fetching it.
        """
        path = self._partial_path(file.digest)
        lock = Lock(path.with_suffix(".lock"))
        if not lock.take():
            raise Busy(f"another preheat is fetching {file.path}", hint="wait for it, or stop it")
        try:
            if not self.has(file.digest):
                return Partial(path, file, lock)
        except BaseException:
            lock.release()
            raise
        lock.forget()
        lock.release()
        return None

    def keep(self, partial: Partial) -> None:
        """Verify what arrived and give it its name. Raise IntegrityError if it is not what was asked for."""
        self._blobs.keep(partial)

    def record(self, snapshot: Snapshot) -> None:
        """Write down which files the commit has and where its ref pointed."""
        try:
            self._records.write(snapshot)
        except OSError as error:
            raise disk_trouble(error, self.root) from error

    def _partial_path(self, digest: Digest) -> Path:
        return self.root / "partial" / f"{digest.algorithm}-{digest.hex}.part"

    def _check_format(self) -> None:
        try:
            found = (self.root / "format").read_text(encoding="ascii", errors="replace").strip()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return
            raise disk_trouble(error, self.root) from error
        if found != _FORMAT:
            raise LibraryError(
                f"{self.root} is a library of format {found[:20]!r}, and this preheat knows format {_FORMAT}",
                hint="use the preheat that wrote it, or another --library",
            )
