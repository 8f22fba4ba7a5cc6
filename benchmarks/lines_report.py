"""Lines report: results/lines/ as a table and a picture, the worst cells first; no figure in them is typed by hand.

python -m benchmarks.lines_report
"""

import json
from collections import Counter
from html import escape
from typing import Any

from benchmarks.document import DOCUMENT, fill
from benchmarks.line_cells import RESULTS, grid

_PICTURE = DOCUMENT.parent / "pictures" / "lines.svg"
_OPEN, _SHUT = "<!-- lines: made by benchmarks/lines_report.py from results/lines/ -->", "<!-- end of lines -->"
_PEERS = ("hf 2.x", "hf 0.36", "modelscope", "aria2c -x16", "curl --parallel")
_WIDTH, _LEFT, _ROW, _RIGHT = 860, 400, 24, 40
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #333 } .axis { stroke: #999; stroke-width: 1 }
  .peer { fill: #9aa5b1 } .ours { fill: #d9622b }
  @media (prefers-color-scheme: dark) { text { fill: #ddd } .peer { fill: #6b7682 } }
"""
_ABOUT = """\
`make bench-lines BESIDE=5` measures a grid of {cells} kinds of line, in hours and as root; `make bench-lines
CELLS=8,20,1.5` a part of it. These are the {measured} cells measured so far, the worst first: Mbit/s in all,
the round trip, the seconds of the buffer before the bottleneck (a token bucket), the most that one connection
may have, and how many packets are lost. {missing}

Over HTTPS; the hub sends with CUBIC. Seconds, and in brackets how often the bytes of the files went over the line,
retransmissions and handshakes included. The floor is the bytes alone at the line's rate, without the headers of
packets, which are 5 % more. aria2c and curl are given the list of files; the others have to ask for it. Up to {beside}
cells were measured at once, each in its own network namespaces. The clients had priority over other programs of the
machine, which still delay the start of a client where the load is high.{absent}"""


def write_report() -> None:
    """Write the part of docs/benchmarks.md about lines, and its picture."""
    cells = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    cells.sort(key=lambda cell: -_against_best(cell))
    _PICTURE.write_text(_picture(cells))
    DOCUMENT.write_text(fill(DOCUMENT.read_text(), _OPEN, _SHUT, "\n".join(_part(cells))))


def _part(cells: list[dict[str, Any]]) -> list[str]:
    names = [side["name"] for side in cells[0]["sides"]]
    rows = [f"| line | floor | {' | '.join(names)} | preheat, of the best peer |", f"|---|{'---:|' * (len(names) + 2)}"]
    rows += [_row(cell, names) for cell in cells]
    versions = [f"- {side['name']} {_versions(cells, side['name'])}: `{side['command']}`" for side in cells[0]["sides"]]
    absent = ", ".join(peer for peer in _PEERS if peer not in names)
    loads = [run["load"] for cell in cells for side in cell["sides"] for run in side["runs"]]
    machine, dates = cells[0]["machine"], sorted(cell["machine"]["date"] for cell in cells)
    return [
        "## Lines",
        "",
        _ABOUT.format(
            cells=sum(1 for _ in grid()),
            measured=len(cells),
            missing=_missing(),
            beside=max(cell.get("beside", 1) for cell in cells),
            absent=f" Peers left out for lack of time: {absent}." if absent else "",
        ),
        "",
        f"![time of each client, of the floor](pictures/{_PICTURE.name})",
        "",
        *rows,
        "",
        *versions,
        "",
        f"<sub>{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}; "
        f"{dates[0]} to {dates[-1]}; load average {min(loads)} to {max(loads)}.</sub>",
        "",
    ]


def _versions(cells: list[dict[str, Any]], name: str) -> str:
    """List the versions of a client, and in how many cells each was measured."""
    counts = Counter(side["version"] for cell in cells for side in cell["sides"] if side["name"] == name)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{version} in {count} cells" for version, count in counts.most_common())


def _missing() -> str:
    """Say which cells have no results yet."""
    rates = Counter(cell.rate for cell in grid() if not cell.kept.exists())
    counts = ", ".join(f"{count} of {rate:g} Mbit/s" for rate, count in sorted(rates.items()))
    return f"Not measured yet: {counts}." if counts else ""


def _row(cell: dict[str, Any], names: list[str]) -> str:
    sides = {side["name"]: side for side in cell["sides"]}
    said = [_said(cell, sides[name]) if name in sides else "–" for name in names]
    return f"| {cell['words']} | {_floor(cell):.1f} | {' | '.join(said)} | {_against_best(cell):.2f}× |"


def _said(cell: dict[str, Any], side: dict[str, Any]) -> str:
    if "seconds" not in side:
        late = side["runs"][0]["seconds"] >= cell["within_s"]
        return f"over {cell['within_s']:.0f}" if late else "fails"
    carried = sorted(run["carried"] for run in side["runs"])[0] / cell["size"]
    return f"{side['seconds']['median']:.1f} ({carried:.2f}×)"


def _floor(cell: dict[str, Any]) -> float:
    return float(cell["size"] / cell["rate"])


def _seconds(cell: dict[str, Any], side: dict[str, Any]) -> float:
    return float(side["seconds"]["median"] if "seconds" in side else cell["within_s"])


def _against_best(cell: dict[str, Any]) -> float:
    ours = next(side for side in cell["sides"] if side["name"] == "preheat")
    best = min((_seconds(cell, side) for side in cell["sides"] if side is not ours), default=1.0)
    return _seconds(cell, ours) / best


def _picture(cells: list[dict[str, Any]]) -> str:
    """Draw a row for each cell: where each client ended, of the floor; at four times the floor the picture ends."""
    height, scale = _ROW * (len(cells) + 2), (_WIDTH - _LEFT - _RIGHT) / 3
    drawn = []
    for at, times in enumerate(("floor", "2×", "3×", "4× and more")):
        x = _LEFT + at * scale
        drawn.append(f'<text x="{x:.0f}" y="16" text-anchor="middle">{times}</text>')
        drawn.append(f'<path class="axis" d="M{x:.0f} {_ROW} V{height - _ROW}"/>')
    for row, cell in enumerate(cells):
        y = _ROW * (row + 1) + 12
        drawn.append(f'<text x="8" y="{y + 4}">{escape(cell["words"])}</text>')
        for side in sorted(cell["sides"], key=lambda one: one["name"] == "preheat"):
            times = min(max(_seconds(cell, side) / _floor(cell) - 1, 0.0), 3.0)
            kind, radius = ("ours", 6) if side["name"] == "preheat" else ("peer", 4)
            title = f"{side['name']}: {_said(cell, side)}"
            dot = f'<circle class="{kind}" cx="{_LEFT + times * scale:.1f}" cy="{y}" r="{radius}">'
            drawn.append(f"{dot}<title>{escape(title)}</title></circle>")
    drawn.append(f'<text x="8" y="{height - 6}">Orange: preheat. Grey: its peers.</text>')
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">'
    )
    return "\n".join([head, f"<style>{_STYLE}</style>", *drawn, "</svg>\n"])


if __name__ == "__main__":
    write_report()
