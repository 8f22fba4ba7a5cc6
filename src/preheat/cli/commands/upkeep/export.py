"""The `preheat export` command."""

import argparse
from pathlib import Path

from preheat.api import export, plan_export
from preheat.cli.typed_units import read_size
from preheat.cli.wiring import Wiring
from preheat.core.units import say_count, say_size
from preheat.recipes.recipe import FILE_NAME


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat export`; return the exit status."""
    plan = plan_export(
        *(options.what or [FILE_NAME]),
        output=Path(options.output),
        since=options.since,
        piece=read_size(options.split) if options.split else 0,
        with_preheat=options.with_preheat,
        session=wiring,
    )
    figures = {
        "id": plan.index.id,
        "models": [{"ref": str(one.wanted.ref), "commit": one.wanted.commit} for one in plan.index.models],
        "apps": list(plan.index.apps),
        "blobs": len(plan.index.blobs),
        "size": plan.size,
        "since": plan.index.since,
        "files": [{"path": str(path), "size": size} for path, size in plan.files],
        "free": plan.disk.free,
        "fits": plan.disk.fits,
    }
    if options.dry_run:
        plan.require()
    else:
        export(plan, session=wiring)
    files = (
        str(plan.files[0][0]) if len(plan.files) == 1 else f"{say_count(len(plan.files), 'piece')} of {options.output}"
    )
    sentence = f"{say_count(len(plan.index.models), 'version')}, {say_size(plan.size)} in {files}"
    wiring.console.done(figures, sentence if options.verbosity else "")
    return 0
