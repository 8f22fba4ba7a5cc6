"""The `preheat fold` command."""

import argparse

from preheat.api.plans import plan_fold
from preheat.cli.output.fold_lines import fold_figures, fold_lines, fold_sentence
from preheat.cli.output.report_file import writable_report, write_report
from preheat.cli.wiring import Wiring
from preheat.core.events import Noted
from preheat.core.ref import read_path
from preheat.verbs.folding.fold_page import fold_page


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat fold`; return the exit status."""
    target = writable_report(options.report, "fold.html") if options.report else None
    plan = plan_fold(*map(read_path, options.also), copy=options.copy, session=wiring)
    for what, said in plan.notes:
        wiring.console(Noted(what, said))
    if target is not None:
        write_report(target, fold_page(plan, options.lang))
    lines = [*fold_lines(plan), fold_sentence(plan)] if options.verbosity else []
    wiring.console.done(fold_figures(plan) | {"done": False}, "\n".join(lines))
    return 0
