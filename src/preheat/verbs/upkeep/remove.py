"""Remove: delete versions of a model, and the blobs that only they need."""

from collections.abc import Sequence
from dataclasses import dataclass

from preheat.core.errors import LibraryError
from preheat.core.events import Listener, Unneeded
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.library.upkeep.sweep import Sweep, SweepPlan


@dataclass(frozen=True, slots=True)
class Removal:
    """The removed versions, and the freed bytes on disk; in a dry run, those that would be removed and freed."""

    versions: tuple[Ref, ...]
    size: int


def recorded(ref: Ref, library: Library) -> Snapshot:
    """Return the recorded snapshot of a ref. Raise LibraryError if there is none."""
    snapshot = library.find(ref)
    if snapshot is None:
        raise LibraryError(f"{ref} is not in {library.root}", hint="preheat ls lists its models")
    return snapshot


def versions_of(ref: Ref, library: Library) -> list[Snapshot]:
    """Return all versions of a ref's model. Raise LibraryError if there is none."""
    found = [
        snapshot
        for record in library.records.listed()
        if record.ref.at("") == ref.at("") and (snapshot := library.find(record.ref)) is not None
    ]
    if not found:
        raise LibraryError(f"{ref} is not in {library.root}", hint="preheat ls lists its models")
    return found


def remove(
    versions: Sequence[Snapshot], library: Library, sweep: Sweep, on_event: Listener, *, really: bool
) -> Removal:
    """Remove `versions`, and the blobs that nothing else needs; only report them unless `really`.

    Raise LibraryError if one of them is pinned, before anything is changed.
    """
    for snapshot in versions:
        if snapshot in library.pins:
            ref = snapshot.ref.at(snapshot.commit)
            raise LibraryError(f"{ref} is pinned", hint=f"preheat unpin {ref}, then remove it")
    refs = tuple(snapshot.ref.at(snapshot.commit) for snapshot in versions)
    blobs = {str(file.digest) for snapshot in versions for file in snapshot.files}
    plan = sweep.plan(only=blobs, gone=refs)
    if really:
        for snapshot in versions:
            library.records.remove(snapshot)
    return Removal(refs, clear(plan, sweep, on_event, really=really))


def clear(plan: SweepPlan, sweep: Sweep, on_event: Listener, *, really: bool) -> int:
    """Report the blobs and leftovers to remove, and those in use; remove them if `really`. Return the bytes on disk."""
    for blob in plan.blobs:
        on_event(Unneeded(str(blob.names[0]), blob.blocks, ""))
    for path, size in plan.leftovers:
        on_event(Unneeded(str(path), size, ""))
    for blob, reason in plan.held:
        on_event(Unneeded(str(blob.names[0]), blob.blocks, reason))
    return sweep.carry_out(plan) if really else plan.size
