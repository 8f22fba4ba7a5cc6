"""The `preheat prove` command."""

import argparse
from pathlib import Path

import msgspec

from preheat.api.proving import Proof, prove_app
from preheat.cli.output.report_file import writable_report, write_report
from preheat.cli.typed_units import read_seconds, read_size
from preheat.cli.wiring import Wiring
from preheat.core.errors import CheckFailed, PreheatError, UsageError
from preheat.core.events import Noted
from preheat.proof.report.comparison import OlderReport, compare, read_older
from preheat.proof.report.fail_if import Criterion, read_criterion
from preheat.proof.report.html_page import page
from preheat.proof.report.json_figures import figures
from preheat.proof.report.report import Imitated, Report
from preheat.proof.report.table import table
from preheat.recipes.recipe import Recipe, located


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat prove`; return the exit status."""
    recipe = wiring.recipe(options.app)
    # Parse all options first: the runs can take an hour.
    proof = Proof(
        rounds=options.runs,
        conditions=tuple(word.strip() for word in options.conditions.split(",")),
        ready_within_s=read_seconds(options.ready_within),
        observe_s=read_seconds(options.observe),
        drop_caches=options.drop_caches,
        imitated=_imitated(options),
    )
    criteria = [read_criterion(text, proof.conditions) for text in options.fail_if]
    criteria += _thresholds(recipe, proof.conditions, wiring)
    older = read_older(Path(options.compare)) if options.compare else None
    target = writable_report(options.report, "proof.html") if options.report else None
    report = prove_app(recipe, wiring, proof)
    if target is not None:
        write_report(target, page(report, options.lang))
    unjudged: PreheatError | None = None
    try:
        reasons = _reasons(report, criteria, older)
    except PreheatError as error:
        # Print the figures even if the comparison fails: they took an hour.
        reasons, unjudged = [error.message], error
    reasons += [] if options.allow_outbound else _outbound(report)
    sentence = table(report)
    wiring.console.done(msgspec.to_builtins(figures(report, reasons, str(target or ""))), sentence)
    if unjudged is not None:
        raise unjudged
    if reasons:
        raise CheckFailed("; ".join(reasons), hint="the figures are above")
    return 0


def _thresholds(recipe: Recipe, conditions: tuple[str, ...], wiring: Wiring) -> list[Criterion]:
    """Return the recipe's own thresholds; those of conditions that are not measured are left out, each with a note."""
    found = []
    for number, text in enumerate(recipe.thresholds):
        try:
            criterion = read_criterion(text)
        except UsageError as error:
            raise located(recipe, error, ("app", "thresholds", number)) from error
        if criterion.condition and criterion.condition not in conditions:
            wiring.on_event(Noted(text, f"not checked, because no {criterion.condition} start is made"))
        else:
            found.append(criterion)
    return found


def _imitated(options: argparse.Namespace) -> Imitated | None:
    if not options.hub_rate:
        if options.hub_rtt:
            raise UsageError("--hub-rtt needs --hub-rate", hint="--hub-rate 3M --hub-rtt 40ms")
        return None
    if options.endpoint:
        raise UsageError("--hub-rate and --endpoint exclude each other", hint="leave one of them out")
    return Imitated(read_size(options.hub_rate), read_seconds(options.hub_rtt or "0"))


def _reasons(report: Report, criteria: list[Criterion], older: OlderReport | None) -> list[str]:
    """Return a sentence for each reason why the proof fails."""
    reasons = [criterion.words(report) for criterion in criteria if criterion.holds(report)]
    for change in compare(older, report) if older else ():
        if change.worse:
            more = (
                "" if change.part is None else f" (+{change.part * 100:.0f} %, {change.allowed * 100:.0f} % is noise)"
            )
            was = f"{change.before:.6g} before and {change.now:.6g} now"
            reasons.append(f"{change.condition}.{change.figure} became worse: {was}{more}")
    return reasons


def _outbound(report: Report) -> list[str]:
    """Return a sentence for each offline start that made outbound attempts, with their targets."""
    return [
        f"a {one.condition} start made {one.traffic.outbound} outbound attempt{'s'[: one.traffic.outbound != 1]}: "
        + "; ".join(one.traffic.places)
        for one in report.online
    ]
