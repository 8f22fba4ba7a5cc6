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
    """Run `preheat pull`; return the exit status."""
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
    """Report the downloads that each need requires; raise NoSpace if they do not fit on the disk."""
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
            f"needs {say_size(missing)}, but {wiring.library.root} has only {say_size(free)} free",
            hint="free some disk space, or choose another folder with --library",
        )
    return 0


def _outlook_words(one: "Outlook") -> str:
    words = f"{one.ref} at {one.commit[:12]}: {say_size(one.size)} in {one.files} files"
    if not one.missing:
        return f"{words}, all cached"
    words += f", {say_size(one.missing)} to download"
    if one.rate is not None and one.seconds is not None:
        words += f"; about {say_seconds(one.seconds)} at {say_size(one.rate)}/s, measured with 8 connections"
    return words


def _view_words(words: str, wiring: Wiring) -> "tuple[View, Path]":
    kind, equals, folder = words.partition("=")
    if not equals or not folder:
        raise UsageError(f"{words!r} is not a view and a folder", hint="--view hf-cache=DIR")
    return wiring.view(kind), Path(folder).absolute()
