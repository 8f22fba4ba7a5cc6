"""Prune: remove blobs, leftovers and old versions that nothing needs any more."""

from dataclasses import dataclass

from preheat.core.ref import ARCHIVES, MADE
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.library.upkeep.sweep import Sweep
from preheat.verbs.upkeep.removal_plan import RemovalPlan, keepers
from preheat.verbs.upkeep.remove import wanted_again

# Keep recent blobs: an old preheat that makes no claims may still be pulling them.
YOUNG_S = 3600.0


@dataclass(frozen=True, slots=True)
class Shears:
    """What to prune: `old` versions too; blobs older than `young_s` seconds; claims of views on machine `forget`."""

    old: bool = False
    young_s: float = YOUNG_S
    forget: str = ""


def plan_prune(library: Library, sweep: Sweep, shears: Shears) -> RemovalPlan:
    """Plan to remove blobs that no record needs, and leftovers of killed processes.

    A version is old if no branch or tag was last seen at its commit and it is not pinned. The members of an archive
    have no branch that could move on. What an app's start made may be in a lock, and cannot be downloaded again.
    """
    old = _old(library) if shears.old else []
    plan = sweep.plan(young_s=shears.young_s, gone=tuple(snapshot.ref for snapshot in old))
    return RemovalPlan(tuple(old), plan, keepers(old, plan, library), old=True, forget=shears.forget)


def _old(library: Library) -> list[Snapshot]:
    pinned = library.pins.all()
    found = [
        snapshot
        for record in list(library.records.listed())
        if record.ref.hub not in (*ARCHIVES, MADE)
        and not record.revisions
        and (record.ref.hub, record.ref.slug, record.ref.revision) not in pinned
        if (snapshot := library.find(record.ref)) is not None
    ]
    again = {snapshot.ref for snapshot in wanted_again(found, library)}
    return [snapshot for snapshot in found if snapshot.ref not in again]
