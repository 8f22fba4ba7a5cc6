"""Pulling: download models and the needs of apps into the library, and place their views.

Modules that only some pulls use are imported on use: importing them takes a tenth of the time of a small pull.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from preheat.core.events import Noted
from preheat.core.ref import Ref
from preheat.recipes.recipe import Need
from preheat.verbs.pull import carry_out, resolve_policy
from preheat.verbs.pull_plan import plan_need, plan_pull

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from preheat.api.session import Session
    from preheat.core.snapshot import Snapshot
    from preheat.recipes.recipe import Recipe
    from preheat.verbs.placing.allowed_places import Site
    from preheat.verbs.pull import PullResult
    from preheat.verbs.pull_plan import NeedPlan, PullPlan
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


def plan_all(what: Sequence[str], session: Session, files: Sequence[str] = (), views: Views = ()) -> PullPlan:
    """Resolve models and apps by name, and plan their downloads and views; change nothing.

    `files` are patterns that select files of the models. Existing files in the folders of apps and views are checked,
    and are not downloaded again. Raise HubError for a model, revision or file that no hub has, UsageError for a view
    that is outside its folder.
    """
    needs: list[NeedPlan] = []
    sites: list[Site] = []
    for words in what:
        if session.names_app(words):
            recipe = session.recipe(words)
            _check(recipe, session)
            some, theirs = _plan_recipe(recipe, session)
        else:
            some, theirs = [_plan_need(Need(Ref.parse(words), tuple(files)), session)], []
        needs += some
        sites += theirs
    if views:
        sites += _sites_at(views, [need.wanted for need in needs], session)
    return _planned(needs, sites, session)


def pull_all(plan: PullPlan, session: Session, before: int = 0) -> Pulls:
    """Download the plan's missing files, and place its views.

    `before`: the bytes that the session had received before the plan was made. Raise LibraryError or Occupied, before
    anything is changed, if the plan cannot be carried out; raise HubError or IntegrityError if a download fails.
    """
    pulled = _carry_out(plan, session)
    if plan.views is not None:
        plan.views.place(session.library, session.on_event)
    return Pulls(
        tuple(one.snapshot for one in pulled),
        plan.size,
        sum(one.fetched for one in pulled),
        session.transport.received - before,
    )


def pull_needs(recipe: Recipe, session: Session) -> None:
    """Pull a recipe's needs, without placing their views; raise as `plan_all` and `pull_all` do."""
    _carry_out(_planned(*_plan_recipe(recipe, session), session), session)


def _carry_out(plan: PullPlan, session: Session) -> tuple[PullResult, ...]:
    return carry_out(plan, session.library, session.policy, session.on_event)


def _planned(needs: Sequence[NeedPlan], sites: Sequence[Site], session: Session) -> PullPlan:
    views = None
    if sites:
        from preheat.verbs.placing.view_plan import plan_views

        views = plan_views(sites, session.library, session.on_event, session.permissions)
    return plan_pull(needs, session.library, views)


def _plan_need(need: Need, session: Session) -> NeedPlan:
    selection, patience = session.selection(need), resolve_policy(session.policy)
    return plan_need(session.sources(need), session.library, session.on_event, selection, patience)


def _plan_recipe(recipe: Recipe, session: Session) -> tuple[list[NeedPlan], list[Site]]:
    from preheat.verbs.view import sites_of

    needs = [_plan_need(need, session) for need in recipe.needs]
    chosen = [(need, plan.wanted) for need, plan in zip(recipe.needs, needs, strict=True)]
    return needs, sites_of(recipe, chosen, session.library, session.app_view, session.permissions)


def _sites_at(views: Views, snapshots: Sequence[Snapshot], session: Session) -> list[Site]:
    from preheat.verbs.view import site_at

    # Pinned commits first: views placed later replace earlier ones, and the branch must lead to the commit pulled now.
    ordered = sorted(snapshots, key=lambda one: not one.ref.pinned)
    return [
        site_at(snapshot, session.library, view, at, session.permissions) for view, at in views for snapshot in ordered
    ]


def _check(recipe: Recipe, session: Session) -> None:
    """Raise UsageError if a view is outside its folder. Emit a warning if the recipe is not verified."""
    from preheat.verbs.placing.allowed_places import require_inside

    require_inside(recipe, session.permissions)
    verified, _, reason = recipe.verified.partition(":")
    if verified.strip() == "no":
        reason = reason.strip()
        session.on_event(Noted(recipe.name, f"this recipe is not verified{': ' if reason else ''}{reason}"))
