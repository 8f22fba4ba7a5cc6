"""Sweep: find blobs and leftovers that nothing needs, and remove them without racing with new users.

No lock is trusted. A blob is first moved aside, to `trash/`; then records and claims are read again, and what has come
to be needed meanwhile is put back. Whoever wants blobs writes a claim first and looks for them after: either the sweep
sees the claim, or the other one sees that the blob is gone, and fetches it. docs/library-format.md has the argument.
"""

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.ref import Ref
from preheat.disk.temporary_file import IN_USE, PROOF, TRACE, is_for, is_left, left, left_below
from preheat.library.blobs.file_lock import take
from preheat.library.records.claims import VIEW, Claims, linked
from preheat.library.records.records import Records
from preheat.library.records.shared_fs import SIGHT_S, shared
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
_NOT_OURS = ("blobs", "views")  # nothing is written aside in the one, and the other has other programs' names


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What can go: blobs that nothing needs, files left behind. `held` blobs have no record and stay, and why."""

    blobs: tuple[Blob, ...]
    leftovers: tuple[tuple[Path, int], ...]
    held: tuple[tuple[Blob, str], ...]

    @property
    def size(self) -> int:
        """Bytes on disk that it frees."""
        return sum(blob.blocks for blob in self.blobs) + sum(size for _, size in self.leftovers)


class Sweep:
    """Looks through one library, by its folder.

    `settle_s` is how old another machine's sight of it may be; by itself it is what the folder's filesystem suggests.
    """

    def __init__(self, root: Path, settle_s: float | None = None) -> None:
        self._root = root
        self._records = Records(root / "records")
        self._claims = Claims(root / "claims")
        self._settle_s = settle_s if settle_s is not None else SIGHT_S if shared(root) else 0.0

    def plan(
        self, *, young_s: float = 0.0, only: Iterable[str] | None = None, gone: Collection[Ref] = (), now: float = 0.0
    ) -> SweepPlan:
        """Find what nothing needs, changed more than `young_s` ago; with `only`, of these blobs and no leftovers.

        The versions in `gone`, refs pinned to their commits, need nothing any more.
        Raise LibraryError for a record that cannot be read: what it needs is not known.
        """
        now = now or time.time()
        wanted = None if only is None else frozenset(only)
        needed = self._recorded(gone)
        holders = self.holders()
        free, held = [], []
        for blob in inventory(self._root / "blobs"):
            names = {str(name) for name in blob.names}
            if names & needed or (wanted is not None and not names & wanted):
                continue
            holder = next((holders[name] for name in names if name in holders), "")
            if holder or now - blob.changed_at < young_s:
                held.append((blob, holder or "it is new"))
            else:
                free.append(blob)
        leftovers = () if wanted is not None else tuple(self._leftovers(now))
        return SweepPlan(tuple(free), leftovers, tuple(held))

    def carry_out(self, plan: SweepPlan, wait: Callable[[float], object] = time.sleep) -> int:
        """Take it away; return how many bytes that freed. What came to be needed since the plan is put back."""
        trash = self._root / "trash"
        trash.mkdir(exist_ok=True)
        # The plan may be old. This spares most readers from meeting a blob in the trash; what follows is what is safe.
        held = self.holders().keys()
        for blob in plan.blobs:
            if any(str(name) in held for name in blob.names):
                continue
            for name in blob.names:
                _move(self._path(name), trash / f"{name.algorithm}-{name.hex}")
        # Listed before it is asked who needs them: what another sweep moves meanwhile is that one's to judge.
        names = list(trash.glob("*-*"))
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

    def _empty(self, trash: Iterable[Path]) -> int:
        """Put back what is needed after all, and remove the rest."""
        # Claims first: who pulls writes the record, and only then lets go of the claim.
        held = self.holders().keys()
        needed = self._recorded() | held
        by_inode: dict[int, list[tuple[Path, Digest]]] = {}
        for path in trash:
            algorithm, _, value = path.name.rpartition("-")
            with contextlib.suppress(FileNotFoundError):  # another sweep was faster
                by_inode.setdefault(_inode(path), []).append((path, Digest(algorithm, value)))
        freed = 0
        for names in by_inode.values():
            if any(str(digest) in needed for _, digest in names):
                for path, digest in names:
                    self._put_back(path, digest)
                continue
            try:
                status = next((path for path, _ in names if not path.is_symlink()), names[0][0]).lstat()
            except FileNotFoundError:
                continue  # another sweep beside this one has just removed it, and counts it
            for path, _ in names:
                path.unlink(missing_ok=True)
            freed += status.st_blocks * 512 if status.st_nlink <= len(names) else 0
        return freed

    def _put_back(self, path: Path, digest: Digest) -> None:
        home = self._path(digest)
        home.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(home):
            path.unlink(missing_ok=True)  # fetched again meanwhile
        else:
            _move(path, home)

    def _recorded(self, gone: Collection[Ref] = ()) -> set[str]:
        return {file.digest for record in self._records.listed() if record.ref not in gone for file in record.files}

    def holders(self) -> dict[str, str]:
        """Say who wants a blob besides the records, by `algorithm:hex`."""
        blobs = self._root / "blobs"
        holders = dict.fromkeys(linked(self._root / "views", blobs), "a view in the library leads to it")
        for claim in self._claims:
            if claim.by == VIEW and claim.here:
                who, names = f"the view {claim.at} leads to it", claim.digests & linked(Path(claim.at), blobs)
            elif claim.by == VIEW:
                who, names = f"the view {claim.at} on {claim.machine} leads to it", claim.digests
            else:
                who, names = f"a pull on {claim.machine} wants it", claim.digests
            holders |= dict.fromkeys(names, who)
        return holders

    def _leftovers(self, now: float) -> Iterable[tuple[Path, int]]:
        """Find partials that nobody has touched for a week, what crashes left aside, and what was quarantined."""
        found = [path for pattern in _LEFTOVERS for path in self._root.glob(pattern)]
        ours = [path for path in found if path.relative_to(self._root).parts[0] not in _NOT_OURS]
        for path in dict.fromkeys([*ours, *left_below(self._root / "views"), *self._outside()]):
            if self._is_left(path, now):
                with contextlib.suppress(FileNotFoundError):
                    yield path, _size(path)

    def _outside(self) -> Iterable[Path]:
        """List what killed processes left beside what they were making elsewhere, as their claims say."""
        for place in self._claims.abandoned():
            yield from (path for path in left(place.parent) if is_for(path, place))
            yield from left_below(place)

    def _is_left(self, path: Path, now: float) -> bool:
        """Whether nobody has a use for a file any more; a lock tells that of files aside, but on shares only age."""
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

    def _path(self, name: Digest) -> Path:
        return self._root / "blobs" / name.algorithm / name.hex[:2] / name.hex


def _inode(path: Path) -> int:
    """Say which file a name in the trash is of; a link's own first name lies beside it."""
    if path.is_symlink():
        first = path.readlink()
        beside = path.with_name(f"{first.parts[-3]}-{first.name}")
        path = beside if beside.exists() else path
    return path.lstat().st_ino


def _move(path: Path, to: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # another sweep was faster
        path.rename(to)


def _size(path: Path) -> int:
    """Count the bytes on disk that removing it frees."""
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
    """Remove a partial with its journal, unless a process holds it."""
    descriptor = take(path)
    if descriptor is None:
        return False
    path.with_suffix(".journal").unlink(missing_ok=True)
    path.with_suffix(".journal.new").unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    os.close(descriptor)
    return True
