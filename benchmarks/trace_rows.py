"""Trace rows: benchmarks/results/trace.json, one row for each program and the user who traced it.

Each row has its date and the commit of the code that was judged, so that a bench may be interrupted and continued.
"""

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import describe, load

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "trace.json"


def commit() -> str:
    """Return the last commit that changed the source, with `+` if the source has changes that are not committed."""
    words = ("git", "-C", str(ROOT))
    last = subprocess.run(
        (*words, "log", "-1", "--format=%h", "--abbrev=8", "--", "src"), capture_output=True, text=True, check=False
    )
    changed = subprocess.run(
        (*words, "status", "--porcelain", "--", "src"), capture_output=True, text=True, check=False
    )
    return last.stdout.strip() + ("+" if changed.stdout.strip() else "")


def stamp() -> dict[str, Any]:
    """Return when and of what code a row is, and how busy the machine was."""
    return {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"), "commit": commit(), "load": load()}


def known(results: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Return the rows that there are: by program, then by who traced it."""
    return json.loads(results.read_text())["programs"] if results.is_file() else {}


def due(rows: Sequence[tuple[str, str]], since: str, results: Path = RESULTS) -> list[tuple[str, str]]:
    """List the rows that have no date from `since` on: those that were never judged first, then the oldest."""
    found = known(results)
    dates = {one: found.get(one[0], {}).get(one[1], {}).get("date", "") for one in rows}
    return sorted((one for one in rows if not since or dates[one] < since), key=lambda one: dates[one])


def keep(name: str, tracer: str, row: dict[str, Any], names: Sequence[str], results: Path = RESULTS) -> None:
    """Write a row; all others stay, but for those of programs that are not in `names`, which is the table's order."""
    with _turn(results):
        rows = known(results)
        rows[name] = rows.get(name, {}) | {tracer: row}
        kept = {one: rows[one] for one in names if one in rows}
        told = {"machine": describe(results.parent), "programs": kept}
        fresh = results.with_suffix(".new")
        fresh.write_text(json.dumps(told, indent=1) + "\n")
        fresh.replace(results)


@contextmanager
def _turn(results: Path) -> Iterator[None]:
    """Keep other benches, which judge other programs, from writing at the same time."""
    descriptor = os.open(results.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
