"""What tracing costs a start: the demo's page, preloaded, untraced and under each eye, in turns.

Needs what `make demo` has made. Writes benchmarks/results/trace_cost.json and prints the table of docs/benchmarks.md.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe

from preheat.core.events import Event
from preheat.core.ref import Ref
from preheat.core.values.replace import replace
from preheat.guard.model.app import App
from preheat.guard.model.tail import Tail
from preheat.guard.probes.probes import parse_probe
from preheat.guard.process.process import Output, Process
from preheat.guard.witness.connections import Witness
from preheat.guard.witness.file_opens import Opens
from preheat.hubs.folder import Folder
from preheat.library.library import Library
from preheat.recipes.offline_env import direct, offline
from preheat.recipes.recipe import read_recipe
from preheat.transfer.fetch import Policy
from preheat.verbs.placing.allowed_places import NO_PERMISSION
from preheat.verbs.placing.place import place_sites
from preheat.verbs.pull import pull
from preheat.verbs.pull_sources import FileSelection, PullSource
from preheat.verbs.tracing.traced_start import logged
from preheat.verbs.view import site_at
from preheat.views.layouts.huggingface import HuggingFaceCache

ROOT = Path(__file__).resolve().parents[1]
DEMO, HUB = ROOT / "examples" / "speech_webui", ROOT / ".demo" / "hub"
RESULTS = ROOT / "benchmarks" / "results" / "trace_cost.json"
# By name: whether the tracer is in the app's Pythons, whether opens are watched, whether calls are counted.
SIDES = {
    "untraced": (False, False, False),
    "tracer": (True, False, False),
    "tracer, opens": (True, True, False),
    "tracer, opens, calls": (True, True, True),
}
WITHIN_S = 300.0


def silent(event: Event) -> None:
    """Hear nothing."""


def placed(workplace: Path) -> dict[str, str]:
    """Bring the demo's weights into a library and lay them out; say which variables lead there."""
    library = Library(workplace / "library")
    environ: dict[str, str] = {}
    for need in read_recipe(DEMO).needs:
        folder = Ref.parse(f"file:{HUB / need.ref.repo}")
        source, selection = PullSource("the demo's hub", Folder(), folder), FileSelection(need.files)
        told = pull([source], library, Policy(4), silent, selection)
        # Placed as the hub's repository, by which name the page asks for it.
        snapshot = replace(told.snapshot, ref=need.ref)
        site = site_at(snapshot, library, HuggingFaceCache(), workplace / "cache", NO_PERMISSION)
        environ |= place_sites([site], library, silent)
    return environ


def start(app: App, side: str, workplace: Path, number: int) -> float:
    """Start the page until it is ready, and stop it; say how many seconds that took."""
    tracer, opens, calls = SIDES[side]
    environ = dict(app.env or {})
    if tracer:
        notes = workplace / f"notes-{number}"
        notes.mkdir()
        environ |= logged(environ, notes)
    held: list[Process] = []
    watching = Opens(["/"], lambda: held[0].pid if held else 0) if opens else None
    witness = Witness() if calls else None
    probe = parse_probe(app.ready, Tail())
    began = time.monotonic()
    process = Process(App(app.command, environ, app.cwd, app.ready), output=Output(None, None), witness=witness)
    held.append(process)
    try:
        while not probe.ready():
            if not process.alive() or time.monotonic() - began > WITHIN_S:
                raise SystemExit("\n".join(("the page was never ready:", *process.tail.lines(20))))
            time.sleep(0.01)
        return time.monotonic() - began
    finally:
        process.stop()
        if watching is not None:
            watching.close()
        if witness is not None:
            witness.close()


def main() -> int:
    """Measure, write, print."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--runs", type=int, default=5, help="rounds (default 5)")
    asked = words.parse_args()
    if not (DEMO / ".venv").is_dir() or not HUB.is_dir():
        print("the demo's app and weights are not here: make demo ONCE=1", file=sys.stderr)
        return 1
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        workplace = Path(folder)
        recipe = read_recipe(DEMO)
        environ = direct(offline({"PATH": "/usr/bin:/bin", "HOME": folder})) | placed(workplace) | recipe.env
        app = App(recipe.command, environ, str(recipe.folder), recipe.ready)
        start(app, "untraced", workplace, 0)  # so that all find the same in the page cache
        number = 0
        for _ in range(asked.runs):
            for side in SIDES:
                number += 1
                seconds[side].append(start(app, side, workplace, number))
                print(f"{side}: {seconds[side][-1]:.2f} s", file=sys.stderr, flush=True)
        figures = {"machine": describe(workplace), "runs": asked.runs, "seconds": seconds}
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    plain = statistics.median(seconds["untraced"])
    print("|  | seconds to the page | × untraced |\n| --- | ---: | ---: |")
    for side, each in seconds.items():
        middle = statistics.median(each)
        print(f"| {side} | {middle:.2f} ({min(each):.2f}–{max(each):.2f}) | {middle / plain:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
