"""Stage: fill a node's own disk with the files of apps and models before a job; without a download if it has them."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.api.pulling import pull_needs, typed_need
from preheat.api.staging.stage_session import StageSession
from preheat.core.errors import HubError, LibraryError, NotPreloaded
from preheat.core.events import Noted
from preheat.core.ref import FOLDER, MODELSCOPE, URL
from preheat.core.values.replace import replace
from preheat.recipes.recipe import FILE_NAME, Recipe
from preheat.verbs.locked_needs import fitting, required, unmodified
from preheat.verbs.placing.place import place_sites
from preheat.verbs.staging.make_room import Removed, StageLimits, make_room
from preheat.verbs.staging.stage_notes import StageNote, StageNotes, require_job
from preheat.verbs.view import sites_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from preheat.api.session import Session
    from preheat.core.snapshot import Snapshot
    from preheat.recipes.recipe import Need
    from preheat.verbs.pull_plan import PullPlan

# How long needs that no source had are not looked for again.
_ABSENT_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTerms:
    """Options of a stage in the folder `to`; see docs/stage.md.

    `mirrors`: addresses of mirrors that are asked first, the nearest first. `limits`: what is removed to make room.
    `hold`: a job that uses the files until it is released; empty for none.
    """

    to: Path
    mirrors: tuple[str, ...] = ()
    limits: StageLimits = field(default_factory=StageLimits)
    hold: str = ""


@dataclass(frozen=True, slots=True)
class Staged:
    """What a stage has now: the versions in it, `size` bytes in all, of which `fetched` were copied or downloaded.

    `received`: bytes of all responses from the network. `removed`: what went to make room. `environ`: the variables
    that lead programs to the files.
    """

    library: Path
    apps: tuple[str, ...]
    snapshots: tuple[Snapshot, ...]
    size: int
    fetched: int
    received: int
    removed: Removed
    environ: Mapping[str, str]


class _Staging:
    """One app that is being staged, and the figures so far."""

    def __init__(self, recipe: Recipe, session: StageSession, terms: StageTerms) -> None:
        self.recipe = recipe
        self.session = session
        self.terms = terms
        self.notes = StageNotes(session.library.root)
        self.name = _name(recipe)
        self.fetched = 0
        self.removed = Removed()


def stage(what: Sequence[str], files: Sequence[str], terms: StageTerms, session: Session) -> Staged:
    """Fill a stage with apps and models by name, by default the app in this folder; return what it has.

    Without a request, and without reading the shared library, if all is there and the refs are commits or locked.
    Raise as a pull does; NoSpace if what other jobs use leaves too little room.
    """
    if terms.hold:
        require_job(terms.hold)
    own = StageSession(session, terms.to.absolute(), terms.mirrors)
    recipes = _recipes(what or [FILE_NAME], files, own)
    snapshots: list[Snapshot] = []
    environ = {"PREHEAT_LIBRARY": str(own.library.root)}
    fetched, removed = 0, Removed()
    for recipe in recipes:
        staging = _Staging(recipe, own, terms)
        found, placed = _stage_one(staging)
        snapshots += found
        environ |= placed
        fetched += staging.fetched
        removed = _both(removed, staging.removed)
    sizes = {file.digest: file.size for snapshot in snapshots for file in snapshot.files}
    return Staged(
        own.library.root,
        tuple(recipe.name for recipe in recipes),
        tuple(snapshots),
        sum(sizes.values()),
        fetched,
        own.received if fetched else 0,
        removed,
        environ,
    )


def release(job: str, terms: StageTerms, session: Session) -> Removed:
    """Release what a job holds in a stage, and remove what the limits no longer allow; return what was removed."""
    require_job(job)
    own = StageSession(session, terms.to.absolute(), ())
    root = own.library.root
    if not root.is_dir():
        return Removed()
    notes = StageNotes(root)
    with notes.locked():
        notes.release(job)
        return make_room(own.library, terms.limits, own.on_event)


def _recipes(what: Sequence[str], files: Sequence[str], session: StageSession) -> list[Recipe]:
    """Return the recipes of the apps, and one for all models together, whose views are then in the same folders."""
    models, recipes = [], []
    for words in what:
        if session.names_app(words):
            recipes.append(session.recipe(words))
        else:
            models.append(_with_view(typed_need(words, files)))
    if models:
        name = models[0].stored.slug if len(models) == 1 else f"models-{_short(models)}"
        recipes.append(Recipe(name, Path.cwd(), needs=tuple(models)))
    return recipes


def _with_view(need: Need) -> Need:
    hub = need.ref.hub
    return replace(need, view="modelscope-old" if hub == MODELSCOPE else "flat" if hub in (URL, FOLDER) else need.view)


def _stage_one(staging: _Staging) -> tuple[list[Snapshot], dict[str, str]]:
    """Return an app's snapshots in the stage, and the variables of its views; download what is missing."""
    recipe, session, notes = staging.recipe, staging.session, staging.notes
    if all(need.locked is not None or need.stored.pinned for need in recipe.needs):
        found = _staged(staging)
        if found is not None:
            return found
    if not session.library.writable:
        raise LibraryError(
            f"{recipe.name} is not staged in {session.library.root}, which is read-only for this user",
            hint="stage it as the user who owns that folder, or in another one: --to DIR",
        )
    try:
        recipe = pull_needs(recipe, session, lambda plan: _make_room(plan, staging))
    except HubError as error:
        found = _staged(staging)
        if found is None:
            raise
        session.on_event(Noted(recipe.name, f"{error.message}; it is used as it was staged last"))
        return found
    with notes.locked():
        needed = _needed(recipe, session)
        placed = _place(recipe, needed, session)
        left = [str(need.ref) for need in staging.recipe.needs if need not in {one for one, _ in needed}]
        versions = tuple(dict.fromkeys(snapshot.ref.at(snapshot.commit) for _, snapshot in needed))
        notes.write(StageNote(staging.name, recipe.name, versions, (recipe.name,), tuple(left), time.time()))
        notes.use(staging.name, staging.terms.hold)
    return [snapshot for _, snapshot in needed], placed


