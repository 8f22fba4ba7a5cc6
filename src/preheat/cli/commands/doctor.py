"""The `preheat doctor` command."""

import argparse
from dataclasses import replace
from pathlib import Path

from preheat.cli.hints import as_typed
from preheat.cli.wiring import Wiring
from preheat.core.events import Noted
from preheat.core.snapshot import Snapshot
from preheat.core.units import say_seconds, say_size
from preheat.proof.advice.remedies import Remedy
from preheat.proof.limits.line_speed import Line, measure_line
from preheat.recipes.recipe import FILE_NAME
from preheat.verbs.doctor import DoctorInputs, doctor
from preheat.verbs.pull_sources import PullSource

_MANY = 64
_SAMPLE = 48_000_000  # bytes to download from each source


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat doctor`; return the exit status."""
    recipe = wiring.recipe(options.app) if options.app or Path(FILE_NAME).is_file() else None

    def line_of(source: PullSource, snapshot: Snapshot) -> Line:
        what = f"measuring the download rate with at most {say_size(_SAMPLE)}"
        wiring.on_event(Noted(source.name or str(source.ref), what))
        return measure_line(source.hub, snapshot, min(options.connections, _MANY), _SAMPLE)

    config, app = wiring.config, (recipe.typed or FILE_NAME) if recipe is not None else ""
    inputs = DoctorInputs(wiring.sources, line_of, config.environ, app, config.ca_file)
    # doctor checks the certificates too, so a missing file must not end it here.
    if config.ca_file is not None and not config.ca_file.is_file():
        wiring.config = replace(config, ca_file=None)
    symptoms, found = doctor(recipe, wiring.library, inputs, wiring.on_event)
    found = [replace(one, command=as_typed(one.command, options)) for one in found]
    figures = {"app": recipe.name if recipe else "", "remedies": found, "symptoms": symptoms}
    wiring.console.done(figures, _lines(found))
    return 0


def _lines(found: list[Remedy]) -> str:
    if not found:
        return "found nothing that would speed up a start"
    lines = []
    for remedy in found:
        seconds = "blocks" if remedy.seconds is None else say_seconds(remedy.seconds)
        lines += [f"{seconds:>12}  {remedy.said}", f"{'':>12}  $ {remedy.command}"]
    return "\n".join(lines)
