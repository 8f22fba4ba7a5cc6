"""Rates: benches whose sides move the same bytes, in turns, and are compared by bytes per second."""

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.timed import run

RESULTS = Path(__file__).parent / "results"


def bench(name: str, doc: str | None, size: int, measure: Callable[[Path, int, int], dict[str, object]]) -> None:
    """Read the options, measure in a temporary folder, and write the figures to results/NAME.json.

    `measure` gets the folder, the bytes to move (`size` unless --size says otherwise), and the number of runs.
    """
    words = argparse.ArgumentParser(description=doc)
    words.add_argument("--size", type=int, default=size)
    words.add_argument("--runs", type=int, default=5)
    words.add_argument("--place", type=Path)
    options = words.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{name}-", dir=options.place))
    try:
        figures = measure(folder, options.size, options.runs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")


def rate(name: str, command: Sequence[object], environ: Mapping[str, str], folder: Path, size: int) -> float:
    """Run a side that moves `size` bytes, and print its rate; return it in bytes/s. Exit if the side fails."""
    spent = run([str(word) for word in command], environ, folder / "said.txt", 300)
    if spent.status:
        raise SystemExit(f"{name}: {spent.said}")
    print(f"  {name:24} {size / spent.seconds / 1e6:6.0f} MB/s, CPU {spent.cpu_s:.2f} s", flush=True)
    return size / spent.seconds


def print_rates(rates: Mapping[str, Sequence[float]], what: str = "") -> None:
    """Print each side's median and range beside those of ours, which is the first side."""
    ours = statistics.median(next(iter(rates.values())))
    for name, some in rates.items():
        median, span = statistics.median(some), f"{min(some) / 1e6:.0f}-{max(some) / 1e6:.0f}"
        print(f"{what}{name:22} {median / 1e6:6.0f} MB/s ({span}); ours {ours / median:.2f}")
