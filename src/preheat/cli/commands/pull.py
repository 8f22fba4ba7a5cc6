"""The `preheat pull` command."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from preheat.api.pulling import look_ahead_all, pull_all
from preheat.cli.wiring import Wiring
from preheat.core.errors import NoSpace, UsageError
from preheat.core.units import say_seconds, say_size

if TYPE_CHECKING:
    from preheat.verbs.dry_run import Outlook
    from preheat.views.view_protocol import View


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Do what `preheat pull` says."""
    views = [_view_words(words, wiring) for words in options.view]
    if options.dry_run:
        return _look_ahead(options, wiring)
    pulls = pull_all(options.what, wiring, options.files, views)
    figures = {
        "snapshots": [{"ref": str(one.ref), "commit": one.commit} for one in pulls.snapshots],
        "size": pulls.size,
        "fetched": pulls.fetched,
        "received": pulls.received,
        "library": str(wiring.library.root),
    }
    said = f"{say_size(pulls.size)} in {wiring.library.root}, {say_size(pulls.fetched)} of it new"
    wiring.console.done(figures, said if options.loud else "")
    return 0


def _look_ahead(options: argparse.Namespace, wiring: Wiring) -> int:
    """Say what a pull would do, need by need; end with 5 if it would not fit."""
    outlooks = look_ahead_all(options.what, wiring, options.files)
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
