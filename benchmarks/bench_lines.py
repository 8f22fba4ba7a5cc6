"""Bench lines: `preheat pull` and its peers on every kind of line; writes results/lines/, the table and a picture.

python -m benchmarks.bench_lines --beside 5                  the whole grid, five cells at once: an hour, as root
python -m benchmarks.bench_lines --cells 8,20,1.5 --cells 2,200 --again    cells whose first figures these are
python -m benchmarks.bench_lines --cells 8,20,1.5 --only curl --trial      a trial, which writes nothing

Each cell has a file in results/lines/ as soon as it is measured, and a cell that has one is measured only with
--again: what was interrupted is resumed. Cells of up to 50 Mbit/s need little CPU time, and each has network
namespaces of its own, so several are measured at once; those of 800 Mbit/s are measured one by one, on an idle machine.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks import corpus, sides
from benchmarks.hub.repo import Repo, read_repo
from benchmarks.hub.serving import Manner
from benchmarks.line_cells import RESULTS, Cell, grid
from benchmarks.lines_report import write_report
from benchmarks.machine import describe, load
from benchmarks.sides import Side
from benchmarks.turns import Turns

_WITHIN_S = 50.0
_SLOW = 50.0  # Mbit/s: cells up to this rate can be measured beside each other
_PRIORITY = -15  # so that other programs on this machine delay no side's start


def measure(cell: Cell, everybody: list[Side], rounds: int, work: Path, *, tls: bool) -> dict[str, object]:
    """Let all clients pull over a line, alternately."""
    print(f"{cell.words}: {cell.size / 1e6:.1f} MB (load {load()})", flush=True)
    repo = _repo(cell.size, work)
    with cell.line() as line:
        turns = Turns(repo, Manner(pace=int(cell.cap * 1e6), tls=tls), work, line, _WITHIN_S)
        came = turns.take((side, rounds) for side in everybody)
    return {
        "words": cell.words, "figures": cell.figures, "size": repo.size, "rate": cell.rate * 125_000,
        "within_s": _WITHIN_S, "tls": tls, "machine": describe(work), "sides": came,
    }  # fmt: skip


def _repo(size: int, work: Path) -> Repo:
    folder = work / f"model-{size}"
    if not folder.exists():
        folder.mkdir()
        corpus.fill(folder / "model.safetensors", size * 3 // 4)
        corpus.fill(folder / "vae.safetensors", size - size * 3 // 4)
        (folder / "config.json").write_text('{"model_type": "tiny"}\n')
    return read_repo("acme/line", folder)


def main() -> None:
    """Measure the requested cells; merge the results with earlier ones."""
    form = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    form.add_argument("--cells", action="append", metavar="Mbit,ms,s,MB,%", help="those that begin so; repeatable")
    form.add_argument("--rounds", type=int, default=1, help="how often each has its turn")
    form.add_argument("--only", action="append", default=[], metavar="PEER", help="ours and these")
    form.add_argument("--plain", action="store_true", help="over HTTP, not HTTPS")
    form.add_argument("--trial", action="store_true", help="write nothing")
    form.add_argument("--work", type=Path, default=Path("/var/tmp"), help="a disk with 3 GB to spare")
    form.add_argument("--one", action="store_true", help=argparse.SUPPRESS)  # a cell's own process
    form.add_argument("--again", action="store_true", help="also cells that have been measured")
    form.add_argument("--beside", type=int, default=1, metavar="N", help="how many slow cells at once")
    options = form.parse_args()
    if os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(_PRIORITY))
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # so that hubs, namespaces and folders are removed at the end
    chosen = [tuple(float(figure) for figure in words.split(",")) for words in options.cells or [""] if words]
    cells = [cell for cell in grid() if not chosen or any(cell.figures[: len(one)] == one for one in chosen)]
    if not options.again and not options.trial:
        cells = [cell for cell in cells if not cell.kept.exists()]
    peers, absent = sides.gather(
        partial(sides.hf, "2.4.0", "hf 2.x"),
        partial(sides.hf, "0.36.2", "hf 0.36"),
        partial(sides.modelscope, "1.40.2"),
        sides.aria2,
        sides.curl,
    )
    slow = [cell for cell in cells if cell.rate <= _SLOW] if options.beside > 1 and not options.one else []
    with ThreadPoolExecutor(max(options.beside, 1)) as some:
        for printed in some.map(partial(_alone, words=_passed_on(sys.argv[1:])), slow):
            print(printed, flush=True)
            if not options.trial:
                write_report()
    everybody = [sides.preheat(), *(side for side in peers if not options.only or side.name in options.only)]
    work = Path(tempfile.mkdtemp(prefix="preheat-lines-", dir=options.work))
    try:
        for cell in cells:
            if cell in slow:
                continue
            told = measure(cell, everybody, options.rounds, work, tls=not options.plain)
            if not options.trial:
                _keep(cell, told | {"beside": options.beside}, report=not options.one)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for words in absent:
        print(words)


def _passed_on(words: Sequence[str]) -> list[str]:
    """Return the options of one cell's own process: all but which cells."""
    kept, others = [], iter(words)
    for word in others:
        if word == "--cells":
            next(others)
        else:
            kept.append(word)
    return kept


def _alone(cell: Cell, words: Sequence[str]) -> str:
    """Measure one cell in a process of its own; return what it printed."""
    figures = ",".join(f"{figure:g}" for figure in cell.figures)
    command = [sys.executable, "-m", "benchmarks.bench_lines", *words, "--cells", figures, "--one"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.rstrip()


def _keep(cell: Cell, told: dict[str, object], *, report: bool) -> None:
    RESULTS.mkdir(exist_ok=True)
    cell.kept.write_text(json.dumps(told, indent=1) + "\n")
    if report:
        write_report()


if __name__ == "__main__":
    main()
