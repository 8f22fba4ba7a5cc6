"""`preheat run`."""

import argparse
from dataclasses import replace
from pathlib import Path

from preheat.api.running import Guarding, run_app
from preheat.cli.wiring import Wiring
from preheat.cli.words import read_seconds
from preheat.errors import UsageError
from preheat.guard.lifecycle import Patience
from preheat.recipes.recipe import FILE_NAME, Recipe


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Do what `preheat run` says."""
    recipe = _app(options, wiring)
    patience = Patience(
        ready_within_s=read_seconds(options.ready_within),
        stop_within_s=read_seconds(options.stop_within),
        max_restarts=options.max_restarts,
        hang_after_s=read_seconds(options.hang_after) if options.hang_after else 0.0,
    )
    guarding = Guarding(
        pull=options.pull,
        ready=options.ready or "",
        patience=patience,
        alive=options.alive or "",
        status=options.status or "",
        front=options.front or "",
        standby=options.standby,
        drain_within_s=read_seconds(options.drain_within),
        warm=options.warm or "",
        warm_up=options.warm_up,
        mmap_weights=options.mmap_weights,
        network=options.network,
    )
    status = run_app(recipe, wiring, guarding)
    wiring.console.done({"status": status}, "")
    return status


def _app(options: argparse.Namespace, wiring: Wiring) -> Recipe:
    """Find what to start: a recipe, a command, or a recipe with another command."""
    if options.command and not options.command[0]:
        raise UsageError("the command's name is empty", hint="preheat run -- CMD; is a variable in it unset?")
    if options.command and not options.app and not Path(FILE_NAME).is_file():
        return Recipe(Path(options.command[0]).name.strip(".") or "app", Path.cwd(), tuple(options.command))
    recipe = wiring.recipe(options.app)
    command = tuple(options.command) or recipe.command
    if not command:
        raise UsageError(f"{recipe.name} has no command", hint="command = […] in [app], or preheat run APP -- CMD")
    return replace(recipe, command=command)
