"""Pulling: models, and all that apps need, into the library and to where they are looked for.

What only some pulls do is imported where they do it: it is a tenth of a small one's time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from preheat.core.events import Noted
from preheat.core.ref import Ref
from preheat.recipes.recipe import Need
from preheat.verbs.pull import pull as pull_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from preheat.api.session import Session
    from preheat.core.snapshot import Snapshot
    from preheat.recipes.recipe import Recipe
    from preheat.verbs.dry_run import Outlook
    from preheat.verbs.placing.allowed_places import Site
    from preheat.verbs.pull import Choice, PullResult
    from preheat.views.view_protocol import View

    Views = Sequence[tuple[View, Path]]


@dataclass(frozen=True, slots=True)
class Pulls:
    """What a pull brought: a snapshot of each model; in bytes, their `size`, and what of it was `fetched`.

    `received` counts the bytes that came over the network, answers of the hubs' APIs included.
    """

    snapshots: tuple[Snapshot, ...]
    size: int
    fetched: int
    received: int


def pull_all(what: Sequence[str], session: Session, files: Sequence[str] = (), views: Views = ()) -> Pulls:
    """Pull models and apps, by their names; of a model, the `files` that match a pattern. Then place the `views`.

    What lies in the places of apps and views is looked at first: bytes that are there are not downloaded.
    """
    before = session.transport.received
    pulled: list[PullResult] = []
    for words in what:
        if session.names_app(words):
            pulled += _pull_app(session.recipe(words), session)
        else:
            pulled.append(_pull_ref(Need(Ref.parse(words), tuple(files)), views, session))
    if views:
        from preheat.verbs.placing.place import place_sites

        sites = _sites_at(views, [one.snapshot for one in pulled], session)
        place_sites(sites, session.library, session.on_event, session.permissions)
    return Pulls(
        tuple(one.snapshot for one in pulled),
        sum(one.snapshot.size for one in pulled),
        sum(one.fetched for one in pulled),
        session.transport.received - before,
    )


def look_ahead_all(what: Sequence[str], session: Session, files: Sequence[str] = ()) -> list[Outlook]:
    """Find out what `pull_all` would bring, need by need, and try the line for a moment; write nothing."""
    from preheat.verbs.dry_run import look_ahead

    needs: list[Need] = []
    for words in what:
        needs += session.recipe(words).needs if session.names_app(words) else [Need(Ref.parse(words), tuple(files))]
    return [
        look_ahead(session.sources(need), session.library, session.wish(need), session.on_event, session.patience)
        for need in needs
    ]


def pull_needs(recipe: Recipe, session: Session) -> list[PullResult]:
    """Pull a recipe's needs. What has a place outside the library is looked for there first, before any download.

    Raise UsageError or Occupied where it could not be placed there.
    """
    choices = {need: _choose(need, session) for need in recipe.needs if need.at}
    if choices:
        from preheat.verbs.placing.place import take_in
        from preheat.verbs.view import sites_of

        chosen = [(need, choice.wanted) for need, choice in choices.items()]
        sites = sites_of(recipe, chosen, session.library, session.app_view, session.permissions)
        take_in(sites, session.library, session.on_event, session.permissions)
    return [_pull(need, choices.get(need), session) for need in recipe.needs]


def _pull_ref(need: Need, views: Views, session: Session) -> PullResult:
    """Pull a model, after a look at what already lies where its views are to be."""
    if not views:
        return _pull(need, None, session)
    from preheat.verbs.placing.place import take_in

    choice = _choose(need, session)
    take_in(_sites_at(views, [choice.wanted], session), session.library, session.on_event, session.permissions)
    return _pull(need, choice, session)


def _choose(need: Need, session: Session) -> Choice:
    from preheat.verbs.pull import choose

    return choose(session.sources(need), session.library, session.policy, session.on_event, session.wish(need))


def _pull(need: Need, choice: Choice | None, session: Session) -> PullResult:
    return pull_model(
        session.sources(need), session.library, session.policy, session.on_event, session.wish(need), choice
    )


def _pull_app(recipe: Recipe, session: Session) -> list[PullResult]:
    from preheat.verbs.placing.allowed_places import require_inside
    from preheat.verbs.view import place_needs

    require_inside(recipe, session.permissions)
    _warn(recipe, session)
    pulled = pull_needs(recipe, session)
    place_needs(recipe, session.library, session.app_view, session.on_event, permissions=session.permissions)
    return pulled


def _sites_at(views: Views, snapshots: Sequence[Snapshot], session: Session) -> list[Site]:
    from preheat.verbs.view import site_at

    # The pinned first: what a branch names is what it should mean after.
    ordered = sorted(snapshots, key=lambda one: not one.ref.pinned)
    return [
        site_at(snapshot, session.library, view, at, session.permissions) for view, at in views for snapshot in ordered
    ]


def _warn(recipe: Recipe, session: Session) -> None:
    """Say what nobody has checked."""
    verified, _, reason = recipe.verified.partition(":")
    if verified.strip() == "no":
        reason = reason.strip()
        session.on_event(Noted(recipe.name, f"this recipe is not verified{': ' if reason else ''}{reason}"))
