"""The `preheat fold` command."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from preheat import api
from preheat.cli.output.fold_lines import fold_figures, fold_lines, fold_sentence
from preheat.cli.output.report_file import writable_report, write_report
from preheat.cli.wiring import Wiring
from preheat.core.errors import Incomplete, UsageError
from preheat.core.events import Noted
from preheat.core.ref import read_path
from preheat.core.units import say_count, say_path, say_size
from preheat.verbs.folding.fold_page import fold_page
from preheat.verbs.folding.fold_plan import FOLD
from preheat.verbs.folding.running_apps import running_apps

_FEW = 3  # files named in the last message


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat fold`; return the exit status."""
    if options.undo:
        return _undo(options, wiring)
    target = writable_report(options.report, "fold.html") if options.report else None
    plan = api.plan_fold(*map(read_path, options.also), copy=options.copy, session=wiring)
    for what, said in plan.notes:
        wiring.console(Noted(what, said))
    if target is not None:
        write_report(target, fold_page(plan, options.lang))
    if not options.yes:
        lines = [*fold_lines(plan), fold_sentence(plan)] if options.verbosity else []
        wiring.console.done(fold_figures(plan) | {"done": False}, "\n".join(lines))
        return 0
    for app in running_apps([one.file.path for one in plan.files if one.state == FOLD]):
        said = f"has {say_count(app.files, 'file')} open: what folding frees becomes free when it ends"
        wiring.console(Noted(f"{app.name} (process {app.pid})", said))
    done = api.execute(plan, session=wiring)
    figures = fold_figures(plan) | {
        "done": True,
        "folded": done.files,
        "links": dict(done.links),
        "freed": done.freed,
        "copied": done.copied,
        "not_folded": [{"path": say_path(path), "reason": reason} for path, reason in done.left],
    }
    sentence = f"{say_count(done.files, 'file')} folded into {plan.library}, {say_size(done.freed)} freed"
    sentence += f", {say_size(done.copied)} copied" if done.copied else ""
    _finish(wiring, options, done.left, sentence, figures)
    return 0


def _undo(options: argparse.Namespace, wiring: Wiring) -> int:
    if options.also or options.copy or options.report:
        raise UsageError("--undo restores all folded files: --also, --copy and --report do not apply")
    done = api.unfold(session=wiring)
    figures: dict[str, object] = {
        "restored": done.restored,
        "copied": done.copied,
        "changed": done.changed,
        "not_restored": [{"path": say_path(path), "reason": reason} for path, reason in done.left],
        "done": True,
    }
    sentence = f"{say_count(done.restored, 'file')} restored, {say_size(done.copied)} copied"
    if done.changed:
        sentence += f"; {say_count(done.changed, 'file')} changed or removed since, left unchanged"
    _finish(wiring, options, done.left, sentence, figures)
    return 0


def _finish(
    wiring: Wiring,
    options: argparse.Namespace,
    left: Sequence[tuple[Path, str]],
    sentence: str,
    figures: dict[str, object],
) -> None:
    """Print the result. Raise Incomplete if files were left unchanged, for scripts that check the exit status."""
    if left:
        reasons = "; ".join(f"{say_path(path)}: {reason}" for path, reason in left[:_FEW])
        more = f"; and {len(left) - _FEW} more" if len(left) > _FEW else ""
        raise Incomplete(
            f"{say_count(len(left), 'file')} left unchanged: {reasons}{more} ({sentence})",
            hint="stop the programs that use these files, or remove the cause, and run the same command again",
            figures=figures,
        )
    wiring.console.done(figures, sentence if options.verbosity else "")
