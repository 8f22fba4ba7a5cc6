"""The `preheat push` command."""

import argparse

from preheat.api import plan_push, push
from preheat.cli.wiring import Wiring
from preheat.core.units import say_count, say_size
from preheat.recipes.recipe import FILE_NAME


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat push`; return the exit status."""
    plan = plan_push(options.to, *(options.what or [FILE_NAME]), session=wiring)
    if not options.dry_run:
        push(plan, session=wiring)
    figures = {
        "store": plan.name,
        "models": [{"ref": str(one.wanted.ref), "commit": one.wanted.commit} for one in plan.models],
        "apps": [app.name for app in plan.apps],
        "size": plan.size,
        "blobs": len(plan.blobs) + len(plan.present),
        "missing": plan.missing,
        "missing_blobs": len(plan.blobs),
        "sent": 0 if options.dry_run else plan.missing,
    }
    models, size = say_count(len(plan.models), "version"), say_size(plan.size)
    rest = f"{say_size(plan.missing)} to send" if options.dry_run else f"{say_size(plan.missing)} of it new"
    sentence = f"{models}, {size} in {plan.name}, {rest}"
    wiring.console.done(figures, sentence if options.verbosity or options.dry_run else "")
    return 0
