"""Pulling: download models and the needs of apps into the library, and place their views.

Modules that only some pulls use are imported on use: importing them takes a tenth of the time of a small pull.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from preheat.api.naming.similar_models import naming_similar
from preheat.core.errors import HubError, NotPreloaded
from preheat.core.events import Noted, OptionalMissing
from preheat.core.ref import ARCHIVES, MADE, URL, Ref
from preheat.core.values.replace import replace
from preheat.net.retry import HASTY
from preheat.recipes.optional_needs import UnlessOptional
from preheat.recipes.recipe import Need
from preheat.verbs.pull import carry_out, resolve_policy
from preheat.verbs.pull_plan import NeedPlan, plan_need, plan_pull
from preheat.verbs.upkeep.noted_apps import note_app
from preheat.views.view_protocol import AppView

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from preheat.api.session import Session
    from preheat.core.snapshot import Snapshot
    from preheat.recipes.recipe import Recipe
    from preheat.verbs.placing.allowed_places import Site
    from preheat.verbs.pull import PullResult
    from preheat.verbs.pull_plan import LateSites, PullPlan
    from preheat.views.view_protocol import View

    Views = Sequence[tuple[View, Path]]


@dataclass(frozen=True, slots=True)
class Pulls:
    """Result of a pull: a snapshot of each model; `size` and `fetched`, the part that was missing, are in bytes.

    `received` counts all bytes received from the network, including responses of the hubs' APIs. `left_out` are the
    optional needs that no hub provides, with the reasons.
    """

    snapshots: tuple[Snapshot, ...]
    size: int
    fetched: int
    received: int
    left_out: tuple[OptionalMissing, ...] = ()


@dataclass(slots=True)
class _Unavailable:
    """The needs of a recipe that no hub has, but that do not prevent the pull of the others."""

    optional: list[OptionalMissing] = field(default_factory=list)
    made: list[HubError] = field(default_factory=list)


def plan_all(what: Sequence[str], session: Session, files: Sequence[str] = (), views: Views = ()) -> PullPlan:
    """Resolve models and apps by name, and plan their downloads and views; change nothing.

    `files` are patterns that select files of the models. Existing files in the folders of apps and views are checked,
    and are not downloaded again. Raise HubError for a model, revision or file that no hub has, UsageError for a view
    that is outside its folder.
    """
    needs: list[NeedPlan] = []
    sites: list[Site] = []
    left = _Unavailable()
    recipes: list[Recipe] = []
    with naming_similar(session):
        for words in what:
            if session.names_app(words):
                recipe = session.recipe(words)
                _check(recipe, session)
                recipes.append(recipe)
                some, theirs = _plan_recipe(recipe, session, left)
            else:
                some, theirs = [_plan_need(typed_need(words, files), session)], []
            needs += some
            sites += theirs
    if views:
        plain = [(view, at) for view, at in views if not isinstance(view, AppView)]
        apps = [(view, at) for view, at in views if isinstance(view, AppView)]
        sites += _sites_at(plain, [need.files for need in needs if need.files is not None], session)
        needs = [_late(need, partial(_late_sites_at, plain, session)) for need in needs]
        if apps:
            # An app's view depends on what is in the files: until they are in the library, it cannot be planned.
            here = [one.files for one in needs if one.files is not None and not session.library.missing(one.files)]
            sites += _sites_at(apps, here, session)
            needs = [one if one.files in here else _after(one, partial(_late_sites_at, apps, session)) for one in needs]
    return replace(_planned(needs, sites, session, left), apps=tuple(recipes))


def folder_view(kind: str, session: Session) -> View:
    """Return the layout `kind` for a folder that the user names; those of apps read the files in the library.

    Raise UsageError for an unknown layout, or for a kind of model that the layout cannot have.
    """
    from preheat.views.app_layouts.model_reader import ModelReader
    from preheat.views.view_names import choose_folder_view

    reader = ModelReader(session.library.path, session.settings.model_kind)
    return choose_folder_view(kind, session.settings.link, reader)


def pull_all(plan: PullPlan, session: Session, before: int = 0) -> Pulls:
    """Download the plan's missing files, and place its views.

    `before`: the bytes that the session had received before the plan was made. Raise LibraryError or Occupied, before
    anything is changed, if the plan cannot be carried out; raise HubError or IntegrityError if a download fails. Raise
    HubError after all else is pulled and placed if no hub has what the app's start made.
    """
    session.put_back()
    results = _carry_out(plan, session)
    for recipe in plan.apps:
        note_app(recipe, session.library)
    _place(plan, results, session)
    plan.require_available()
    pulled = [one for one in results if one.left_out is None]
    late = tuple(one.left_out for one in results if one.left_out is not None)
    return Pulls(
        tuple(one.snapshot for one in pulled),
        plan.size - sum(one.snapshot.size for one in results if one.left_out is not None),
        sum(one.fetched for one in pulled),
        session.transport.received - before,
        (*plan.left_out, *late),
    )


def pull_needs(recipe: Recipe, session: Session, make_room: Callable[[PullPlan], bool] | None = None) -> Recipe:
    """Pull a recipe's needs, without placing their views; return the recipe without optional needs that no hub has.

    With `make_room`, the views are not planned either: it may remove files of the library for the plan, and returns
    whether it did. Raise as `plan_all` and `pull_all` do.
    """
    left = _Unavailable()
    with naming_similar(session):
        needs, sites = _plan_recipe(recipe, session, left)
    plan = _planned(needs, sites if make_room is None else (), session, left)
    if make_room is not None and make_room(plan):
        plan = _planned(needs, (), session, left)
    results = _carry_out(plan, session)
    note_app(recipe, session.library)
    plan.require_available()
    gone = {one.ref for one in (*left.optional, *(result.left_out for result in results)) if one is not None}
    return replace(recipe, needs=tuple(need for need in recipe.needs if not need.optional or str(need.ref) not in gone))


def _carry_out(plan: PullPlan, session: Session) -> tuple[PullResult, ...]:
    return carry_out(plan, session.library, session.policy, session.on_event)


def _planned(needs: Sequence[NeedPlan], sites: Sequence[Site], session: Session, left: _Unavailable) -> PullPlan:
    views = None
    if sites:
        from preheat.verbs.placing.view_plan import plan_views

        views = plan_views(sites, session.library, session.on_event, session.permissions)
    # Other needs come first: they do not rely on an optional one for the download of a file that both have. What the
    # app's start made comes last: if its mirror fails, all else has been pulled.
    ordered = sorted(needs, key=lambda need: (need.ref.hub == MADE, need.optional))
    plan = plan_pull(ordered, session.library, views, session.caches)
    return replace(plan, left_out=tuple(left.optional), unavailable=tuple(left.made))


def _plan_need(need: Need, session: Session) -> NeedPlan:
    selection, patience = session.selection(need), resolve_policy(session.policy)
    if need.optional:
        patience = HASTY
    plan = plan_need(session.sources(need), session.library, session.on_event, selection, patience)
    return replace(plan, optional=need.optional)


def _plan_optional(need: Need, session: Session, left: _Unavailable) -> NeedPlan | None:
    """Plan an optional need; return None, with an event, if no hub and not the library has it."""
    with UnlessOptional(need, session.on_event) as block:
        try:
            return _plan_need(need, session)
        except HubError as error:
            from preheat.verbs.locked_needs import required

            with contextlib.suppress(NotPreloaded):
                wanted = required(need, session.library)
                return NeedPlan(tuple(session.sources(need)), session.selection(need), wanted, optional=True)
            raise error from None
    if block.missing is not None:
        left.optional.append(block.missing)
    return None


def typed_need(words: str, files: Sequence[str]) -> Need:
    """Return the need for a ref that a user typed; `zip:https://…` is an archive to unpack."""
    ref = Ref.parse(words)
    if ref.hub in ARCHIVES:
        return Need(Ref(URL, ref.kind, ref.repo, ref.revision), tuple(files), unpack=ref.hub)
    return Need(ref, tuple(files))


def _plan_recipe(recipe: Recipe, session: Session, left: _Unavailable) -> tuple[list[NeedPlan], list[Site]]:
    """Plan a recipe's needs and views; optional and made needs that no hub has are added to `left`."""
    from preheat.verbs.locked_needs import fitting
    from preheat.verbs.view import sites_of

    fit = fitting(recipe, session.on_event)

    def sites(need: Need, snapshot: Snapshot) -> list[Site]:
        return sites_of(fit, [(need, snapshot)], session.library, session.app_view, session.permissions)

    planned = []
    for need in sorted(recipe.needs, key=lambda need: need.optional):
        if need.optional and not session.settings.optional:
            continue
        if need.optional and need in fit.needs:
            plan = _plan_optional(need, session, left)
            planned += [] if plan is None else [(need, _late(plan, partial(sites, need)))]
            continue
        try:
            planned.append((need, _late(_plan_need(need, session), partial(sites, need))))
        except HubError as error:
            # Files that do not fit this environment are pulled for others, where they can be had.
            if need in fit.needs and need.ref.hub != MADE:
                raise
            if need in fit.needs:
                left.made.append(error)
    chosen = [(need, plan.files) for need, plan in planned if need in fit.needs]
    known = [(need, files) for need, files in chosen if files is not None]
    placed = sites_of(fit, known, session.library, session.app_view, session.permissions)
    return [plan if need in fit.needs else replace(plan, late=None) for need, plan in planned], placed


