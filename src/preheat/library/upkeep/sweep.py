"""Sweep: find and remove unused blobs and leftover files, without races with other processes.

It does not rely on locks. It moves a blob to `trash/`, then reads records and claims again, and puts the blob back if
it is now in use. A process that needs blobs writes a claim before it checks for them: either the sweep sees the claim,
or the process sees that the blob is missing, and downloads it. docs/library-format.md explains why this is safe.
"""

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.ref import Ref
from preheat.disk.extents import shared_bytes
from preheat.disk.filesystem import UNSHARED, filesystem_of
from preheat.disk.temporary_file import IN_USE, PROOF, TRACE, is_for, is_left, left, left_below
from preheat.library.blobs.file_lock import take
from preheat.library.records.claims import Claims
from preheat.library.records.records import Records
from preheat.library.records.shared_fs import SIGHT_S, shared
from preheat.library.records.unread_files import Version, version_of
from preheat.library.upkeep.blob_users import NEW, BlobUser, blob_users
from preheat.library.upkeep.inventory import Blob, inventory

_STALE_S = 86400.0
_LEFTOVERS = (
    "partial/**/*.part",
    "partial/**/*.journal",
    "partial/**/*.new",
    "quarantine/*",
    ".*.new",
    "*/.*.new",
    "*/*/.*.new",
    "*/*/*/.*.new",
    "*/*/*/refs/.*.new",
    f"{PROOF}*",
    f"{TRACE}*",
)
_NOT_OURS = ("blobs", "views")  # blobs/ has no temporary files; views/ has names of other programs


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep removes: unused blobs, and leftover files with their sizes. `held`: blobs it keeps, and why.

    `stays` maps blobs that it removes to the bytes that stay on disk, because files outside the library share them.
    """

    blobs: tuple[Blob, ...]
    leftovers: tuple[tuple[Path, int], ...]
    held: tuple[tuple[Blob, BlobUser], ...]
    stays: Mapping[Blob, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Return the bytes that the plan frees on disk."""
        return sum(self.frees(blob) for blob in self.blobs) + sum(size for _, size in self.leftovers)

    def frees(self, blob: Blob) -> int:
        """Return the bytes that the removal of a blob frees on disk."""
        return blob.blocks - self.stays.get(blob, 0)


