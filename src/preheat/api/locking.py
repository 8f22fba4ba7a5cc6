"""Locking: pin an app's needs in its lock, compare the lock with its hubs, and start the app from it alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from preheat.api.naming.similar_models import naming_similar
from preheat.core.errors import CheckFailed
from preheat.recipes.builtin_recipes import is_built_in, shipped_lock
from preheat.recipes.lock_file import lock_path, read_lock
from preheat.verbs.lock import keep_lock, moved, pin

if TYPE_CHECKING:
    from pathlib import Path

    from preheat.api.session import Session
    from preheat.recipes.lock_file import Lock
    from preheat.recipes.recipe import Recipe
    from preheat.verbs.lock import Moved
    from preheat.verbs.tracing.replaying.replay import ReplayVerdict


@dataclass(frozen=True, slots=True)
class LockChanges:
    """A lock at `path` beside what its hubs list now.

    `now`: the current commits, sizes and digests. `moved`: the needs whose files have changed. `stale`: a sentence for
    each difference between recipe and lock.
    """

    path: Path
    now: Lock
    moved: tuple[Moved, ...]
    stale: tuple[str, ...] = ()

    @property
    def up_to_date(self) -> bool:
        """Return whether neither the recipe nor a hub has changed since the lock was written."""
        return not (self.moved or self.stale)


def lock_app(app: str | None, session: Session) -> LockChanges:
    """Pin an app's needs, and write the lock beside its recipe; return what has changed since the lock before."""
    recipe, before = _read(app, session)
    with naming_similar(session):
        now = pin(recipe, session.sources, session.on_event, session.patience, before)
    path = lock_path(recipe)
    keep_lock(path, now)
    return LockChanges(path, now, moved(before, now) if before is not None else ())


def check_app_lock(app: str | None, session: Session) -> LockChanges:
    """Compare an app's lock with its recipe and its hubs; change nothing. Raise CheckFailed if there is no lock."""
    recipe, before = _read(app, session)
    before = _required(recipe, before)
    with naming_similar(session):
        now = pin(recipe, session.sources, session.on_event, session.patience, before)
    return LockChanges(lock_path(recipe), now, moved(before, now), before.stale(recipe))


def replay_locked(app: str | None, session: Session, *, overlay: bool = False) -> tuple[Recipe, ReplayVerdict]:
    """Start an app from its lock and the library alone, without a network; return the recipe and the verdict.

    `overlay`: see TraceTerms. Raise CheckFailed if the lock is missing or stale.
    """
    from preheat.api.tracing import replay_app

    recipe, before = _read(app, session)
    before = _required(recipe, before)
    if stale := before.stale(recipe):
        raise CheckFailed(f"{lock_path(recipe)} is stale: {'; '.join(stale)}", hint="to update it: preheat lock")
    return recipe, replay_app(before.apply(recipe), session, overlay=overlay)


def _read(app: str | None, session: Session) -> tuple[Recipe, Lock | None]:
    """Return an app's recipe, with the digests that are shipped with a built-in one, and its lock."""
    recipe = session.unlocked_recipe(app)
    before = read_lock(lock_path(recipe))
    return shipped_lock(app, recipe.folder).apply(recipe) if app and is_built_in(app) else recipe, before


def _required(recipe: Recipe, lock: Lock | None) -> Lock:
    if lock is None:
        raise CheckFailed(f"{recipe.name} has no lock at {lock_path(recipe)}", hint="preheat lock")
    return lock
