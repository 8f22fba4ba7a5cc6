"""`preheat prove`."""

import argparse
import signal
import sys

from preheat.cli.wiring import Wiring
from preheat.cli.words import read_seconds, say_seconds, say_size
from preheat.errors import UsageError
from preheat.library.library import Library
from preheat.proof.report import table
from preheat.verbs.prove import Terms, prove
from preheat.verbs.pull import pull


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Do what `preheat prove` says."""
    # A service's stop too removes what the proof has laid out.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    recipe = wiring.recipe(options.app)
    if options.runs < 1:
        raise UsageError(f"{options.runs} rounds prove nothing", hint="--runs 3")

    def pull_all(library: Library) -> int:
        before = wiring.transport.received
        for need in recipe.needs:
            pull(wiring.sources(need), library, wiring.policy, wiring.console, wiring.wish(need))
        return wiring.transport.received - before

    wiring.library.prepare(0)
    terms = Terms(
        options.runs,
        read_seconds(options.ready_within),
        wiring.config.environ,
        wiring.endpoints["hf"][0],
        wiring.library.root,
        pull_all,
    )
    report = prove(recipe, terms, wiring.view, wiring.console)
    wiring.console.done(report.figures(), table(report, say_size, say_seconds))
    return 0