def _late(plan: NeedPlan, sites: LateSites) -> NeedPlan:
    """Let the plan return the views of an archive's members once they are known; other plans have theirs already."""
    return plan if plan.files is not None else _after(plan, sites)


def _after(plan: NeedPlan, sites: LateSites) -> NeedPlan:
    """Let the plan return these views too once its files are in the library."""
    before = plan.late
    return replace(plan, late=lambda snapshot: [*(before(snapshot) if before else ()), *sites(snapshot)])


def _place(plan: PullPlan, results: Sequence[PullResult], session: Session) -> None:
    """Place the views of a plan that was carried out, with those of the members that are known by now."""
    late = [
        site
        for need, result in zip(plan.needs, results, strict=True)
        if need.late is not None and result.left_out is None
        for site in need.late(result.snapshot)
    ]
    left = any(result.left_out is not None for result in results)
    if late or left:
        from preheat.verbs.placing.view_plan import plan_views
        from preheat.verbs.view import require_placeable

        sites = [*(plan.views.sites if plan.views is not None else ()), *late]
        sites = [site for site in sites if not left or not session.library.missing(site.snapshot)]
        views = plan_views(sites, session.library, session.on_event, session.permissions)
        require_placeable(views)
        views.place(session.library, session.on_event)
    elif plan.views is not None:
        plan.views.place(session.library, session.on_event)


def _late_sites_at(views: Views, session: Session, snapshot: Snapshot) -> list[Site]:
    return _sites_at(views, [snapshot], session)


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
