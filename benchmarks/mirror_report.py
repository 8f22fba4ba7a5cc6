"""Mirror report: results/mirror.json as tables in docs/benchmarks.md; no figure in them is typed by hand.

python -m benchmarks.mirror_report
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.document import DOCUMENT, fill

RESULTS = Path(__file__).parent / "results" / "mirror.json"
_OPEN, _SHUT = "<!-- mirror: made by benchmarks/mirror_report.py from results/mirror.json -->", "<!-- end of mirror -->"
_ABOUT = """\
## Mirror

`make bench-mirror` measures it again, within 10 minutes. The client is `benchmarks/drain.py`: one thread and epoll,
which has the kernel drop what comes, so that it is not the limit. All is on one machine, over loopback, from the page
cache."""


def write_report(rows: dict[str, Any]) -> None:
    """Write the part of docs/benchmarks.md about the mirror."""
    DOCUMENT.write_text(fill(DOCUMENT.read_text(), _OPEN, _SHUT, f"{_ABOUT}\n\n{tables(rows)}\n"))


def tables(rows: dict[str, Any]) -> str:
    """Say what was measured, on what, and by which commands."""
    parts: list[str] = []
    for name, make in (("warm", _warm), ("servers", _servers), ("heads", _heads), ("tls", _tls), *_MISSES):
        for which, words in ((name, ""), (f"{name}-https", ", with a hub over HTTPS")):
            if which in rows and "left_out" not in rows[which]:
                heading, *lines = make(rows[which])
                parts += [heading + words, *lines, "", _machine(rows[which]["machine"]), ""]
    parts += [*(f"- left out: {line}" for line in rows.get("absent", [])), ""]
    commands = [side for name in ("warm",) for side in rows.get(name, {}).get("sides", [])]
    parts += [f"- {side['name']} {side['version']}: `{side['command']}`" for side in commands]
    return "\n".join(parts).strip()


def _warm(row: dict[str, Any]) -> list[str]:
    return ["### A file that is here", "", *_rates(row)]


def _servers(row: dict[str, Any]) -> list[str]:
    return ["### Servers that ADR 7 chooses among", "", *_rates(row)]


def _rates(row: dict[str, Any]) -> list[str]:
    sides = row["sides"]
    limit = next((side for side in sides if side["name"] == "nginx"), None)
    lines = [
        "| | 1 connection, MB/s | of nginx | 32 connections, MB/s | of nginx | peak RSS MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for side in sides:
        cells = [f"**{side['name']}**" if side["name"] == "preheat" else side["name"]]
        for n in ("1", "32"):
            of = f"{side[n]['median'] / limit[n]['median']:.2f}×" if limit else ""
            cells += [_spread(side[n]), of]
        lines.append("| " + " | ".join((*cells, f"{side['peak_rss'] / 1e6:.0f}")) + " |")
    return lines


def _tls(row: dict[str, Any]) -> list[str]:
    told = ", ".join(f"{side['name']} {_spread(side['1'])} MB/s" for side in row["sides"])
    return ["### Under TLS", "", f"One connection, by curl, whose own work is in it: {told}."]


def _heads(row: dict[str, Any]) -> list[str]:
    lines = [
        "### HEAD requests for a file that is here",
        "",
        "| | 1 client, a second | 16 clients | 64 clients | 99 % within, ms, 64 clients | peak RSS MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for side in row["sides"]:
        rates = (_spread(side[n]["rate"]) for n in ("1", "16", "64"))
        cells = (side["name"], *rates, _spread(side["64"]["p99_ms"]), f"{side['peak_rss'] / 1e6:.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", f"`benchmarks/heads.py` is the client; n = {row['sides'][0]['1']['rate']['n']}."]


def _cold(row: dict[str, Any]) -> list[str]:
    lines = ["### First byte of a file that is not here", "", "| | ms | n |", "|---|---:|---:|"]
    return lines + [f"| {side['name']} | {_spread(side['ms'])} | {side['ms']['n']} |" for side in row["sides"]]


def _crowd(row: dict[str, Any]) -> list[str]:
    return [
        f"### {row['clients']} clients for one cold file of {row['size'] / 1e6:.0f} MB",
        "",
        f"The hub sent {row['sent']['most']:.4f}× the file at most; all had it after {_spread(row['seconds'])} s; the "
        f"mirror's memory was {row['peak_rss']['most'] / 1e6:.0f} MB at most (n = {row['sent']['n']}).",
    ]


_MISSES = (("cold", _cold), ("crowd", _crowd))


def _machine(told: dict[str, Any]) -> str:
    return (
        f"<sub>{told['cpu']}, {told['cores']} cores, {told['memory_gib']} GiB, {told['filesystem']}, Linux "
        f"{told['kernel']}, Python {told['python']}; {told['date']}, load average before it {told['load']}.</sub>"
    )


def _spread(of: dict[str, float]) -> str:
    def say(value: float) -> str:
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}"

    return f"{say(of['median'])} ({say(of['least'])}–{say(of['most'])})"


if __name__ == "__main__":
    write_report(json.loads(RESULTS.read_text()))
