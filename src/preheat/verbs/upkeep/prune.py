"""Prune: remove blobs, leftovers and old versions that nothing needs any more."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from preheat.guard.memory_snapshot.saved_memory import FOLDER, list_leftovers, list_saved
from preheat.library.library import Library
from preheat.library.records.unread_files import UnreadFiles, Version
from preheat.library.upkeep.sweep import Sweep
from preheat.verbs.upkeep.old_versions import old_versions
from preheat.verbs.upkeep.removal_plan import RemovalPlan, keepers

# Keep recent blobs: an old preheat that makes no claims may still be pulling them.
YOUNG_S = 3600.0


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """What to prune: also `old` versions; also all `memory` snapshots; only blobs older than `young_s` seconds.

    `forget`: the machine whose views' claims are removed. `unread`: also files that traced apps downloaded and no start
    opened; the sweep must be made by `sweep_unread`.
    """

    old: bool = False
    memory: bool = False
    young_s: float = YOUNG_S
    forget: str = ""
    unread: bool = False


def sweep_of(library: Library, settle_s: float | None = None, *, unread: bool) -> Sweep:
    """Return the sweep of a library; on a network share, it waits `settle_s` seconds for other machines' changes."""
    return sweep_unread(library, settle_s) if unread else Sweep(library.root, settle_s)


def sweep_unread(library: Library, settle_s: float | None = None) -> Sweep:
    """Return a sweep that also removes the files that traced apps downloaded and no start opened.

    Files of pinned versions are kept, and those that another version, a pull or a view needs.
    """

    def unread() -> dict[Version, frozenset[str]]:
        pinned = library.pins.all()
        notes = UnreadFiles(library.root).all()
        return {version: files for version, files in notes.items() if version not in pinned}

    return Sweep(library.root, settle_s, unread)


def plan_prune(
    library: Library, sweep: Sweep, prune_options: PruneOptions, recipes: Iterable[Path] = ()
) -> RemovalPlan:
    """Plan to remove blobs that no record needs, and leftovers of killed processes.

    A version is old if no branch or tag was last seen at its commit, and no pin, built-in recipe, placed view or lock
    of an app has it: of an app that has used the library, or of one of `recipes`.
    """
    old = old_versions(library, recipes) if prune_options.old else []
    plan = sweep.plan(young_s=prune_options.young_s, gone=tuple(snapshot.ref for snapshot in old))
    kept = keepers(old, plan, library)
    memory = list_leftovers(str(library.root / FOLDER))
    if prune_options.memory:
        memory += [(saved.folder, saved.size) for saved in list_saved(str(library.root / FOLDER))]
    return RemovalPlan(
        tuple(old),
        plan,
        kept,
        old=True,
        forget=prune_options.forget,
        memory=tuple(memory),
        unread=prune_options.unread,
    )