class Sweep:
    """Removes unused blobs and leftover files in the library at `root`.

    `settle_s` is how long other machines may cache an outdated state of the folder, in seconds; by default 65 on a
    network filesystem, and 0 elsewhere. `unread` returns the digests that versions list and do not need now.
    """

    def __init__(
        self,
        root: Path,
        settle_s: float | None = None,
        unread: Callable[[], Mapping[Version, Collection[str]]] = dict,
    ) -> None:
        self._root = root
        self._records = Records(root / "records")
        self._claims = Claims(root / "claims")
        self._unread = unread
        self._settle_s = settle_s if settle_s is not None else SIGHT_S if shared(root) else 0.0
        self._may_share = filesystem_of(root / "blobs") not in UNSHARED

    def plan(
        self, *, young_s: float = 0.0, only: Iterable[str] | None = None, gone: Collection[Ref] = (), now: float = 0.0
    ) -> SweepPlan:
        """Find blobs that no record or claim needs, and leftover files.

        Blobs changed less than `young_s` seconds ago are kept, except for unread ones. `only` limits the plan to these
        blobs (`algorithm:hex`), without leftover files. The versions in `gone` count as removed; their refs are pinned
        to commits. Raise LibraryError if a record cannot be read, because its blobs are then unknown.
        """
        now = now or time.time()
        wanted = None if only is None else frozenset(only)
        needed = self._recorded(gone)
        holders = self.holders()
        unread = {name for names in self._unread().values() for name in names}
        free, held = [], []
        for blob in inventory(self._root / "blobs"):
            names = {str(name) for name in blob.names}
            if names & needed or (wanted is not None and not names & wanted):
                continue
            holder = next((holders[name] for name in names if name in holders), None)
            if holder or (now - blob.changed_at < young_s and not names & unread):
                held.append((blob, holder or NEW))
            else:
                free.append(blob)
        leftovers = () if wanted is not None else tuple(self._leftovers(now))
        stays = {
            blob: size
            for blob in free
            if (size := blob.blocks if blob.linked else self._shared(self._path(blob.names[0]), blob.blocks))
        }
        return SweepPlan(tuple(free), leftovers, tuple(held), stays)

    def carry_out(self, plan: SweepPlan, wait: Callable[[float], object] = time.sleep) -> int:
        """Remove the plan's blobs and files; return the bytes freed. Keep blobs that have come into use since."""
        trash = self._root / "trash"
        trash.mkdir(exist_ok=True)
        # The plan may be old: this check keeps most blobs in use out of the trash, where readers would miss them. It is
        # only an optimization; the check in `_empty` makes removal safe.
        held = self.holders().keys()
        for blob in plan.blobs:
            if any(str(name) in held for name in blob.names):
                continue
            for name in blob.names:
                _move(self._path(name), f"{trash}/{name.algorithm}-{name.hex}")
        # List before reading records and claims: blobs that another sweep moves later are checked by that sweep.
        names = [f"{trash}/{name}" for name in os.listdir(trash) if "-" in name]  # noqa: PTH208 - as in `_path`
        if names and self._settle_s:
            wait(self._settle_s)
        freed = self._empty(names)
        for path, size in plan.leftovers:
            if path.suffix == ".part":
                freed += size if _drop_partial(path) else 0
            elif self._is_left(path, time.time()):
                _remove(path)
                freed += size
        return freed

    def _empty(self, trash: Iterable[str]) -> int:
        """Put back the blobs that are in use, and delete the others; return the bytes freed."""
        # Claims before records: a pull writes its record before it removes its claim.
        held = self.holders().keys()
        needed = self._recorded() | held
        by_inode: dict[int, list[tuple[str, Digest]]] = {}
        symlinks: set[str] = set()
        for path in trash:
            algorithm, _, value = path.rpartition("/")[2].rpartition("-")
            with contextlib.suppress(FileNotFoundError):  # another sweep was faster
                status = os.lstat(path)
                if stat.S_ISLNK(status.st_mode):
                    symlinks.add(path)
                    status = os.lstat(_target(path))
                by_inode.setdefault(status.st_ino, []).append((path, Digest(algorithm, value)))
        freed = 0
        for names in by_inode.values():
            if any(str(digest) in needed for _, digest in names):
                for path, digest in names:
                    self._put_back(path, digest)
                continue
            try:
                status = os.lstat(next((path for path, _ in names if path not in symlinks), names[0][0]))
            except FileNotFoundError:
                continue  # a concurrent sweep has just removed it, and counts its bytes
            size = status.st_blocks * 512
            freed += size - self._shared(names[0][0], size) if status.st_nlink <= len(names) else 0
            for path, _ in names:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)  # noqa: PTH108 - as in `_path`
        return freed

    def _put_back(self, path: str, digest: Digest) -> None:
        home = self._path(digest)
        Path(home).parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(home):
            Path(path).unlink(missing_ok=True)  # downloaded again since
        else:
            _move(path, home)

    def _recorded(self, gone: Collection[Ref] = ()) -> set[str]:
        needed: set[str] = set()
        notes = self._unread()  # each time: a pull that needs a file removes it from its note before its claim
        for record in self._records.listed():
            if record.ref not in gone:
                unread = notes.get(version_of(record.ref, record.ref.revision), ())
                needed.update(file.digest for file in record.files if file.digest not in unread)
        return needed

    def holders(self) -> dict[str, BlobUser]:
        """Return what uses blobs without a record, by `algorithm:hex`."""
        return blob_users(self._root, self._claims)

    def _leftovers(self, now: float) -> Iterable[tuple[Path, int]]:
        """Yield partials unchanged for a week, files that crashes left behind, and quarantined blobs, with sizes."""
        found = [path for pattern in _LEFTOVERS for path in self._root.glob(pattern)]
        ours = [path for path in found if path.relative_to(self._root).parts[0] not in _NOT_OURS]
        for path in dict.fromkeys([*ours, *left_below(self._root / "views"), *self._outside()]):
            if self._is_left(path, now):
                with contextlib.suppress(FileNotFoundError):
                    yield path, _size(path)

    def _outside(self) -> Iterable[Path]:
        """Yield temporary files of killed processes outside the library, at the output paths in their claims."""
        for place in self._claims.abandoned():
            yield from (path for path in left(place.parent) if is_for(path, place))
            yield from left_below(place)

    def _is_left(self, path: Path, now: float) -> bool:
        """Return whether a file was left behind: temporary files by their lock, or on network shares by age only."""
        try:
            status = path.lstat()
        except FileNotFoundError:
            return False
        age_s = now - max(status.st_mtime, status.st_ctime)
        if stat.S_ISDIR(status.st_mode):
            return path.parent == self._root and (age_s > _STALE_S or is_left(path / IN_USE))
        if stat.S_ISLNK(status.st_mode) and path.suffix == ".new":
            return is_left(path)
        if not stat.S_ISREG(status.st_mode):
            return False
        match path.suffix:
            case ".part":
                return age_s > 7 * _STALE_S
            case ".journal":
                return not path.with_suffix(".part").exists()
            case ".new" if path.name.endswith(".journal.new"):
                return not path.with_suffix("").with_suffix(".part").exists()
            case ".new" if not self._settle_s:
                return age_s > _STALE_S or is_left(path)
            case _:
                return age_s > _STALE_S

    def _shared(self, path: str, blocks: int) -> int:
        """Return how many of a file's bytes on disk other files share, by reflinks."""
        return min(shared_bytes(path), blocks) if self._may_share else 0

    def _path(self, name: Digest) -> str:
        # A string, because a version may have 100,000 files, and building a Path takes four times as long.
        return f"{self._root}/blobs/{name.algorithm}/{name.hex[:2]}/{name.hex}"


def _target(path: str) -> str:
    """Return the target of a symlink in the trash, if that is in the trash too; else the symlink."""
    first = Path(path).readlink()
    beside = Path(path).with_name(f"{first.parts[-3]}-{first.name}")
    return str(beside) if beside.exists() else path


def _move(path: str, to: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # another sweep was faster
        os.rename(path, to)  # noqa: PTH104 - as in `_path`


def _size(path: Path) -> int:
    """Return the bytes that removing `path` frees on disk."""
    if path.is_dir() and not path.is_symlink():
        return sum(_size(Path(place, name)) for place, _, names in os.walk(path) for name in names)
    status = path.lstat()
    return status.st_blocks * 512 if status.st_nlink == 1 else 0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _drop_partial(path: Path) -> bool:
    """Remove a partial and its journal, unless a process has it locked; return whether it was removed."""
    descriptor = take(path)
    if descriptor is None:
        return False
    path.with_suffix(".journal").unlink(missing_ok=True)
    path.with_suffix(".journal.new").unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    os.close(descriptor)
    return True
