"""The `preheat import` command."""

import argparse
from pathlib import Path
from shlex import quote

from preheat.api import import_bundle
from preheat.cli.hints import as_typed
from preheat.cli.wiring import Wiring
from preheat.core.units import say_count, say_size
from preheat.recipes.app_python import missing_script
from preheat.recipes.recipe import read_recipe


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat import`; return the exit status."""
    recipes = Path(options.recipes) if options.recipes else None
    plan, _ = import_bundle(*map(Path, options.files), recipes=recipes, dry_run=options.dry_run, session=wiring)
    if options.dry_run:
        plan.require()
    versions = [{"ref": str(one.wanted.ref), "commit": one.commit} for one in plan.pull.needs]
    figures = {
        "versions": versions,
        "size": plan.pull.size,
        "new": plan.pull.missing,
        "apps": list(plan.apps),
        "recipes": [str(path) for path, _ in plan.recipes],
        "library": str(wiring.library.root),
    }
    sentence = (
        f"{'can be added to' if options.dry_run else 'now in'} {wiring.library.root}: "
        f"{say_count(len(versions), 'version')}, {say_size(plan.pull.size)}, {say_size(plan.pull.missing)} of it new"
    )
    if plan.apps and recipes is None:
        sentence += f"; it has recipes too, which --recipes DIR writes: {', '.join(plan.apps)}"
    for path, _ in plan.recipes if not options.dry_run else ():
        if path.suffix == ".toml":
            sentence += f"\nwritten: {path}, {path.with_suffix('.lock')}. {as_typed(_next_step(path, wiring), options)}"
    wiring.console.done(figures, sentence if options.verbosity else "")
    return 0


def _next_step(path: Path, wiring: Wiring) -> str:
    """Return what to do next with an imported recipe: a bundle has no code of the app."""
    recipe, start = read_recipe(path), f"preheat run --locked {quote(str(path))}"
    if not recipe.command:
        return f"Next: {start} -- CMD"
    if missing_script(wiring.config.environ, recipe.folder, recipe.command):
        return f"Next: copy the app's own folder to {recipe.folder}, activate its environment, and start it: {start}"
    return f"Next: {start}"
