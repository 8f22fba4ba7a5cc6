"""Bench prove's cost: the CPU time that observation adds to a start, in the app's processes and in prove's own.

    python -m benchmarks.bench_prove_cost [--pairs 10] [--app RECIPE]

Starts an app in pairs, once observed as `prove` observes it (import times, network calls, memory, files) and once by
the ready probe alone, in turns. CPU time is compared, not seconds, so that the machine may be busy. Without --app, the
app is a Python that imports about a thousand modules and hashes 200 MB eight times, about as much as a small page's
start. Writes results/prove_cost.json and the table in docs/proof.md; 2 minutes.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.document import fill
from benchmarks.machine import describe

from preheat.core.units import say_seconds
from preheat.guard.model.app import App
from preheat.proof.start.observer import ObservedResources
from preheat.proof.start.trial import Instruments, start_once
from preheat.recipes.recipe import read_recipe
from preheat.verbs.run import stopwatch, witness_for

ROOT = Path(__file__).resolve().parent.parent
RESULTS, DOCUMENT = ROOT / "benchmarks/results/prove_cost.json", ROOT / "docs/proof.md"
BEGIN, END = "<!-- cost: made by benchmarks/bench_prove_cost.py -->", "<!-- end of cost -->\n"
ASKED = 0.03
_READ = 200_000_000
# Imports of about a thousand modules, and work on the weights, as a start of a few seconds has them.
_APP = """
import contextlib, hashlib, importlib, sys, time
for name in "mypy.main pytest hypothesis rich.console pip._internal.cli.main jinja2 cryptography.x509".split():
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
for _ in range(8):
    with open({weights!r}, "rb") as file:
        hashlib.file_digest(file, "sha256")
print("ready", len(sys.modules), flush=True)
time.sleep(600)
"""


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--pairs", type=int, default=10)
    words.add_argument("--app", type=Path, help="a preheat.toml whose models are where it looks for them")
    words.add_argument("--table", action="store_true", help="only write the table again, from the results")
    given = words.parse_args()
    if given.table:
        result = json.loads(RESULTS.read_text())
        return document(summary(result["pairs"]), result["machine"])
    with tempfile.TemporaryDirectory() as folder:
        app, weights = of_recipe(given.app) if given.app else plain(Path(folder))
        cpu(app, weights, None)  # what only a first start does
        rows = []
        for number in range(given.pairs):
            notes = Path(folder, f"notes-{number}")
            order = (notes, None) if number % 2 else (None, notes)
            pair = {"observed" if one else "alone": cpu(app, weights, one) for one in order}
            rows.append(pair)
            print(f"  {say(pair['alone'])} alone, {say(pair['observed'])} observed", flush=True)
        machine = describe(Path(folder))
    found = summary(rows)
    RESULTS.write_text(json.dumps({"machine": machine, "found": found, "pairs": rows}, indent=1) + "\n")
    return document(found, machine)


def document(found: dict[str, float], machine: dict[str, object]) -> int:
    """Write the table of docs/proof.md; return 0 if what is asked holds."""
    part = table(found, machine)
    DOCUMENT.write_text(fill(DOCUMENT.read_text(encoding="utf-8"), BEGIN, END, part), encoding="utf-8")
    print(part)
    return 0 if max(found["cost"], found["beside"]) <= ASKED else 1


def plain(folder: Path) -> tuple[App, list[Path]]:
    """Return an app of packages that developers have, and the file that it reads."""
    weights = folder / "weights.bin"
    weights.write_bytes(os.urandom(1 << 20) * (_READ >> 20))
    command = (sys.executable, "-c", _APP.format(weights=str(weights)))
    return App(command, dict(os.environ), str(folder), "line:ready"), [weights]


def of_recipe(path: Path) -> tuple[App, list[Path]]:
    """Return the app of a recipe, started as it is."""
    recipe = read_recipe(path)
    env = {**os.environ, **recipe.env}
    return App(recipe.command, env, str(recipe.folder), recipe.ready or ""), []


def cpu(app: App, weights: list[Path], notes: Path | None) -> dict[str, float]:
    """Start the app once; return the CPU seconds of its processes, and of this one, which observes it; and the time."""
    before, began = used(), time.monotonic()
    if notes is None:
        start_once(app, "", 600.0)
    else:
        notes.mkdir()
        env = dict(app.env or {})
        app = App(app.command, {**env, **stopwatch(env, notes)}, app.cwd, app.ready)
        start_once(app, "", 600.0, Instruments(witness_for(app), notes, ObservedResources(weights)))
    took = {name: round(now - before[name], 4) for name, now in used().items()}
    return took | {"wall": round(time.monotonic() - began, 4)}


def used() -> dict[str, float]:
    """Return the CPU seconds of all ended children, and of this process."""
    found = {}
    for name, who in (("app", resource.RUSAGE_CHILDREN), ("own", resource.RUSAGE_SELF)):
        usage = resource.getrusage(who)
        found[name] = usage.ru_utime + usage.ru_stime
    return found


def summary(rows: list[dict[str, dict[str, float]]]) -> dict[str, float]:
    """Return the medians over all pairs; `cost` is what observation adds to the app's CPU time, as a fraction.

    `beside` is the CPU time of the observer more than that of a probe alone, as a fraction of one core.
    """
    app = [pair["observed"]["app"] / pair["alone"]["app"] - 1 for pair in rows]
    own = [
        pair["observed"]["own"] / pair["observed"]["wall"] - pair["alone"]["own"] / pair["alone"]["wall"]
        for pair in rows
    ]
    return {
        "pairs": len(rows),
        "alone_s": statistics.median(pair["alone"]["app"] for pair in rows),
        "cost": statistics.median(app),
        "of_least": min(pair["observed"]["app"] for pair in rows) / min(pair["alone"]["app"] for pair in rows) - 1,
        "least": min(app),
        "most": max(app),
        "beside": statistics.median(own),
    }


def table(found: dict[str, float], machine: dict[str, object]) -> str:
    rows = (
        ("CPU time of a start, by the ready probe alone", say_seconds(found["alone_s"]), ""),
        ("what observation adds to it in the app", f"{found['cost'] * 100:+.1f} %", f"at most {ASKED * 100:.0f} %"),
        ("the same, the least start of each kind", f"{found['of_least'] * 100:+.1f} %", ""),
        ("the observer itself, of one core", f"{found['beside'] * 100:.1f} %", f"at most {ASKED * 100:.0f} %"),
    )
    lines = ["| figure | measured | asked |", "|---|---:|---:|", *(f"| {' | '.join(row)} |" for row in rows)]
    cores, load = f"{machine['cores']} cores, Linux {machine['kernel']}", f"load {machine['load']}"
    where = f"{cores}, Python {machine['python']}; {machine['date']}, {load}"
    spread = f"{found['least'] * 100:+.1f} to {found['most'] * 100:+.1f} %"
    lines += ["", f"The median of {found['pairs']:.0f} pairs, {spread}; {where}. `make bench-prove-cost`.", ""]
    return "\n".join(lines)


def say(usage: dict[str, float]) -> str:
    return f"{usage['app']:.2f} s + {usage['own']:.2f} s"


if __name__ == "__main__":
    sys.exit(main())
