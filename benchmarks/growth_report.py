"""Growth report: results/growth.json as one table and one picture; no figure in them is typed by hand.

python -m benchmarks.growth_report
"""

import json
from pathlib import Path
from typing import Any

from benchmarks import plot
from benchmarks.document import DOCUMENT, fill

RESULTS = Path(__file__).parent / "results" / "growth.json"
_PICTURE = DOCUMENT.parent / "pictures" / "growth.svg"
_OPEN, _SHUT = "<!-- growth: made by benchmarks/growth_report.py from results/growth.json -->", "<!-- end of growth -->"
_STEEP = 1.15
_TITLES = {
    "lock": "lock",
    "pull": "pull",
    "pull-again": "pull, nothing new",
    "run": "run, the view in place",
    "view": "view, symlinks",
    "verify": "verify",
    "build": "build",
    "adopt": "adopt",
    "mirror-head": "mirror, 2,000 HEADs",
    "run-needs": "run",
    "view-needs": "view, symlinks in one folder",
    "prune-needs": "prune after that view",
    "ls-needs": "ls",
}
_ABOUT = """\
## Growth

`make bench-growth` measures what each verb costs at three sizes: with one repository of small files, and with many
repositories of one file each. Costs are CPU seconds of the command and its children, which other work on the machine
moves less than seconds of the clock; those are in brackets. The exponent is that of the last two sizes: at 1 the cost
grows as the work, and one above 1.15 is marked with ▲. `tests/growth` holds the same in CI, by counting operations."""


def write_report() -> None:
    """Write the part of docs/benchmarks.md about growth, and its picture."""
    rows = json.loads(RESULTS.read_text())
    shown = {verb: rows[verb] for verb in _TITLES if verb in rows}
    _PICTURE.write_text(
        plot.lines([(_name(verb, row), _costs(row["sides"]["preheat"])) for verb, row in shown.items()])
    )
    parts = [_ABOUT, "", f"![what each verb costs at three sizes](pictures/{_PICTURE.name})", ""]
    for unit in ("files", "repositories"):
        parts += _table(unit, {verb: row for verb, row in shown.items() if row["unit"] == unit})
    DOCUMENT.write_text(fill(DOCUMENT.read_text(), _OPEN, _SHUT, "\n".join(parts)))


def _name(verb: str, row: dict[str, Any]) -> str:
    return f"{_TITLES[verb]} ({row['unit']})"


def _costs(sizes: dict[str, dict[str, float]]) -> list[tuple[float, float]]:
    return [(float(size), max(one["cpu_s"], 0.01)) for size, one in sizes.items()]


def _table(unit: str, rows: dict[str, Any]) -> list[str]:
    if not rows:
        return []
    sizes = [f"{int(size):,} {unit}" for size in next(iter(rows.values()))["sides"]["preheat"]]
    lines = [f"| | {' | '.join(sizes)} | exponent | peak MB |", f"|---|{'---:|' * (len(sizes) + 2)}"]
    for verb, row in rows.items():
        for side, by_size in row["sides"].items():
            title = f"**{_TITLES[verb]}**" if side == "preheat" else f"– {side}"
            cells = [f"{one['cpu_s']:.2f} ({one['seconds']:.2f})" for one in by_size.values()]
            steep = " ▲" if row["exponent"][side] > _STEEP else ""
            peak = max(one["peak_mb"] for one in by_size.values())
            lines.append(f"| {title} | {' | '.join(cells)} | {row['exponent'][side]:.2f}{steep} | {peak} |")
    machines = [row["machine"] for row in rows.values()]
    first, busiest = machines[0], max(machine["load"] for machine in machines)
    dates = sorted(machine["date"] for machine in machines)
    told = (
        f"{first['cpu']}, {first['cores']} cores, {first['memory_gib']} GiB, {first['filesystem']}, "
        f"Linux {first['kernel']}, Python {first['python']}; {dates[0]} to {dates[-1]}, load average at most {busiest}."
    )
    return [*lines, "", f"<sub>{told}</sub>", ""]


if __name__ == "__main__":
    write_report()
