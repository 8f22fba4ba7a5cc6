"""Locked needs: a recipe's needs in the library, as its lock says, with bytes unchanged since hashing."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from preheat.core.errors import IntegrityError
from preheat.core.events import Listener
from preheat.core.snapshot import Snapshot
from preheat.library.digest_check import require_held
from preheat.library.library import Library
from preheat.recipes.recipe import Need, Recipe
from preheat.verbs.upkeep.verify import verify

Required = Sequence[tuple[Need, Snapshot]]

_LOCKED = "preheat pull APP downloads what the lock names, and takes no other bytes"


def require(recipe: Recipe, library: Library, on_event: Listener) -> Required:
    """Find all that the recipe needs, named as the app asks for it; pinned commits first, so that branches win.

    Every verb that uses a recipe's files has them from here. A file has the digest that the lock says, where there is
    one, and is the file that had it when it was hashed: what looks touched is hashed again, and quarantined if it
    changed. Raise NotPreloaded for what is not here, IntegrityError for bytes that are not what the lock says, and
    where changed ones cannot be quarantined.
    """
    look_over(library, [snapshot for _, snapshot in _all(recipe, library)], on_event)
    # What was quarantined is missing now.
    return sorted(_all(recipe, library), key=lambda one: not one[1].ref.pinned)


def required(need: Need, library: Library) -> Snapshot:
    """Return the files of a need, all of them here; of a locked one by the lock's digests. Raise as `require` does."""
    if need.locked is None:
        return library.require(need.ref, need.files)
    locked = need.locked
    if need.partly:
        recorded = library.find(need.ref)
        if recorded is None:
            return library.require(need.ref, need.files)
        # The record's digests give way to the lock's: `require_held` holds its blobs against them.
        wanted = recorded.only(need.files)
        named = (locked.file(file.path) or file for file in wanted.files)
        locked = replace(wanted, files=tuple(named))
    return require_held(library, locked, _LOCKED)


def look_over(library: Library, snapshots: Iterable[Snapshot], on_event: Listener) -> None:
    """See that nobody wrote into the library's blobs; hash again what looks touched, and quarantine what is changed.

    What is quarantined is missing then. Raise IntegrityError where it cannot be, as the library cannot be written.
    """
    touched = [replace(snapshot, files=library.suspicious(snapshot)) for snapshot in snapshots]
    if not any(snapshot.files for snapshot in touched):
        return
    left = verify(library, touched, 0, on_event).left
    if left and not library.writable:
        raise IntegrityError(
            f"{library.root} has {left[0]}, and it is not what its name says",
            hint="preheat verify, where the library can be written",
        )


def _all(recipe: Recipe, library: Library) -> list[tuple[Need, Snapshot]]:
    return [(need, asked_for(need, required(need, library))) for need in recipe.needs]


def asked_for(need: Need, snapshot: Snapshot) -> Snapshot:
    """Name it as the app does: by its branch, where a lock has pinned it."""
    return replace(snapshot, ref=snapshot.ref.at(need.asked_as)) if need.asked_as else snapshot
