"""Pulling: download models and the needs of apps into the library, and place their views.

Modules that only some pulls use are imported on use: importing them takes a tenth of the time of a small pull.
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
    """Result of a pull: a snapshot of each model; `size` and `fetched`, the part that was missing, are in bytes.

    `received` counts all bytes received from the network, including responses of the hubs' APIs.
    """

    snapshots: tuple[Snapshot, ...]
    size: int
    fetched: int
    received: int


def pull_all(what: Sequence[str], session: Session, files: Sequence[str] = (), views: Views = ()) -> Pulls:
    """Pull models and apps by name, then place the `views`; `files` are patterns that select files of the models.

    Existing files in the folders of apps and views are checked first, and are not downloaded.
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
    """Report what `pull_all` would download for each need, and measure the download rate; write nothing."""
    from preheat.verbs.dry_run import look_ahead

    needs: list[Need] = []
    for words in what:
        needs += session.recipe(words).needs if session.names_app(words) else [Need(Ref.parse(words), tuple(files))]
    return [
        look_ahead(session.sources(need), session.library, session.wish(need), session.on_event, session.patience)
        for need in needs
    ]


def pull_needs(recipe: Recipe, session: Session) -> list[PullResult]:
    """Pull a recipe's needs. For needs with `at`, existing files in that folder are checked before any download.

    Raise UsageError or Occupied if a need cannot be placed in its folder.
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
    """Pull a model, after checking existing files in the folders of its views."""
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

    # Pinned commits first: views placed later win, and a branch must name the commit that was just pulled for it.
    ordered = sorted(snapshots, key=lambda one: not one.ref.pinned)
    return [
        site_at(snapshot, session.library, view, at, session.permissions) for view, at in views for snapshot in ordered
    ]


def _warn(recipe: Recipe, session: Session) -> None:
    """Emit a warning if the recipe is not verified."""
    verified, _, reason = recipe.verified.partition(":")
    if verified.strip() == "no":
        reason = reason.strip()
        session.on_event(Noted(recipe.name, f"this recipe is not verified{': ' if reason else ''}{reason}"))
