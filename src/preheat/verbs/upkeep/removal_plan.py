"""Removal plan: what `rm` or `prune` removes, how much that frees on disk, and what keeps the rest."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.core.events import Listener, Unneeded
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.library.upkeep.inventory import Blob
from preheat.library.upkeep.sweep import SweepPlan

_REFLINKED = "files that share their extents (reflink)"
_UNKNOWN = "other hard links"


@dataclass(frozen=True, slots=True)
class Keeper:
    """A version, view, folder or process (`by`) that keeps `size` bytes on disk; several may keep the same bytes.

    `remedy`: the command that removes a view's links; empty for others.
    """

    by: str
    size: int
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """The versions and files that a removal deletes; `kept_by`: what keeps other bytes of the versions on disk.

    `old`: the versions were chosen because no branch or tag names them, and stay if one does by then. `forget`: the
    machine whose views' claims are removed. `memory`: the folders of memory snapshots to remove, with their bytes.
    `unread`: files that no start opened are removed too. None of this has been carried out.
    """

    snapshots: tuple[Snapshot, ...]
    sweep: SweepPlan
    kept_by: tuple[Keeper, ...] = ()
    old: bool = False
    forget: str | None = None
    memory: tuple[tuple[str, int], ...] = ()
    unread: bool = False

    @property
    def versions(self) -> tuple[Ref, ...]:
        """Return the versions to remove, each with its commit."""
        return tuple(snapshot.ref.at(snapshot.commit) for snapshot in self.snapshots)

    @property
    def size(self) -> int:
        """Return the bytes that will be freed on disk."""
        return self.sweep.size + sum(size for _, size in self.memory)

    def tell(self, on_event: Listener) -> None:
        """Emit an event for each file to remove, and for each that is kept."""
        for blob in self.sweep.blobs:
            stays = "its bytes stay: other files share them" if blob in self.sweep.stays else ""
            on_event(Unneeded(str(blob.names[0]), self.sweep.frees(blob), stays))
        for path, size in self.sweep.leftovers:
            on_event(Unneeded(str(path), size, ""))
        for folder, size in self.memory:
            on_event(Unneeded(folder, size, ""))
        for blob, user in self.sweep.held:
            on_event(Unneeded(str(blob.names[0]), blob.blocks, user.said))


def keepers(snapshots: Sequence[Snapshot], sweep: SweepPlan, library: Library) -> tuple[Keeper, ...]:
    """Return what keeps bytes of these versions on disk, most bytes first: versions, views and other files."""
    gone = {snapshot.ref.at(snapshot.commit) for snapshot in snapshots}
    wanted = {str(file.digest): file.digest for snapshot in snapshots for file in snapshot.files}
    kept: Counter[str] = Counter()
    for record in library.records.listed() if wanted else ():
        shared = {file.digest: file.size for file in record.files if file.digest in wanted}
        if record.ref not in gone:
            kept[str(record.ref)] += sum(size for name, size in shared.items() if library.has(wanted[name]))
    for blob, user in sweep.held:
        kept[user.said] += blob.blocks
    linked = {blob for blob in sweep.stays if blob.linked}
    for blob, folder in _folders(linked, library).items():
        kept[folder] += blob.blocks
    for blob, size in sweep.stays.items():
        if blob not in linked:
            kept[_REFLINKED] += size
    remedies = {user.said: user.remedy for _, user in sweep.held}
    return tuple(Keeper(by, size, remedies.get(by, "")) for by, size in kept.most_common())


def _folders(linked: Collection[Blob], library: Library) -> dict[Blob, str]:
    """Return a folder that has a hard link to each blob: below the library's views, or from the log of placed files."""
    if not linked:
        return {}
    by_inode = {_inode(library.path(blob.names[0])): blob for blob in linked}
    inside = (Path(place, name) for place, _, names in os.walk(library.views) for name in names)
    placed = (Path(path) for path in library.marks.below([""]))
    found: dict[Blob, str] = {}
    for path in (*inside, *placed):
        blob = by_inode.get(_inode(path))
        if blob is not None:
            found.setdefault(blob, f"hard links in {path.parent}")
    return {blob: found.get(blob, _UNKNOWN) for blob in linked}


def _inode(path: Path) -> tuple[int, int]:
    try:
        status = path.lstat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
