"""Make room: remove what was staged longest ago, never what a job or a process uses."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.core.errors import NoSpace
from preheat.core.events import Listener, Noted
from preheat.core.ref import Ref
from preheat.core.units import say_seconds, say_size
from preheat.disk.free_space import SPARE, free_bytes
from preheat.guard.kernel.ports import open_links
from preheat.guard.kernel.process_tree import mapped_paths, members
from preheat.library.library import Library
from preheat.library.upkeep.inventory import Blob, inventory, partial_bytes
from preheat.library.upkeep.sweep import Sweep
from preheat.verbs.staging.stage_notes import StageNote, StageNotes

# A job that was given its files a moment ago may not have opened them yet.
YOUNG_S = 600.0


@dataclass(frozen=True, slots=True)
class StageLimits:
    """The most bytes of a stage on disk, and seconds without use after which an app's files go; 0 for no limit."""

    size: int = 0
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Removed:
    """The apps that were removed from a stage, and the bytes that this freed on disk."""

    apps: tuple[str, ...] = ()
    size: int = 0


def choose(
    notes: Sequence[StageNote],
    blobs: Mapping[Ref, Collection[Blob]],
    used_before: float,
    above: int,
    in_use: Callable[[StageNote], str],
) -> list[StageNote]:
    """Return the notes to remove.

    Those not used since `used_before` go, and then the least recently used until `above` bytes are free; never those
    for which `in_use` returns a reason. `blobs` are those of all versions: what another version needs frees nothing.
    """
    named = Counter(version for note in notes for version in note.versions)
    users = Counter(blob for some in blobs.values() for blob in some)
    going = []
    for note in sorted(notes, key=lambda one: one.used_at):
        if (note.used_at >= used_before and above <= 0) or in_use(note):
            continue
        going.append(note)
        named.subtract(note.versions)
        for version in note.versions:
            if named[version] == 0:
                own = blobs.get(version, ())
                users.subtract(own)
                above -= sum(blob.blocks for blob in own if users[blob] == 0)
    return going


def make_room(
    library: Library, limits: StageLimits, on_event: Listener, incoming: int = 0, keep: str = "", now: float = 0.0
) -> Removed:
    """Remove from a stage what its limits do not allow beside `incoming` bytes; never the note named `keep`.

    The caller has locked the notes. Raise NoSpace if the rest is in use, and more than the limit allows.
    """
    if not (limits.size or limits.age_s) or not library.root.is_dir():
        return Removed()
    now = now or time.time()
    notes = StageNotes(library.root)
    all_notes = notes.all()
    found = list(inventory(library.root / "blobs"))
    by_name = {str(name): blob for blob in found for name in blob.names}
    blobs = {
        one.ref: {by_name[file.digest] for file in one.files if file.digest in by_name}
        for one in library.records.listed()
    }
    above = incoming + SPARE - free_bytes(library.root)
    over = (
        sum(blob.blocks for blob in found) + partial_bytes(library.root) + incoming - limits.size if limits.size else 0
    )
    if incoming > limits.size > 0:
        raise _too_large(incoming, incoming - limits.size, limits, "it is too large by itself")
    uses = _Uses(library, notes, keep, now)
    expired = now - limits.age_s if limits.age_s else float("-inf")
    going = choose(all_notes, blobs, expired, max(above, over), uses.of)
    removed = _remove(going, [note for note in all_notes if note not in going], library, notes)
    for note in going:
        on_event(Noted(note.app, f"removed from the stage; last used {say_seconds(now - note.used_at)} ago"))
    # What the disk itself lacks is an error of the plan.
    if incoming and over > removed.size:
        rest = "; ".join(uses.told) or "the other files were not staged, and are never removed"
        raise _too_large(incoming, over - removed.size, limits, rest)
    return removed


def _too_large(incoming: int, over: int, limits: StageLimits, why: str) -> NoSpace:
    return NoSpace(
        f"needs {say_size(incoming)}, {say_size(over)} more than --max-size {say_size(limits.size)} leaves: {why}",
        hint="a larger --max-size, or stage again when other jobs have ended",
    )


def _remove(going: Sequence[StageNote], kept: Sequence[StageNote], library: Library, notes: StageNotes) -> Removed:
    """Remove the versions and views of notes that no other note has; the notes last, so that the next call resumes."""
    if not going:
        return Removed()
    named = {version for note in kept for version in note.versions}
    views = {view for note in kept for view in note.views}
    for view in {view for note in going for view in note.views} - views:
        shutil.rmtree(library.root / "views" / view, ignore_errors=True)
    gone = {version for note in going for version in note.versions} - named
    snapshots = [snapshot for version in gone if (snapshot := library.find(version)) is not None]
    sweep = Sweep(library.root)
    plan = sweep.plan(only={str(file.digest) for one in snapshots for file in one.files}, gone=gone)
    for snapshot in snapshots:
        library.records.remove(snapshot)
    size = sweep.carry_out(plan)
    for note in going:
        notes.remove(note.name)
    return Removed(tuple(note.app for note in going), size)


class _Uses:
    """Finds out which notes are in use; `told` are the reasons so far."""

    def __init__(self, library: Library, notes: StageNotes, keep: str, now: float) -> None:
        self._library = library
        self._notes = notes
        self._keep = keep
        self._now = now
        self._open: set[str] | None = None
        self._claimed: set[str] | None = None
        self.told: list[str] = []

    def of(self, note: StageNote) -> str:
        """Return why a note is in use, in words; empty if it is not."""
        why = self._why(note)
        if why:
            self.told.append(f"{note.app} {why}")
        return why

    def _why(self, note: StageNote) -> str:
        if note.name == self._keep:
            return "is being staged"
        if holders := self._notes.holders(note.name):
            return f"is held by job {', '.join(holders)}"
        if self._now - note.used_at < YOUNG_S:
            return f"was used {say_seconds(max(self._now - note.used_at, 0))} ago"
        snapshots = [one for version in note.versions if (one := self._library.find(version)) is not None]
        if any(one in self._library.pins for one in snapshots):
            return "is pinned"
        digests = {file.digest for one in snapshots for file in one.files}
        if self._claimed is None:
            self._claimed = {digest for claim in self._library.claims for digest in claim.digests}
        if any(str(digest) in self._claimed for digest in digests):
            return "is in use by a pull or a view"
        if self._open is None:
            self._open = _open_below(self._library.root)
        views = tuple(f"{self._library.root}/views/{view}/" for view in note.views)
        if not self._open.isdisjoint(self._library.location(digest) for digest in digests) or any(
            path.startswith(views) for path in self._open
        ):
            return "is open in a process"
        return ""


def _open_below(root: Path) -> set[str]:
    """Return the files below `root` that a process has open or mapped, as far as this user may see."""
    below = f"{os.path.realpath(root)}{os.sep}"
    found: Iterable[str] = (
        path for member in members() for path in (*open_links(member.pid), *mapped_paths(member.pid))
    )
    return {f"{root}{os.sep}{path[len(below) :]}" for path in found if path.startswith(below)}
