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
from preheat.verbs.pull import Pulled, pull

if TYPE_CHECKING:
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
            pulled.append(pull_need(wiring, Need(Ref.parse(words), tuple(options.files))))
    if views:
        _place(views, pulled, wiring)
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


def pull_need(wiring: Wiring, need: Need) -> Pulled:
    """Pull one need of a recipe."""
    return pull(wiring.sources(need), wiring.library, wiring.policy, wiring.console, wiring.wish(need))


def _pull_app(recipe: Recipe, wiring: Wiring) -> list[Pulled]:
    from preheat.verbs.view import place_needs

    _warn(recipe, wiring)
    pulled = [pull_need(wiring, need) for need in recipe.needs]
    place_needs(recipe, wiring.library, wiring.app_view, wiring.console)
    return pulled


def _place(views: "Sequence[tuple[View, Path]]", pulled: Sequence[Pulled], wiring: Wiring) -> None:
    from preheat.verbs.view import place

    for view, at in views:
        # The pinned first: what a branch names is what it should mean after.
        for one in sorted(pulled, key=lambda one: not one.snapshot.ref.pinned):
            place(one.snapshot, wiring.library, view, at, wiring.console)


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
