"""The `preheat view` command."""

import argparse

from preheat import api
from preheat.cli.commands.pull import view_facts, view_lines
from preheat.cli.wiring import Wiring
from preheat.core.errors import NotPreloaded, UsageError
from preheat.core.ref import Ref, read_path
from preheat.core.units import say_count
from preheat.verbs.view import require_placeable


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat view`; return the exit status."""
    at = read_path(options.at)
    try:
        plan = api.plan_view(options.kind, at, *options.refs, files=options.files, session=wiring)
    except NotPreloaded as error:
        if not at.exists() and _is_in_library(options.at, wiring):
            error.hint = f"the folder comes before the model: {options.kind} DIR {options.at}"
        raise
    figures: dict[str, object] = {"kind": options.kind, "path": str(at)}
    if options.dry_run:
        files = say_count(sum(view.files for view in plan.views), "file")
        wiring.console.done(figures | view_facts(plan), "\n".join([f"{files} in {at}", *view_lines(plan)]))
        require_placeable(plan)
        return 0
    environ = api.execute(plan, session=wiring)
    wiring.console.done(figures | {"environ": environ}, "\n".join(f"{name}={value}" for name, value in environ.items()))
    return 0


def _is_in_library(words: str, wiring: Wiring) -> bool:
    try:
        return wiring.library.find(Ref.parse(words)) is not None
    except UsageError:
        return False
