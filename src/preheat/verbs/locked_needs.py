"""Locked needs: find a recipe's files in the library, with the digests from its lock, unchanged since hashing."""

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate

from preheat.core.errors import HubError, IntegrityError, NotPreloaded
from preheat.core.events import Listener, Noted
from preheat.core.ref import MADE
from preheat.core.snapshot import GLOB, File, Snapshot
from preheat.core.values.replace import replace
from preheat.library.digest_check import require_known
from preheat.library.library import Library
from preheat.recipes.app_python import AppPython
from preheat.recipes.optional_needs import UnlessOptional
from preheat.recipes.recipe import Need, Recipe

Required = Sequence[tuple[Need, Snapshot]]


def require(recipe: Recipe, library: Library, on_event: Listener) -> Required:
    """Return a recipe's needs with their snapshots from the library, named by the revision that the app requests.

    Pinned commits come first, so that the views of branches, which are placed later, replace theirs. Every verb that
    uses a recipe's files gets them here. Files match the lock's digests, if there is a lock. Blobs that look modified
    since they were hashed are hashed again, and quarantined if they changed. Optional needs whose files are missing are
    left out, each with an event. Raise NotPreloaded for missing files of the others, and IntegrityError for files that
    do not match the lock or that changed and cannot be quarantined.
    """
    found = unmodified(recipe, library, on_event)
    report_missing(recipe, library, on_event, found)
    return found


def unmodified(recipe: Recipe, library: Library, on_event: Listener) -> Required:
    """Return the result of `require`, without an event for each optional need that is left out."""
    found = all_required(recipe, library)
    if rehash_modified(library, [snapshot for _, snapshot in found], on_event):
        found = all_required(recipe, library)  # quarantined blobs are now missing
    return found


def report_missing(recipe: Recipe, library: Library, on_event: Listener, found: Required = ()) -> None:
    """Emit an event for each optional need whose files are missing from the library. Those `found` are not missing."""
    here = {need for need, _ in found}
    for need in recipe.needs:
        if need.optional and need not in here:
            with UnlessOptional(need, on_event):
                required(need, library)


def required(need: Need, library: Library, app: str = "APP") -> Snapshot:
    """Return the snapshot of a need, with the lock's digests if it is locked. Raise as `require` does.

    `app` is what to type for the recipe in a hint.
    """
    hint = need.ref.how_to_get if need.ref.hub == MADE else f"preheat pull {app}".rstrip()
    try:
        return _required(need, library, hint)
    except NotPreloaded as error:
        error.hint = hint
        raise


def _required(need: Need, library: Library, hint: str) -> Snapshot:
    if need.locked is None:
        return library.require(need.stored, need.files)
    locked = need.locked
    if need.partly:
        recorded = library.find(need.stored)
        if recorded is None:
            return library.require(need.stored, need.files)
        # The lock's digests replace the recorded ones; `require_known` compares the blobs with them.
        wanted = recorded.only(need.files)
        library.require_files(replace(wanted, files=()), hint)
        named = (locked.file(file.path) or file for file in wanted.files)
        locked = replace(wanted, files=tuple(named))
    return require_known(library, locked, hint)


def fitting(recipe: Recipe, on_event: Listener) -> Recipe:
    """Return the recipe without needs that an app's start made in another environment, each with a note of why."""
    kept = []
    for need in recipe.needs:
        reasons = unfit(recipe, need)
        if reasons:
            why = f"not used, because it was made in another environment: {'; '.join(reasons)}"
            on_event(Noted(str(need.ref), why))
        else:
            kept.append(need)
    return recipe if len(kept) == len(recipe.needs) else replace(recipe, needs=tuple(kept))


def unfit(recipe: Recipe, need: Need) -> tuple[str, ...]:
    """Return why the files of a need do not fit the app's environment; empty if they do."""
    if need.depends is None:
        return ()
    python = recipe.places.python if recipe.places is not None else None
    return need.depends.fits(python or AppPython())


def rehash_modified(library: Library, snapshots: Iterable[Snapshot], on_event: Listener) -> bool:
    """Hash again the blobs that look modified, and quarantine those that changed; these are then missing.

    Return whether any blob changed. Raise IntegrityError if one changed and the library is read-only.
    """
    snapshots = tuple(snapshots)
    touched = {file.digest for file in library.touched(file for one in snapshots for file in one.files)}
    if not touched:
        return False
    from preheat.verbs.upkeep.verify import verify  # hardly ever needed, and the app waits for it

    some = [replace(one, files=tuple(file for file in one.files if file.digest in touched)) for one in snapshots]
    checked = verify(library, some, 0, on_event)
    if checked.left and not library.writable:
        raise IntegrityError(
            f"{checked.left[0]} in {library.root} does not match its digest",
            hint="on a machine that can write to the library: preheat verify",
        )
    return bool(checked.rotten)


def all_required(recipe: Recipe, library: Library) -> Required:
    """Return the result of `require`, without hashing any blob again, and without events."""
    app = recipe.typed
    found = []
    for need in recipe.needs:
        with UnlessOptional(need):
            found.append((need, as_requested(need, required(need, library, app))))
    return sorted(found, key=lambda one: not one[1].ref.pinned)


def missing_needs(recipe: Recipe, library: Library) -> tuple[Need, ...]:
    """Return the needs, without optional ones, of which the library lacks a file; no blob is hashed again."""

    def is_missing(need: Need) -> bool:
        try:
            required(need, library)
        except (NotPreloaded, HubError, IntegrityError):  # HubError: no recorded file matches a pattern
            return True
        return False

    return tuple(need for need in recipe.needs if not need.optional and is_missing(need))


def as_requested(need: Need, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot under the revision that the app requests: its branch, if a lock pinned the need."""
    return snapshot.named(snapshot.ref.at(need.asked_as)) if need.asked_as else snapshot


def ordered_weights(recipe: Recipe, needed: Required, library: Library) -> tuple[str, ...]:
    """List the blobs of the recipe's needs, in the order in which the recipe lists them."""
    turns = {need: turn for turn, need in enumerate(recipe.needs)}
    found: list[File] = []
    for need, snapshot in sorted(needed, key=lambda one: turns[one[0]]):
        files = snapshot.files
        found += sorted(files, key=_turns(need)) if need.files else files
    return tuple(library.location(file.digest) for file in found)


def _turns(need: Need) -> Callable[[File], int]:
    """Return a function that returns the place of a file in the need's list of names and patterns."""
    names = {pattern: turn for turn, pattern in reversed(tuple(enumerate(need.files)))}
    globs = [(turn, re.compile(translate(name)).match) for name, turn in names.items() if GLOB.intersection(name)]

    def turn(file: File) -> int:
        matching = [turn for turn, match in globs if match(file.path)]
        return min([*matching, names.get(file.path, len(need.files))])

    return turn
