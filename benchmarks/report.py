"""Report: results/pull.json as a table and a plot; no figure in them is typed by hand.

python -m benchmarks.report
"""

import json
from pathlib import Path
from typing import Any

from benchmarks import plot
from benchmarks.document import DOCUMENT, fill

RESULTS = Path(__file__).parent / "results" / "pull.json"
_PICTURE = DOCUMENT.parent / "pictures" / "pull.svg"
_OPEN, _SHUT = "<!-- pull: made by benchmarks/report.py from benchmarks/results/pull.json -->", "<!-- end of pull -->"
_ORDER = ("slow", "far", "far-https", "loopback", "https", "small", "small-https", "kill")
_ABOUT = """\
# Benchmarks

Every figure here was written by the program that measured it. Sides take turns in one run, each into an empty folder on
a disk that has been synced; the hub's files stay in the page cache for all. Times are medians, with the least and the
most in brackets; they move with the machine, so compare within a table and not across them. CPU seconds and memory are
the client's own: what the hub spends is not among them, though it works on the same cores.

`make bench-pull` measures pull again, in about 20 minutes (as root, or the rows with a round trip are left out);
`make bench-pull-slow` its row at 1 MB/s, where each peer takes over eight minutes and so has one run. The hub is
`benchmarks/hub/`: a few processes that send files by sendfile, paced by the kernel where a row says so, in the APIs of
Hugging Face and ModelScope; it shares no code with `preheat mirror`. A round trip is two network namespaces and a TUN
device that holds back what the client sends. The floor is `benchmarks/floor.py`: plain sockets into preallocated files,
sha256 of what arrived beside it, fdatasync.
"""


def write_report(results: Path = RESULTS) -> None:
    """Write the part of docs/benchmarks.md about pull, and its plot."""
    rows = json.loads(results.read_text())
    there = {name: rows["rows"][name] for name in _ORDER if name in rows["rows"]}
    timed = {name: row for name, row in there.items() if name != "kill" and "sides" in row}
    _PICTURE.parent.mkdir(exist_ok=True)
    _PICTURE.write_text(plot.bars([(row["title"], _times(row["sides"])) for row in timed.values()]))
    parts = ["## Pull", "", f"![how long each takes](pictures/{_PICTURE.name})", ""]
    for name, row in there.items():
        parts += [f"### {row['title'][0].upper()}{row['title'][1:]}", ""]
        parts += [f"Left out: {row['left_out']}."] if "left_out" in row else _table(name, row)
        parts += ["", _machine(row), ""]
    parts += [*(f"- {line}" for line in rows.get("absent", [])), "", "### What was called", ""]
    parts += _commands(there)
    text = DOCUMENT.read_text() if DOCUMENT.exists() else _ABOUT
    DOCUMENT.write_text(fill(text, _OPEN, _SHUT, "\n".join(parts)))


def _table(name: str, row: dict[str, Any]) -> list[str]:
    return _kill_table(row["sides"]) if name == "kill" else _time_table(name, row["sides"])


def _time_table(name: str, sides: list[dict[str, Any]]) -> list[str]:
    good = [side for side in sides if "seconds" in side]
    ours = next((side for side in good if side["name"] == "preheat"), None)
    floors = [side for side in good if side["name"].startswith("floor")]
    floor = min((side["seconds"]["median"] for side in floors), default=None)
    heads = ["", "seconds", "n", "preheat is", "CPU s", "peak RSS MB", "requests", "verifies"]
    heads += ["× floor"] if floor else []
    lines = [_line(heads), _line(["---", *["---:"] * 6, "---", *(["---:"] if floor else [])])]
    for side in sides:
        if "seconds" not in side:
            lines.append(_line([side["name"], "did not end whole", *[""] * (len(heads) - 2)]))
            continue
        seconds = side["seconds"]["median"]
        against = f"{seconds / ours['seconds']['median']:.2f}× as fast" if ours and side is not ours else ""
        cells = [
            f"**{side['name']}**" if side is ours else side["name"],
            _spread(side["seconds"]),
            str(side["n"]) + (f" ({side['failed']} failed)" if side["failed"] else ""),
            against,
            f"{side['cpu_s']['median']:.1f}",
            f"{side['peak_rss']['median'] / 1e6:.0f}",
            f"{side['requests']['median']:.0f}",
            side["verifies"],
        ]
        lines.append(_line(cells + ([f"{seconds / floor:.2f}"] if floor else [])))
    if ours:
        lines += ["", _told_of_ours(name, ours)]
    once = [side for side in good if side["n"] == 1]
    if once:
        longest = max(side["seconds"]["most"] for side in once)
        names = ", ".join(side["name"] for side in once)
        lines += ["", f"One run each (n = 1), of up to {longest / 60:.1f} minutes: {names}."]
    return lines


def _told_of_ours(name: str, ours: dict[str, Any]) -> str:
    seconds, sent = ours["seconds"]["median"], ours["sent"]["median"]
    told = f"preheat: {sent / seconds / 1e6:.0f} MB/s, {ours['cpu_s']['median'] / (sent / 1e9):.2f} CPU-s per GB"
    return f"{told}, {100 * sent / seconds / 200e6:.0f} % of the line's 200 MB/s." if name == "slow" else f"{told}."


def _kill_table(sides: list[dict[str, Any]]) -> list[str]:
    heads = ["", "again, of the bytes in files", "again, of the bytes that left the hub", "too much on disk, MB", "n"]
    lines = [_line(heads), _line(["---", *["---:"] * 4])]
    for side in sides:
        of_files = [one["again_of_files"] for one in side["runs"] if one["again_of_files"] is not None]
        cells = [
            f"{100 * max(of_files):.2f} %" if of_files else "none were",
            f"{100 * max(one['again_of_hub'] for one in side['runs']):.1f} %",
            f"{max(one['left_behind'] for one in side['runs']) / 1e6:.0f}",
            str(len(side["runs"])),
        ]
        lines.append(_line([f"**{side['name']}**" if side["name"] == "preheat" else side["name"], *cells]))
    return [
        *lines,
        "",
        "The worst of the runs. What has left the hub counts as far as the client's kernel has acknowledged it; "
        "what is in files, as far as it was written.",
    ]


def _commands(rows: dict[str, Any]) -> list[str]:
    said: dict[str, tuple[str, str]] = {}
    for row in rows.values():
        for side in row.get("sides", []):
            said.setdefault(side["name"], (side["version"], side["command"]))
    lines = [_line(["", "version", "command"]), _line(["---"] * 3)]
    return lines + [_line([name, version, f"`{command}`"]) for name, (version, command) in said.items()]


def _machine(row: dict[str, Any]) -> str:
    told = row["machine"]
    loads = [one["load"] for side in row.get("sides", []) for one in side["runs"]]
    most = max(loads, default=told["load"])
    return (
        f"<sub>{told['cpu']}, {told['cores']} cores, {told['memory_gib']} GiB, {told['filesystem']}, Linux "
        f"{told['kernel']}, Python {told['python']}; {told['date']}, load average before it {told['load']}, "
        f"at most {most} in it.</sub>"
    )


def _times(sides: list[dict[str, Any]]) -> list[tuple[str, float, float, float]]:
    good = [(side["name"], side["seconds"]) for side in sides if "seconds" in side]
    return [(name, of["median"], of["least"], of["most"]) for name, of in good]


def _spread(of: dict[str, float]) -> str:
    median = f"{of['median']:.2f}"
    return median if of["least"] == of["most"] else f"{median} ({of['least']:.2f}–{of['most']:.2f})"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    write_report()
