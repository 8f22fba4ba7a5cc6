"""`preheat run`."""

import argparse
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from preheat.cli.commands.pull import pull_need
from preheat.cli.wiring import Wiring
from preheat.cli.words import read_seconds
from preheat.errors import UsageError
from preheat.guard.app import App
from preheat.guard.init import leave_process_1
from preheat.guard.lifecycle import Patience
from preheat.guard.settings import Stage
from preheat.recipes.offline import offline
from preheat.recipes.recipe import FILE_NAME, Need, Recipe
from preheat.snapshot import File
from preheat.verbs.required import look_over, required
from preheat.verbs.run import Watch, mapping_weights, run
from preheat.verbs.view import everything, place_all, place_needs


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Do what `preheat run` says."""
    recipe = _app(options, wiring)
    if options.max_restarts < 0:
        raise UsageError(f"{options.max_restarts} restarts cannot be had", hint="--max-restarts 0 or more")
    if options.pull:
        for need in recipe.needs:
            pull_need(wiring, need)
    # The app speaks into a pipe, and Python keeps words for a pipe back until it has a page of them.
    environ = {"PYTHONUNBUFFERED": "1", **offline(wiring.config.environ)}
    if recipe.needs:
        environ |= place_needs(recipe, wiring.library, wiring.app_view, wiring.console)
    else:
        snapshots = list(everything(wiring.library))
        look_over(wiring.library, snapshots, wiring.console)
        environ |= place_all(snapshots, recipe.name, wiring.library, wiring.app_view, wiring.console)
    ready = options.ready or recipe.ready
    environ |= recipe.env
    if options.mmap_weights:
        environ |= mapping_weights(environ)
    app = App(
        recipe.command,
        environ,
        str(recipe.folder),
        ready,
        options.alive or "",
        (str(wiring.library.root / "blobs"),),
        isolated=options.network == "none",
    )
    patience = Patience(
        ready_within_s=read_seconds(options.ready_within),
        stop_within_s=read_seconds(options.stop_within),
        max_restarts=options.max_restarts,
        hang_after_s=read_seconds(options.hang_after) if options.hang_after else 0.0,
    )
    stage = Stage(
        name=recipe.name,
        status=options.status or "",
        front=options.front or "",
        standby=options.standby,
        drain_within_s=read_seconds(options.drain_within),
        warm=options.warm or "",
        history=str(wiring.library.root / "starts" / recipe.name),
        weights=_weights(recipe, wiring) if options.warm_up else (),
    )
    leave_process_1()
    watch = Watch(patience, network=options.network != "free", stage=stage)
    status = run(app, watch, wiring.console)
    wiring.console.done({"status": status}, "")
    return status


def _weights(recipe: Recipe, wiring: Wiring) -> tuple[str, ...]:
    """List what the recipe's needs lie in, in the order in which it names them: the app will read it."""
    library = wiring.library
    found: list[File] = []
    for need in recipe.needs:
        files = required(need, library).files
        found += sorted(files, key=lambda file: _turn(file.path, need)) if need.files else files
    return tuple(str(library.path(file.digest)) for file in found)


def _turn(path: str, need: Need) -> int:
    return next(index for index, pattern in enumerate(need.files) if fnmatchcase(path, pattern))


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
