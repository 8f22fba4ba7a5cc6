"""Prune: remove blobs, leftovers and old versions that nothing needs any more."""

from collections.abc import Sequence
from dataclasses import dataclass

from preheat.core.events import Listener
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.library.records.claims import PULL
from preheat.library.upkeep.sweep import Sweep
from preheat.verbs.upkeep.remove import clear

# Keep recent blobs: an old preheat that makes no claims may still be pulling them.
YOUNG_S = 3600.0


@dataclass(frozen=True, slots=True)
class Pruned:
    """Removed versions, and numbers of blobs and leftovers; `size` is in bytes on disk. In a dry run, the same plan."""

    versions: tuple[Ref, ...]
    blobs: int
    leftovers: int
    size: int


@dataclass(frozen=True, slots=True)
class Shears:
    """What to prune: `old` versions too; blobs older than `young_s` seconds; claims of views on machine `forget`."""

    old: bool = False
    young_s: float = YOUNG_S
    forget: str = ""


def prune(library: Library, sweep: Sweep, shears: Shears, on_event: Listener, *, really: bool) -> Pruned:
    """Remove blobs that no record needs, and leftovers of killed processes; only report them unless `really`.

    A version is old if no branch or tag was last seen at its commit and it is not pinned.
    """
    old = _old(library) if shears.old else []
    refs = tuple(snapshot.ref for snapshot in old)
    plan = sweep.plan(young_s=shears.young_s, gone=refs)
    if really:
        for snapshot in old:
            library.records.drop(snapshot)
        for snapshot in _wanted_again(old, library):
            library.records.write(snapshot)
        library.claims.tidy(shears.forget)
        library.marks.tidy()
    size = clear(plan, sweep, on_event, really=really)
    return Pruned(refs, len(plan.blobs), len(plan.leftovers), size)


def _old(library: Library) -> list[Snapshot]:
    pinned = library.pins.all()
    found = [
        snapshot
        for record in list(library.records.listed())
        if not record.revisions and (record.ref.hub, record.ref.slug, record.ref.revision) not in pinned
        if (snapshot := library.find(record.ref)) is not None
    ]
    again = {snapshot.ref for snapshot in _wanted_again(found, library)}
    return [snapshot for snapshot in found if snapshot.ref not in again]


def _wanted_again(old: Sequence[Snapshot], library: Library) -> list[Snapshot]:
    """Return the versions that a pull is downloading, or has downloaded since they were listed as old.

    A pull writes the record, then the branch, and then removes its claim. The caller has found the records without a
    branch; this checks the claims and then the branches again, so that a concurrent pull shows in one of them.
    """
    if not old:
        return []
    pulled = {digest for claim in library.claims if claim.by == PULL for digest in claim.digests}
    return [
        snapshot
        for snapshot in old
        if any(str(file.digest) in pulled for file in snapshot.files)
        or snapshot.commit in library.revisions(snapshot.ref).values()
    ]
