"""Prune: remove what nothing needs any more."""

from dataclasses import dataclass

from preheat.core.events import Listener
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.library.records.claims import PULL
from preheat.library.upkeep.sweep import Sweep
from preheat.verbs.upkeep.remove import clear

# What came so recently may be wanted by a preheat that is too old to say so.
YOUNG_S = 3600.0


@dataclass(frozen=True, slots=True)
class Pruned:
    """What goes: old versions, blobs, leftovers; and bytes on disk that it frees, or, of a dry run, would."""

    versions: tuple[Ref, ...]
    blobs: int
    leftovers: int
    size: int


@dataclass(frozen=True, slots=True)
class Shears:
    """How much to prune: `old` versions too; blobs that are young; what views on the machine `forget` lead to."""

    old: bool = False
    young_s: float = YOUNG_S
    forget: str = ""


def prune(library: Library, sweep: Sweep, shears: Shears, on_event: Listener, *, really: bool) -> Pruned:
    """Free blobs that no record needs, and what was left behind; only say so, unless `really`.

    A version is old when no branch or tag was last seen at it and it is not pinned.
    """
    old = _old(library) if shears.old else []
    refs = tuple(snapshot.ref for snapshot in old)
    plan = sweep.plan(young_s=shears.young_s, gone=refs)
    if really:
        for snapshot in old:
            library.records.drop(snapshot)
        for snapshot in old:
            if _wanted_again(snapshot, library):
                library.records.write(snapshot)
        library.claims.tidy(shears.forget)
        library.marks.tidy()
    size = clear(plan, sweep, on_event, really=really)
    return Pruned(refs, len(plan.blobs), len(plan.leftovers), size)


def _old(library: Library) -> list[Snapshot]:
    pinned = library.pins.all()
    return [
        snapshot
        for record in list(library.records.listed())
        if not record.revisions and (record.ref.hub, record.ref.slug, record.ref.revision) not in pinned
        if (snapshot := library.find(record.ref)) is not None and not _wanted_again(snapshot, library)
    ]


def _wanted_again(snapshot: Snapshot, library: Library) -> bool:
    """Whether a pull brings this version, or has since it was looked at.

    A pull writes the record, then the branch, and only then removes its claim. So a record without a branch is looked
    at first, the claims after it, and the branches again at the end: a pull shows in one of them.
    """
    digests = {str(file.digest) for file in snapshot.files}
    if any(claim.by == PULL and claim.digests & digests for claim in library.claims):
        return True
    return snapshot.commit in library.revisions(snapshot.ref).values()
