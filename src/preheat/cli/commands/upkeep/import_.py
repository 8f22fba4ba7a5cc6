"""The `preheat import` command."""

import argparse
from pathlib import Path

from preheat.api import import_bundle
from preheat.cli.wiring import Wiring
from preheat.core.units import say_count, say_size


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
    wiring.console.done(figures, sentence if options.verbosity else "")
    return 0
