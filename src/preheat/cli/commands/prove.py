"""`preheat prove`."""

import argparse
import signal
import sys
from collections.abc import Mapping

from preheat.cli.wiring import Wiring
from preheat.cli.words import read_seconds, say_seconds, say_size
from preheat.errors import UsageError
from preheat.events import Listener
from preheat.library.library import Library
from preheat.proof.figures import figures
from preheat.proof.line import Line, measure_line
from preheat.proof.machine import describe_machine
from preheat.proof.table import Saying, table
from preheat.proof.timeline import CONDITIONS
from preheat.recipes.recipe import Need
from preheat.snapshot import Snapshot
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
    terms = _terms(options, wiring)
    wiring.library.prepare(0)
    report = prove(recipe, terms, wiring.view, wiring.console)
    wiring.console.done(figures(report), table(report, Saying(say_size, say_seconds)))
    return 0


def _terms(options: argparse.Namespace, wiring: Wiring) -> Terms:
    def pull_need(need: Need, library: Library, on_event: Listener) -> int:
        before = wiring.transport.received
        pull(wiring.sources(need), library, wiring.policy, on_event, wiring.wish(need))
        return wiring.transport.received - before

    def line_of(need: Need, snapshot: Snapshot) -> Line:
        return measure_line(wiring.sources(need)[0].hub, snapshot, min(options.connections, _MANY))

    endpoints = {"HF_ENDPOINT": wiring.endpoints["hf"][0], "MODELSCOPE_ENDPOINT": wiring.endpoints["ms"][0]}
    return Terms(
        options.runs,
        Surroundings(wiring.config.environ, endpoints, read_seconds(options.ready_within), _secrets(wiring)),
        wiring.library.root,
        pull_need,
        line_of,
        _conditions(options.conditions),
        drop_caches=options.drop_caches,
        machine=describe_machine(wiring.library.root),
    )


def _secrets(wiring: Wiring) -> Mapping[str, str]:
    """Say which token a cold start needs that would have found it in the user's own HF_HOME."""
    return {"HF_TOKEN": wiring.config.tokens["hf"]} if "hf" in wiring.config.tokens else {}


def _conditions(words: str) -> tuple[str, ...]:
    named = {word.strip() for word in words.split(",")}
    if not named <= set(CONDITIONS):
        raise UsageError(f"{words!r} are not conditions", hint=f"--conditions {','.join(CONDITIONS)}")
    return tuple(condition for condition in CONDITIONS if condition in named)
