"""`preheat pull`. What only some pulls do is imported where they do it: it is a tenth of a small one's time."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from preheat.cli.wiring import Wiring
from preheat.cli.words import say_seconds, say_size
from preheat.errors import NoSpace, UsageError
from preheat.events import Noted
from preheat.recipes.recipe import Need, Recipe
from preheat.ref import Ref
from preheat.snapshot import Snapshot
from preheat.verbs.pull import Choice, Pulled, choose, pull

if TYPE_CHECKING:
    from preheat.verbs.ground import Site
    from preheat.verbs.outlook import Outlook
    from preheat.views.view import View


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Do what `preheat pull` says."""
    views = [_view_words(words, wiring) for words in options.view]
    if options.dry_run:
        return _look_ahead(options, wiring)
    pulled: list[Pulled] = []
    for words in options.what:
        if wiring.names_app(words):
            pulled += _pull_app(wiring.recipe(words), wiring)
        else:
            pulled.append(_pull_ref(Need(Ref.parse(words), tuple(options.files)), views, wiring))
    if views:
        from preheat.verbs.placing import place_sites

        sites = _sites_at(views, [one.snapshot for one in pulled], wiring)
        place_sites(sites, wiring.library, wiring.console, wiring.permissions)
    size, fetched = sum(one.snapshot.size for one in pulled), sum(one.fetched for one in pulled)
    figures = {
        "snapshots": [{"ref": str(one.snapshot.ref), "commit": one.snapshot.commit} for one in pulled],
        "size": size,
        "fetched": fetched,
        "received": wiring.transport.received,
        "library": str(wiring.library.root),
    }
    wiring.console.done(
        figures, f"{say_size(size)} in {wiring.library.root}, {say_size(fetched)} of it new" if options.loud else ""
    )
    return 0


def pull_needs(recipe: Recipe, wiring: Wiring) -> list[Pulled]:
    """Pull a recipe's needs. What has a place outside the library is looked for there first, before any download.

    Raise UsageError or Occupied where it could not be placed there.
    """
    choices = {need: _choose(need, wiring) for need in recipe.needs if need.at}
    if choices:
        from preheat.verbs.placing import take_in
        from preheat.verbs.view import sites_of

        chosen = [(need, choice.wanted) for need, choice in choices.items()]
        sites = sites_of(recipe, chosen, wiring.library, wiring.app_view, wiring.permissions)
        take_in(sites, wiring.library, wiring.console, wiring.permissions)
    return [_pull(need, choices.get(need), wiring) for need in recipe.needs]


def _pull_ref(need: Need, views: "Sequence[tuple[View, Path]]", wiring: Wiring) -> Pulled:
    """Pull a model, after a look at what already lies where its views are to be."""
    if not views:
        return _pull(need, None, wiring)
    from preheat.verbs.placing import take_in

    choice = _choose(need, wiring)
    take_in(_sites_at(views, [choice.wanted], wiring), wiring.library, wiring.console, wiring.permissions)
    return _pull(need, choice, wiring)


def _choose(need: Need, wiring: Wiring) -> Choice:
    return choose(wiring.sources(need), wiring.library, wiring.policy, wiring.console, wiring.wish(need))


def _pull(need: Need, choice: Choice | None, wiring: Wiring) -> Pulled:
    return pull(wiring.sources(need), wiring.library, wiring.policy, wiring.console, wiring.wish(need), choice)


def _pull_app(recipe: Recipe, wiring: Wiring) -> list[Pulled]:
    from preheat.verbs.ground import require_inside
    from preheat.verbs.view import place_needs

    require_inside(recipe, wiring.permissions)
    _warn(recipe, wiring)
    pulled = pull_needs(recipe, wiring)
    place_needs(recipe, wiring.library, wiring.app_view, wiring.console, permissions=wiring.permissions)
    return pulled


def _sites_at(views: "Sequence[tuple[View, Path]]", snapshots: Sequence[Snapshot], wiring: Wiring) -> "list[Site]":
    from preheat.verbs.view import site_at

    # The pinned first: what a branch names is what it should mean after.
    ordered = sorted(snapshots, key=lambda one: not one.ref.pinned)
    return [
        site_at(snapshot, wiring.library, view, at, wiring.permissions) for view, at in views for snapshot in ordered
    ]


def _warn(recipe: Recipe, wiring: Wiring) -> None:
    """Say what nobody has checked, and what stays to be made when all is pulled."""
    if recipe.verified.partition(":")[0].strip() == "no":
        reason = recipe.verified.partition(":")[2].strip()
        wiring.console(Noted(recipe.name, f"this recipe is not verified{': ' if reason else ''}{reason}"))


def _look_ahead(options: argparse.Namespace, wiring: Wiring) -> int:
    """Say what a pull would do, need by need; end with 5 if it would not fit."""
    from preheat.verbs.outlook import look_ahead

    needs: list[Need] = []
    for words in options.what:
        needs += (
            wiring.recipe(words).needs if wiring.names_app(words) else [Need(Ref.parse(words), tuple(options.files))]
        )
    patience = wiring.patience
    outlooks = [
        look_ahead(wiring.sources(need), wiring.library, wiring.wish(need), wiring.console, patience) for need in needs
    ]
    missing, free = sum(one.missing for one in outlooks), min((one.free for one in outlooks), default=0)
    figures = {
        "needs": [msgspec.to_builtins(one) | {"ref": str(one.ref), "fits": one.fits} for one in outlooks],
        "missing": missing,
        "free": free,
        "fits": missing < free,
    }
    wiring.console.done(figures, "\n".join(_outlook_words(one) for one in outlooks))
    if missing >= free:
        raise NoSpace(
            f"{say_size(missing)} are to come, and {wiring.library.root} has room for {say_size(free)}",
            hint="free some, or choose another place with --library",
        )
    return 0


def _outlook_words(one: "Outlook") -> str:
    words = f"{one.ref} at {one.commit[:12]}: {say_size(one.size)} in {one.files} files"
    if not one.missing:
        return f"{words}, all here"
    words += f", {say_size(one.missing)} to come"
    if one.rate is not None and one.seconds is not None:
        words += f"; at the {say_size(one.rate)}/s of 8 connections just now, {say_seconds(one.seconds)}"
    return words


def _view_words(words: str, wiring: Wiring) -> "tuple[View, Path]":
    kind, equals, folder = words.partition("=")
    if not equals or not folder:
        raise UsageError(f"{words!r} names no view and folder", hint="--view hf-cache=DIR")
    return wiring.view(kind), Path(folder).absolute()
