"""`preheat prove`."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from preheat.aside import put, tidy
from preheat.cli.wiring import Wiring
from preheat.cli.words import read_seconds, read_size, say_seconds, say_size
from preheat.errors import CheckFailed, PreheatError, UsageError
from preheat.events import Listener
from preheat.library.library import Library
from preheat.proof.comparison import Older, compare, read_older
from preheat.proof.criteria import Criterion, read_criterion
from preheat.proof.figures import figures
from preheat.proof.line import Line, measure_line
from preheat.proof.machine import describe_machine
from preheat.proof.page import page
from preheat.proof.report import Imitated, Report
from preheat.proof.table import Saying, table
from preheat.proof.timeline import CONDITIONS
from preheat.recipes.recipe import Need, Recipe
from preheat.snapshot import Snapshot
from preheat.verbs.far_hub import far_hub
from preheat.verbs.prove import Terms, prove
from preheat.verbs.pull import pull
from preheat.verbs.starts import Surroundings

_MANY = 64  # connections, to measure what the line brings


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Do what `preheat prove` says."""
    # A service's stop too removes what the proof has laid out.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    recipe = wiring.recipe(options.app)
    if options.runs < 1:
        raise UsageError(f"{options.runs} rounds prove nothing", hint="--runs 3")
    # All that could be mistyped is read before an hour is spent.
    conditions = _conditions(options.conditions)
    criteria = [read_criterion(text, conditions) for text in options.fail_if]
    older = read_older(Path(options.compare)) if options.compare else None
    target = _writable(options.report) if options.report else None
    wiring.library.prepare(0)
    imitated = _imitated(options)
    with _hub(recipe, imitated, wiring):
        report = prove(recipe, _terms(options, wiring, conditions, imitated), wiring.view, wiring.console)
    if target is not None:
        _write(target, page(report, options.lang))
    unjudged: PreheatError | None = None
    try:
        reasons = _reasons(report, criteria, older)
    except PreheatError as error:
        # The figures took an hour, and are as good without the comparison.
        reasons, unjudged = [error.message], error
    reasons += [] if options.allow_outbound else _outbound(report)
    said = table(report, Saying(say_size, say_seconds))
    wiring.console.done(figures(report) | {"failed": reasons, "report": str(target or "")}, said)
    if unjudged is not None:
        raise unjudged
    if reasons:
        raise CheckFailed("; ".join(reasons), hint="the figures are above")
    return 0


def _terms(
    options: argparse.Namespace, wiring: Wiring, conditions: tuple[str, ...], imitated: Imitated | None
) -> Terms:
    def pull_need(need: Need, library: Library, on_event: Listener) -> int:
        before = wiring.transport.received
        pull(wiring.sources(need), library, wiring.policy, on_event, wiring.wish(need))
        return wiring.transport.received - before

    def line_of(need: Need, snapshot: Snapshot) -> Line:
        return measure_line(wiring.sources(need)[0].hub, snapshot, min(options.connections, _MANY))

    endpoints = {"HF_ENDPOINT": wiring.endpoints["hf"][0], "MODELSCOPE_ENDPOINT": wiring.endpoints["ms"][0]}
    return Terms(
        options.runs,
        Surroundings(
            wiring.config.environ,
            endpoints,
            read_seconds(options.ready_within),
            {} if imitated else wiring.own_tokens,
            read_seconds(options.observe),
        ),
        wiring.library.root,
        pull_need,
        line_of,
        conditions,
        drop_caches=options.drop_caches,
        imitated=imitated,
        machine=describe_machine(wiring.library.root),
    )


@contextlib.contextmanager
def _hub(recipe: Recipe, imitated: Imitated | None, wiring: Wiring) -> Iterator[None]:
    """Put the imitated hub in the place of the real ones, where one is asked for."""
    if imitated is None:
        yield
        return
    with far_hub(recipe, wiring.library, imitated) as url:
        wiring.endpoints = dict.fromkeys(wiring.endpoints, (url,))
        yield


def _imitated(options: argparse.Namespace) -> Imitated | None:
    if not options.hub_rate:
        if options.hub_rtt:
            raise UsageError("a round trip alone imitates no hub", hint="--hub-rate 3M --hub-rtt 40ms")
        return None
    if options.endpoint:
        raise UsageError("a hub is either imitated or asked", hint="--hub-rate, or --endpoint")
    return Imitated(read_size(options.hub_rate), read_seconds(options.hub_rtt or "0"))


def _reasons(report: Report, criteria: list[Criterion], older: Older | None) -> list[str]:
    """List why the proof is to fail, in words."""
    reasons = [f"{criterion.text} is true" for criterion in criteria if criterion.holds(report)]
    for change in compare(older, report) if older else ():
        if change.worse:
            more = (
                "" if change.part is None else f" (+{change.part * 100:.0f} %, {change.allowed * 100:.0f} % is noise)"
            )
            was = f"{change.before:.6g} before and {change.now:.6g} now"
            reasons.append(f"{change.condition}.{change.figure} became worse: {was}{more}")
    return reasons


def _outbound(report: Report) -> list[str]:
    """List the starts that were to be offline and were not, each with where it went."""
    return [
        f"a {one.condition} start made {one.traffic.outbound} outbound attempt{'s'[: one.traffic.outbound != 1]}: "
        + "; ".join(one.traffic.places)
        for one in report.online
    ]


def _writable(words: str) -> Path:
    """Name the file to write, and see now that it can be: an hour later would be too late."""
    path = Path(words).absolute()
    if path.is_dir() or not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise UsageError(f"{path} cannot be written", hint="--report proof.html")
    return path


def _write(path: Path, text: str) -> None:
    """Write the page aside, and name it when it is whole."""
    tidy(path)
    try:
        put(path, lambda aside: aside.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise PreheatError(f"{path} cannot be written: {error.strerror}", hint="--report FILE, elsewhere") from error


def _conditions(words: str) -> tuple[str, ...]:
    named = {word.strip() for word in words.split(",")}
    if not named <= set(CONDITIONS):
        raise UsageError(f"{words!r} are not conditions", hint=f"--conditions {','.join(CONDITIONS)}")
    return tuple(condition for condition in CONDITIONS if condition in named)
