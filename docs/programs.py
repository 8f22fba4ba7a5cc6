"""Programs: the table of docs/trace.md, from what `make bench-trace` found."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MEASURED = HERE.parent / "benchmarks" / "results" / "trace.json"
_OPENING = "<!-- programs: made by docs/make.py from benchmarks/results/trace.json -->"
_END = "<!-- end of programs -->"


def programs() -> Iterator[str]:
    """Yield the document with its table."""
    text = (HERE / "trace.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(_OPENING)
    table = "\n".join(_table(json.loads(MEASURED.read_text(encoding="utf-8"))))
    yield f"{before}{_OPENING}\n\n{table}\n\n{_END}{rest.partition(_END)[2]}".rstrip("\n")


def _table(measured: dict[str, Any]) -> Iterator[str]:
    found = measured["programs"]
    judged = [one[user] for one in found.values() for user in ("root", "user") if user in one]
    good = sum(one["replays"] for one in judged)
    yield (
        "`make bench-trace` traces each program, in its newest version, in a small internet of its own "
        "(`tests/smallnet/`), as root and as a user without rights. Then another user starts it from its recipe: in "
        "another folder, with an empty HOME, another copy of its Python environment, and no network. "
        f"{good} of {len(judged)} trials, of {len(found)} programs, started with 0 outbound attempts. Those by URL "
        "were traced with `--intercept`. What another machine has to be handed, since no URL has it, is in the column "
        "`of it made`."
    )
    yield ""
    yield (
        "| program | traced by | needs | MB | of it made | start | trace with replays | started elsewhere "
        "| outbound attempts | judged (UTC), commit |"
    )
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | --- |"
    for name, one in found.items():
        for user in ("root", "user"):
            if user in one:
                yield _row(name, user, one[user])
    machine = measured["machine"]
    loads = [one["load"] for one in judged]
    said = f"{machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}"
    busy = f"load average {min(loads)} to {max(loads)}: where it is above the cores, times are upper bounds"
    yield f"\n<sub>{said}; {busy}.</sub>"


def _row(name: str, user: str, told: dict[str, Any]) -> str:
    attempts = "" if told["attempts"] is None else str(told["attempts"])
    versions = told["versions"]
    missing = "".join(f"; {one.strip()}" for one in told["said"].splitlines() if one.startswith("  missing: "))
    fate = "yes" if told["replays"] else f"no: trace ended with {told['trace']}: {told['reason']}{missing}"
    return (
        f"| {name}{versions and f' ({versions})'} | {user} | {told['needs']} | {told['size'] / 1e6:.2f} "
        f"| {told['made'] / 1e6:.2f} | {told['plain_s']:.1f} s | {told['trace_s']:.1f} s | {fate} | {attempts} "
        f"| {told['date']}, {told['commit']} |"
    )
