"""The `preheat serve-config` command."""

import argparse
import sys
from pathlib import Path

from preheat.cli.typed_units import read_address, read_seconds
from preheat.cli.wiring import Wiring
from preheat.core.errors import UsageError
from preheat.deploy.compose import compose
from preheat.deploy.guard_zip import write_guard_zip
from preheat.deploy.service import Service
from preheat.deploy.systemd import unit
from preheat.guard.probes.probes import port_of
from preheat.recipes.builtin_recipes import is_built_in
from preheat.recipes.offline_env import SWITCHES
from preheat.recipes.places import CACHE, DIR, HOME, TMP, split_place
from preheat.recipes.recipe import FILE_NAME, Recipe
from preheat.verbs.locked_needs import fitting
from preheat.verbs.placing.allowed_places import require_inside
from preheat.verbs.view import place_needs


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat serve-config`; return the exit status."""
    recipe = wiring.recipe(options.app)
    if not recipe.command:
        raise UsageError(f"{recipe.name} has no command", hint="command = […] in [app]")
    read_address(options.status)
    recipe = fitting(recipe, wiring.console)
    require_inside(recipe, wiring.permissions)
    text = (
        unit(_with_preheat(recipe, options, wiring))
        if options.kind == "systemd"
        else compose(_with_zip(recipe, options, wiring), options.image)
    )
    wiring.console.done({"kind": options.kind, "text": text}, text.rstrip("\n"))
    return 0


def _with_preheat(recipe: Recipe, options: argparse.Namespace, wiring: Wiring) -> Service:
    """Return a service started by `preheat run`, which checks the library and places the views at each start."""
    words = [str(Path(sys.argv[0]).absolute()), "run", *_named(recipe, options), "--library", str(wiring.library.root)]
    front = ["--front", options.front] if options.front else []
    allowed = [word for place in wiring.permissions.places for word in ("--allow-place", str(place))]
    kept = ["--keep"] if options.keep else []
    return Service(
        name=recipe.name,
        command=(*words, *allowed, *kept, *_timed(options), "--status", options.status, *front),
        check=(),
        folder=recipe.folder,
        ready_within_s=read_seconds(options.ready_within),
        stop_within_s=read_seconds(options.stop_within),
        renews=bool(options.front),
    )


def _named(recipe: Recipe, options: argparse.Namespace) -> tuple[str, ...]:
    if options.app is not None and is_built_in(options.app):
        return options.app, "--dir", str(recipe.folder)
    return (str(recipe.path or recipe.folder / FILE_NAME),)


def _with_zip(recipe: Recipe, options: argparse.Namespace, wiring: Wiring) -> Service:
    """Return a service started by the guard's zip file; its image needs only Python. Places the views now."""
    environ = place_needs(recipe, wiring.library, wiring.view, wiring.console, permissions=wiring.permissions)
    guard = wiring.library.root / "guard.pyz"
    write_guard_zip(guard)
    front = ["--front", options.front] if options.front else []
    words = ["python3", str(guard), *_timed(options), "--status", options.status, "--name", recipe.name, *front]
    ready = ["--ready", recipe.ready] if recipe.ready else []
    port = read_address(options.front)[1] if options.front else port_of(recipe.ready)
    return Service(
        name=recipe.name,
        command=(*words, *ready, "--", *recipe.command),
        check=("python3", str(guard), "--check", options.status),
        folder=recipe.folder,
        env={**SWITCHES, **_homes(recipe), **environ, **recipe.env},
        folders=(recipe.folder, wiring.library.root, *_places(recipe)),
        ports=() if port is None else (port,),
        ready_within_s=read_seconds(options.ready_within),
        stop_within_s=read_seconds(options.stop_within),
    )


def _places(recipe: Recipe) -> list[Path]:
    """Return the folders of views outside the app's folder, which the container needs too."""
    named = [recipe.place_of(need) for need in recipe.needs if need.at and split_place(need.at)[0] != DIR]
    return [place for place in dict.fromkeys(named) if not place.is_relative_to(recipe.folder)]


def _homes(recipe: Recipe) -> dict[str, str]:
    """Return the variables that make the container's user look in these folders."""
    places, named = recipe.places, {split_place(need.at)[0] for need in recipe.needs}
    if places is None:
        return {}
    known = (("HOME", HOME), ("XDG_CACHE_HOME", CACHE), ("TMPDIR", TMP))
    return {variable: str(places.folder(name)) for variable, name in known if name in named}


def _timed(options: argparse.Namespace) -> tuple[str, ...]:
    return ("--ready-within", options.ready_within, "--stop-within", options.stop_within)
