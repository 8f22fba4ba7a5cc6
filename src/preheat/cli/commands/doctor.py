"""The `preheat doctor` command."""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from preheat.cli.hints import as_typed
from preheat.cli.wiring import Wiring
from preheat.core.events import Noted
from preheat.core.snapshot import Snapshot
from preheat.core.units import say_seconds, say_size
from preheat.core.values.replace import replace
from preheat.proof.advice.remedies import Remedy, typical_start
from preheat.proof.advice.symptoms import Symptoms
from preheat.proof.limits.line_speed import Line, measure_line
from preheat.proof.start.start_notes import StartNotes, StartParts
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
    starts: tuple[StartParts, ...] = ()
    if recipe is not None:
        path = recipe.path or recipe.folder / FILE_NAME
        starts = StartNotes(config.state).read(recipe.name, path, recipe.folder)
    inputs = DoctorInputs(wiring.sources, line_of, config.environ, app, config.ca_file, starts=starts)
    # doctor checks the certificates too, so a missing file must not end it here.
    if config.ca_file is not None and not config.ca_file.is_file():
        wiring.config = replace(config, ca_file=None)
    symptoms, found = doctor(recipe, wiring.library, inputs, wiring.on_event)
    found = [replace(one, command=as_typed(one.command, options)) for one in found]
    figures = {"app": recipe.name if recipe else "", "remedies": found, "symptoms": symptoms}
    lines = [_lines(found), *(as_typed(line, options) for line in _start_lines(symptoms))]
    wiring.console.done(figures, "\n".join(lines))
    return 0


def _start_lines(symptoms: Symptoms) -> Iterator[str]:
    """Yield how a start of the app is divided, or how to find that out."""
    start = typical_start(symptoms)
    if start is not None:
        day = datetime.fromtimestamp(start.at, UTC).date().isoformat()
        parts = [f"imports {say_seconds(start.imports_s)}"]
        if start.reading_s is not None:
            parts.append(f"reading weights {say_seconds(start.reading_s)}")
        parts += [f"the interpreter {say_seconds(start.interpreter_s)}", f"the rest {say_seconds(start.rest_s)}"]
        yield f"a {start.condition} start on {day} took {say_seconds(start.ready_s)}: {', '.join(parts)}"
    if symptoms.command and (start is None or start.reading_s is None):
        what = (
            "how much of a start is imports, reading and the rest" if start is None else "the time of reading weights"
        )
        yield f"{what} is not measured yet; to measure it: preheat prove"


def _lines(found: list[Remedy]) -> str:
    if not found:
        return "found nothing that would speed up a start"
    lines = []
    for remedy in found:
        seconds = "blocks" if remedy.seconds is None else say_seconds(remedy.seconds)
        lines += [f"{seconds:>12}  {remedy.said}", f"{'':>12}  $ {remedy.command}"]
    return "\n".join(lines)
