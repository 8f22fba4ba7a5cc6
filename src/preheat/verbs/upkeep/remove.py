"""Remove: delete versions of a model, and the blobs that only they need."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from preheat.core.errors import LibraryError, NotPreloaded, PreheatError, UsageError, did_you_mean
from preheat.core.events import Listener, Noted
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.core.units import say_seconds
from preheat.guard.memory_snapshot.saved_memory import remove as remove_saved
from preheat.library.library import Library
from preheat.library.records.claims import PULL
from preheat.library.records.unread_files import UnreadFiles
from preheat.library.upkeep.sweep import Sweep
from preheat.verbs.upkeep.noted_apps import app_not_model
from preheat.verbs.upkeep.removal_plan import Keeper, RemovalPlan, keepers


@dataclass(frozen=True, slots=True)
class Removal:
    """The removed versions, the numbers of removed blobs and leftovers, and the bytes that were freed on disk.

    `kept_by`: what keeps other bytes of the versions on disk.
    """

    versions: tuple[Ref, ...]
    blobs: int
    leftovers: int
    size: int
    kept_by: tuple[Keeper, ...] = ()


def recorded(ref: Ref, library: Library) -> Snapshot:
    """Return the recorded snapshot of a ref. Raise LibraryError if there is none."""
    snapshot = library.find(ref)
    if snapshot is None:
        raise not_recorded(ref, library)
    return snapshot


def typed_model(words: str, library: Library) -> Ref:
    """Return the ref of a model that a user typed. Raise UsageError, which says so if the words name an app."""
    try:
        return Ref.parse(words)
    except UsageError:
        app = app_not_model(words, library)
        if app is not None:
            raise app from None
        raise


def not_recorded(ref: Ref, library: Library, typed: str = "") -> PreheatError:
    """Return the error for a model that the library has no record of, as `typed`; it names the most similar one.

    If the words name an app, the error says so.
    """
    app = app_not_model(typed or ref.repo, library)
    if app is not None:
        return app
    known = {str(record.ref.at(record.ref.branch)) for record in library.records.listed()}
    name = str(ref.at(ref.branch)).partition(":")[2]
    owned = any(one.partition(":")[2].startswith(f"{name}/") for one in known)
    hint = f"its models: preheat ls '{name}/*'; " if owned else did_you_mean(name, known)
    return NotPreloaded(f"{typed or ref} is not in {library.root}", hint=f"{hint}to list all models: preheat ls")


def versions_of(ref: Ref, library: Library) -> list[Snapshot]:
    """Return all versions of a ref's model. Raise LibraryError if there is none."""
    found = [
        snapshot
        for record in library.records.listed()
        if record.ref.at("") == ref.at("") and (snapshot := library.find(record.ref)) is not None
    ]
    if not found:
        raise not_recorded(ref, library)
    return found


def plan_removal(versions: Sequence[Snapshot], library: Library, sweep: Sweep) -> RemovalPlan:
    """Plan to remove `versions`, and the blobs that nothing else needs. Raise LibraryError if one of them is pinned."""
    _require_unpinned(versions, library)
    refs = tuple(snapshot.ref.at(snapshot.commit) for snapshot in versions)
    plan = sweep.plan(only={str(file.digest) for snapshot in versions for file in snapshot.files}, gone=refs)
    return RemovalPlan(tuple(versions), plan, keepers(versions, plan, library))


def carry_out(plan: RemovalPlan, library: Library, sweep: Sweep, on_event: Listener) -> Removal:
    """Remove what the plan lists, except what is in use by now.

    Raise LibraryError if one of the versions has been pinned, before anything is changed.
    """
    _require_unpinned(plan.snapshots, library)
    plan.tell(on_event)
    for snapshot in plan.snapshots:
        if plan.old:
            library.records.drop(snapshot)
        else:
            library.records.remove(snapshot)
    for snapshot in back_in_use(plan.snapshots, library) if plan.old else ():
        library.records.write(snapshot)
    if plan.forget is not None:
        library.claims.tidy(plan.forget)
        library.marks.tidy()
        library.apps.tidy()

    def wait(seconds: float) -> None:
        words = f"waiting {say_seconds(seconds)}, until changes by other machines appear"
        on_event(Noted(str(library.root), words))
        time.sleep(seconds)

    size = sweep.carry_out(plan.sweep, wait)
    if plan.unread:
        notes = UnreadFiles(library.root)
        gone = {str(name) for blob in plan.sweep.blobs for name in blob.names if not library.has(name)}
        notes.drop(version for version, files in notes.all().items() if files <= gone)
    for folder, bytes_freed in plan.memory:
        remove_saved(folder)
        size += bytes_freed
    return Removal(plan.versions, len(plan.sweep.blobs), len(plan.sweep.leftovers), size, plan.kept_by)


def back_in_use(old: Sequence[Snapshot], library: Library) -> list[Snapshot]:
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


def _require_unpinned(versions: Sequence[Snapshot], library: Library) -> None:
    for snapshot in versions:
        if snapshot in library.pins:
            ref = snapshot.ref.at(snapshot.commit)
            raise LibraryError(f"{ref} is pinned", hint=f"preheat unpin {ref}, then remove it")