def _staged(staging: _Staging) -> tuple[list[Snapshot], dict[str, str]] | None:
    """Return an app's snapshots in the stage, if they are as complete as when it was staged; else None."""
    session, notes = staging.session, staging.notes
    with notes.locked(shared=True):
        note = notes.find(staging.name)
        if note is None or (note.left_out and time.time() - note.looked_at > _ABSENT_S):
            return None
        recipe = replace(
            staging.recipe, needs=tuple(need for need in staging.recipe.needs if str(need.ref) not in note.left_out)
        )
        try:
            needed = unmodified(recipe, session.library, session.on_event)
        except (NotPreloaded, HubError):
            return None
        if len(needed) < len(recipe.needs):
            return None
        if session.settings.unsafe_files == "refuse":
            from preheat.verbs.scan import REFUSE, scan_and_report  # hardly ever needed, and a job waits for it

            for _, snapshot in needed:
                scan_and_report(snapshot.files, session.library, REFUSE, session.on_event)
        placed = _place(recipe, needed, session)
        notes.use(staging.name, staging.terms.hold)
    return [snapshot for _, snapshot in needed], placed


def _needed(recipe: Recipe, session: Session) -> list[tuple[Need, Snapshot]]:
    """Return the needs that are in the library, with their snapshots; an event reports each other one."""
    found = []
    for need in recipe.needs:
        try:
            snapshot = required(need, session.library)
        except (NotPreloaded, HubError) as error:
            session.on_event(Noted(str(need.ref), f"not staged: {error.message}"))
            continue
        found.append((need, snapshot.named(snapshot.ref.at(need.asked_as)) if need.asked_as else snapshot))
    return sorted(found, key=lambda one: not one[1].ref.pinned)


def _place(recipe: Recipe, needed: Sequence[tuple[Need, Snapshot]], session: Session) -> dict[str, str]:
    """Place the views that are in the library itself; `run` places those in the app's own folder."""
    fit = fitting(recipe, session.on_event).needs
    inside = [(need, snapshot) for need, snapshot in needed if not need.at and need in fit]
    sites = sites_of(recipe, inside, session.library, session.app_view, session.permissions)
    return place_sites(sites, session.library, session.on_event, session.permissions)


def _make_room(plan: PullPlan, staging: _Staging) -> bool:
    staging.fetched = plan.missing
    limits = staging.terms.limits
    if not plan.disks[0].needed or not (limits.size or limits.age_s):
        return False
    with staging.notes.locked():
        removed = make_room(
            staging.session.library,
            limits,
            staging.session.on_event,
            plan.disks[0].needed,
            staging.name,
        )
    staging.removed = _both(staging.removed, removed)
    return bool(removed.apps)


def _both(one: Removed, other: Removed) -> Removed:
    return Removed(one.apps + other.apps, one.size + other.size)


def _name(recipe: Recipe) -> str:
    """Return the name of an app's note: another lock, or other files, make another note."""
    return f"{recipe.name[:100]}-{_short([(need, _commit(need)) for need in recipe.needs])}"


def _commit(need: Need) -> str:
    return need.locked.commit if need.locked is not None else ""


def _short(value: object) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogateescape")).hexdigest()[:16]
