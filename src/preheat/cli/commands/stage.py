"""The `preheat stage` command."""

import argparse
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from preheat.api.staging.stage import StageTerms, release, stage
from preheat.cli.typed_units import read_seconds, read_size
from preheat.cli.wiring import Wiring
from preheat.core.errors import UsageError
from preheat.core.units import say_count, say_size
from preheat.recipes.recipe import FILE_NAME
from preheat.verbs.staging.make_room import StageLimits

if TYPE_CHECKING:
    from preheat.api.staging.stage import Staged
    from preheat.verbs.staging.make_room import Removed


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat stage`; return the exit status."""
    limits = StageLimits(
        read_size(options.max_size) if options.max_size else 0, read_seconds(options.max_age) if options.max_age else 0
    )
    terms = StageTerms(to=Path(options.to), mirrors=tuple(options.mirror), limits=limits, hold=options.hold)
    if options.release:
        if options.what or options.hold:
            raise UsageError("--release stages nothing", hint="preheat stage --to DIR --release JOB")
        removed = release(options.release, terms, wiring)
        wiring.console.done(_removal(removed), _said(removed))
        return 0
    if not options.what and not Path(FILE_NAME).is_file():
        raise UsageError(
            f"no model and no app is named, and there is no {FILE_NAME} here",
            hint="preheat stage REF|APP --to DIR; to list the built-in apps: preheat recipes",
        )
    staged = stage(options.what, options.files, terms, wiring)
    figures = {
        "apps": list(staged.apps),
        "snapshots": [{"ref": str(one.ref), "commit": one.commit} for one in staged.snapshots],
        "size": staged.size,
        "fetched": staged.fetched,
        "received": staged.received,
        "library": str(staged.library),
        "environ": dict(staged.environ),
        **_removal(staged.removed),
    }
    wiring.console.done(figures, _exports(staged) if options.export else _sentence(staged, options.verbosity))
    return 0


def _sentence(staged: "Staged", verbosity: int) -> str:
    if not verbosity:
        return ""
    sentence = f"{say_size(staged.size)} in {staged.library}, {say_size(staged.fetched)} of it new"
    return f"{sentence}; {_said(staged.removed)}" if staged.removed.apps else sentence


def _exports(staged: "Staged") -> str:
    return "\n".join(f"export {name}={quote(value)}" for name, value in staged.environ.items())


def _said(removed: "Removed") -> str:
    count = say_count(len(removed.apps), "app")
    return f"removed {count}, which frees {say_size(removed.size)}" if removed.apps else "nothing was removed"


def _removal(removed: "Removed") -> dict[str, object]:
    return {"removed": list(removed.apps), "freed": removed.size}
