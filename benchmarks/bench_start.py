"""What `preheat run` costs: before the app's first instruction with a full library, and until an app's page; in turns.

Writes benchmarks/results/start.json and prints the tables of docs/benchmarks.md.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks import corpus
from benchmarks.cold_starts import RATES
from benchmarks.cold_starts import WANTED as WANTED_COLD
from benchmarks.cold_starts import measure as measure_cold
from benchmarks.machine import describe, load
from benchmarks.page_starts import WANTED, measure

RESULTS = Path(__file__).parent / "results" / "start.json"
COMMAND = Path(__file__).parents[1] / ".venv" / "bin" / "preheat"
APP = ("/bin/sh", "-c", "date +%s.%N > first")
FILES = (12, 3_000, 30_000)


def main() -> None:
    """Measure starts with each number of files in the view, in turns with the bare command."""
    form = argparse.ArgumentParser(description=__doc__)
    form.add_argument("--rounds", type=int, default=9)
    form.add_argument("--files", type=int, action="append", help="files in the view; repeatable")
    form.add_argument("--page", metavar="RECIPE", type=Path, help="an app with a page, pulled; default: a stand-in")
    form.add_argument("--pairs", type=int, default=12, help="pairs of starts until the page")
    form.add_argument("--venv", default="", help="a Python that has torch, transformers and gradio, for cold starts")
    form.add_argument("--cold", type=int, default=0, metavar="ROUNDS", help="only starts from a slow disk, as root")
    form.add_argument("--rate", type=int, action="append", help="of the slow disk in MB/s; repeatable")
    form.add_argument("--folder", default="", help="keep the slow disk there, and use the one that is there")
    options = form.parse_args()
    if options.cold:
        _cold(options.cold, options.venv, tuple(options.rate or RATES), options.folder)
        return
    measured: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="preheat-bench-", dir="/var/tmp") as name:
        work = Path(name)
        for count in options.files or FILES:
            folder = _prepared(work / str(count), count)
            starts = [(_start(folder, ()), _start(folder, (str(COMMAND), "run", "--"))) for _ in range(options.rounds)]
            bare, ours = zip(*starts, strict=True)
            measured[str(count)] = {"bare": bare, "run": ours}
            print(f"| {count:,} | {_said(bare, 0)} | {_said(ours, 0)} | {_said(ours, 1)} |", flush=True)
        machine = describe(work)
        pairs = measure(options.page, work / "page", options.pairs)
        print(f"{pairs.row()}\nwanted: at most {WANTED}×; load {load()}")
    if options.rounds >= 5 and not options.files and not options.page:
        _keep(machine=machine, files=measured, page=pairs.document())


def _cold(rounds: int, python: str, rates: tuple[int, ...], folder: str) -> None:
    """Measure starts from a slow disk, print a table, and keep it if there were enough rounds."""
    kept = Path(folder) if folder else Path(tempfile.mkdtemp(prefix="preheat-bench-", dir="/var/tmp"))
    kept.mkdir(exist_ok=True)
    rows: list[dict[str, object]] = []
    try:
        machine = describe(kept)
        for row in measure_cold(kept, rounds, python, rates):
            rows.append({**row.document(), "load": load()})
            print(row.row(), flush=True)
    finally:
        if not folder:
            shutil.rmtree(kept)
    print(f"wanted from 200 MB/s: at most {WANTED_COLD}×; load {load()}")
    if rows and rounds >= 5:
        before = json.loads(RESULTS.read_text()).get("cold", {}).get("rows", []) if RESULTS.exists() else []
        measured = {(row["app"], row["rate"]) for row in rows}
        others = [row for row in before if (row["app"], row["rate"]) not in measured]
        _keep(cold={"machine": machine, "rows": [*others, *rows]})


def _keep(**parts: object) -> None:
    """Replace parts of the results, and leave the others as they were."""
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**before, **parts}, indent=1) + "\n")


def _prepared(folder: Path, count: int) -> Path:
    """Make a library that has `count` small files, and an app that needs them; its view is placed by a first start."""
    corpus.small_files(folder / "model", count, count * 1_000)
    (folder / "preheat.toml").write_text(f'[app]\nname = "bench"\n[[needs]]\nref = "file:{folder}/model"\n')
    for words in (("pull", "preheat.toml"), ("run", "--", *APP)):
        subprocess.run([COMMAND, *words], cwd=folder, env=_environ(folder), check=True, capture_output=True)
    return folder


def _start(folder: Path, words: tuple[str, ...]) -> tuple[float, float]:
    """Start the app; return the seconds until its first instruction, and the CPU seconds of the whole start."""
    (folder / "first").unlink(missing_ok=True)
    spent, began = _cpu_s(), time.time()
    subprocess.run([*words, *APP], cwd=folder, env=_environ(folder), check=True, capture_output=True)
    return float((folder / "first").read_text()) - began, _cpu_s() - spent


def _environ(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "PREHEAT_LIBRARY": str(folder / "library")}


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def _said(starts: tuple[tuple[float, float], ...], column: int) -> str:
    values = [start[column] for start in starts]
    return f"{statistics.median(values):.3f} ({min(values):.3f}–{max(values):.3f})"


if __name__ == "__main__":
    main()
