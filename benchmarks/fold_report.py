"""Fold report: the figures of benchmarks/results/fold.json as a table in docs/fold.md."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.document import fill

from preheat.core.units import say_count, say_size

PAGE = Path(__file__).parents[1] / "docs" / "fold.md"
_OPEN = "<!-- measured: made by benchmarks/bench_fold.py from benchmarks/results/fold.json -->"
_SHUT = "<!-- end of measured -->"


def write_table(told: dict[str, Any]) -> None:
    """Write the table."""
    PAGE.write_text(fill(PAGE.read_text(), _OPEN, _SHUT, "\n".join(_lines(told)) + "\n"))


def _lines(told: dict[str, Any]) -> Iterator[str]:
    box, machine, first = told["box"], told["machine"], told["first"]["seconds"]
    # Holes are hashed, and not read from the disk.
    ideal_s = max(box["apparent"] / told["sha256_rate"], box["dense"] / told["disk_rate"])
    alone_s = box["apparent"] / told["sha256_per_cpu_s"]
    sha256, disk = (f"{say_size(round(told[name]))}/s" for name in ("sha256_rate", "disk_rate"))
    rows = [
        (f"{say_size(box['apparent'])} in {box['files']} files of five apps", "", "goal"),
        ("---", "---", "---"),
        ("duplicates", f"{100 * (1 - box['unique'] / box['apparent']):.0f} %", ""),
        ("disk after `--yes`, in copies of each model", f"{told['disk_after'] / box['disk_unique']:.3f}", "≤ 1.02"),
        ("first run, which hashes everything", f"{first:.1f} s, {say_size(round(box['apparent'] / first))}/s", ""),
        (f"its rate, relative to sha256 ({sha256}) and the disk ({disk})", f"{ideal_s / first:.2f}", "≥ 0.9"),
        ("its CPU time, relative to sha256's alone", f"{told['first']['cpu_s'] / alone_s:.2f}", ""),
        ("second run", _seconds(told["again"]), ""),
        ("`--yes`", _seconds(told["yes"]), ""),
        (f"`--undo`, which copies and hashes {say_size(told['copied'])}", _seconds(told["undo"]), ""),
        ("files with the same bytes, mode, owner and time then", f"{told['equal']} of {box['files']}", "all"),
        *_many(told["many"]),
    ]
    yield from (f"| {' | '.join(row)} |".replace("| --- |", "|---|").replace(" --- |", "---|") for row in rows)
    yield ""
    busy = ": a busy machine, so that rates are too low" if machine["load"] > machine["cores"] else ""
    yield (
        f"`make bench-fold`; {say_size(box['dense'])} are random bytes on the disk, which were not cached, the others "
        f"holes with a random page every 16 MiB. {machine['cpu']}, {say_count(machine['cores'], 'core')}, "
        f"{machine['filesystem']}, Linux {machine['kernel']}, Python {machine['python']}; {machine['date']}, load "
        f"{machine['load']}{busy}. {', '.join(f'{count} {kind}s' for kind, count in told['links'].items())}."
    )


def _many(many: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    files = f"{many['files']:,} files of 1 MiB, each four times"
    yield f"{files}: second run", _seconds(many["again"]), "≤ 2 s"
    yield "the same: `--yes`; `--undo`", f"{_seconds(many['yes'])}; {_seconds(many['undo'])}", ""
    most = max(one["peak_rss"] for one in many.values() if isinstance(one, dict))
    yield "the most memory of these runs", say_size(most), ""


def _seconds(spent: dict[str, float]) -> str:
    return f"{spent['seconds']:.1f} s" if spent["seconds"] > 10 else f"{spent['seconds']:.2f} s"
