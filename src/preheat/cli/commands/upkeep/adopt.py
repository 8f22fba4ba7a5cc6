"""The `preheat adopt` command."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from preheat.cli.wiring import Wiring
from preheat.core.errors import Incomplete
from preheat.core.events import Event, LeftOut
from preheat.core.ref import Ref, read_path
from preheat.core.units import say_size
from preheat.verbs.upkeep.adopt import adopt, adopted, left_out
from preheat.verbs.upkeep.adopt_plan import plan_adopt

_FEW = 3  # skipped files named in the last message


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat adopt`; return the exit status."""
    missed: list[LeftOut] = []

    def told(event: Event) -> None:
        if isinstance(event, LeftOut):
            missed.append(event)
        wiring.console(event)

    ref = Ref.parse(options.ref) if options.ref else None
    folders = [read_path(folder) for folder in options.folders]
    plan = plan_adopt(folders, wiring.library, ref, copy=options.copy)
    if options.dry_run:
        for event in left_out(plan):
            told(event)
        plan.require()
    done = adopted(plan) if options.dry_run else adopt(plan, wiring.library, told, wiring.settings.unsafe_files)
    figures = asdict(done) | {"read": plan.to_read, "free": plan.disk.free}
    said = (
        f"{say_size(done.size)} in {done.files} files of {done.versions} versions "
        f"{'can be adopted into' if options.dry_run else 'are in'} {wiring.library.root}; "
        f"{say_size(done.new)} new, {say_size(done.copied)} of it copied"
    )
    if done.left_out:
        raise _incomplete(missed, said, figures)
    wiring.console.done(figures | {"library": str(wiring.library.root)}, said if options.loud else "")
    return 0


def _incomplete(missed: Sequence[LeftOut], said: str, figures: dict[str, object]) -> Incomplete:
    """Return an error for files left out, which events have reported, for scripts that check only the exit status."""
    reasons = "; ".join(f"{one.path}: {one.reason}" for one in missed[:_FEW])
    more = f"; and {len(missed) - _FEW} more" if len(missed) > _FEW else ""
    return Incomplete(
        f"{figures['left_out']} left out: {reasons}{more} ({said})",
        hint="repair or remove these files, then run adopt again; adopted files are kept",
        figures=figures,
    )
