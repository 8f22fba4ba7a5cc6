"""The `preheat adopt` command."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from preheat.cli.wiring import Wiring
from preheat.core.errors import Incomplete
from preheat.core.events import Adopted, Event, LeftOut
from preheat.core.ref import Ref, read_path
from preheat.core.units import say_count, say_size
from preheat.library.adopt.intake import ELSEWHERE
from preheat.library.adopt.private_files import IN_LIBRARY
from preheat.verbs.upkeep.adopt import adopt, adopted, left_out
from preheat.verbs.upkeep.adopt_plan import plan_adopt

_FEW = 3  # skipped files named in the last message


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat adopt`; return the exit status."""
    missed: list[LeftOut] = []
    partial: list[Ref] = []

    def watch(event: Event) -> None:
        if isinstance(event, LeftOut):
            missed.append(event)
        elif isinstance(event, Adopted) and event.missing:
            partial.append(event.ref)
        wiring.on_event(event)

    ref = Ref.parse(options.ref) if options.ref else None
    folders = [read_path(folder) for folder in options.folders]
    plan = plan_adopt(folders, wiring.library, ref, copy=options.copy, share=options.share)
    if options.dry_run:
        for event in left_out(plan):
            watch(event)
        plan.require()
    done = adopted(plan) if options.dry_run else adopt(plan, wiring.library, watch, wiring.settings.unsafe_files)
    figures = asdict(done) | {"read": plan.to_read, "free": plan.disk.free}
    # A file without a known digest may turn out to be in the library already.
    most = "at most " if options.dry_run and done.new else ""
    some = f", {done.partial} of them partial" if done.partial else ""
    sentence = (
        f"{'can be adopted into' if options.dry_run else 'now in'} {wiring.library.root}: "
        f"{say_size(done.size)} in {say_count(done.files, 'file')} of {say_count(done.versions, 'version')}{some}; "
        f"{most}{say_size(done.new)} new, {say_size(done.copied)} of it copied"
    )
    if done.left_out:
        raise _incomplete(missed, partial, sentence, figures)
    wiring.console.done(figures | {"library": str(wiring.library.root)}, sentence if options.verbosity else "")
    return 0


def _incomplete(
    missed: Sequence[LeftOut], partial: Sequence[Ref], sentence: str, figures: dict[str, object]
) -> Incomplete:
    """Return an error for files left out, which events have reported, for scripts that check only the exit status."""
    reasons = "; ".join(f"{one.path}: {one.reason}" for one in missed[:_FEW])
    more = f"; and {len(missed) - _FEW} more" if len(missed) > _FEW else ""
    if any(one.reason.startswith(ELSEWHERE) for one in missed):
        hint = "--copy copies files from another filesystem"
    elif any(one.reason.startswith(IN_LIBRARY) for one in missed):
        hint = "--share takes these files too; or use a --library of your own"
    elif partial:
        hint = partial[0].how_to_get
    else:
        hint = "repair or remove these files, then run adopt again; adopted files are kept"
    message = f"{figures['left_out']} left out: {reasons}{more} ({sentence})"
    return Incomplete(message, hint=hint, figures=figures)
