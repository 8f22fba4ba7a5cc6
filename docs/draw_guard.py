"""Draw: the timeline of a crash, from what `make bench-guard` measured: docs/pictures/guard-restart.svg."""

import json
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent
MEASURED = HERE.parent / "benchmarks/results/guard.json"
PICTURE = HERE / "pictures/guard-restart.svg"

_COLOURS = {200: "#2f9e44", 503: "#f59f00", 0: "#c92a2a"}
_WORDS = {200: "the app answers", 503: "the guard's page, 503 with Retry-After", 0: "broken off"}
_LEFT, _WIDTH, _ROW = 150, 640, 46


def draw(lines: dict[str, list[tuple[float, int]]]) -> str:
    """Draw one bar a side: what was answered when, in seconds after the app was killed."""
    longest = max(line[-1][0] for line in lines.values()) * 1.25 + 0.1
    before = -longest * 0.06

    def x(seconds: float) -> float:
        return round(_LEFT + (seconds - before) / (longest - before) * _WIDTH, 1)

    rows: list[str] = []
    for row, (name, line) in enumerate(lines.items()):
        top = 40 + row * _ROW
        rows.append(f'<text x="{_LEFT - 12}" y="{top + 19}" text-anchor="end">{name}</text>')
        parts = [(before, 200), *line, (longest, 200)]
        spans = [(status, next(group)[0]) for status, group in groupby(parts, key=lambda one: one[1])]
        for (status, start), stop in zip(spans, [*(start for _, start in spans[1:]), longest], strict=True):
            width = max(1.5, x(stop) - x(start))
            rows.append(f'<rect x="{x(start)}" y="{top}" width="{width:.1f}" height="28" fill="{_COLOURS[status]}"/>')
        back = next(at for at, status in line if status == 200)
        rows.append(f'<text x="{x(back) + 6}" y="{top + 19}" fill="#fff">back after {back:.2f} s</text>')
    bottom = 40 + len(lines) * _ROW
    marks = [f'<line x1="{x(0)}" y1="30" x2="{x(0)}" y2="{bottom}" stroke="#222" stroke-dasharray="3 3"/>']
    marks.append(f'<text x="{x(0)}" y="22" text-anchor="middle">killed by -9</text>')
    step = next(step for step in (0.5, 1, 2, 5, 10, 20) if longest / step <= 9)
    at = [count * step for count in range(int(longest / step) + 1)]
    marks += [f'<text x="{x(one)}" y="{bottom + 18}" text-anchor="middle">{one:g} s</text>' for one in at]
    legend = []
    for number, (status, words) in enumerate(_WORDS.items()):
        left = _LEFT + (0, 160, 460)[number]
        legend.append(f'<rect x="{left}" y="{bottom + 36}" width="14" height="14" fill="{_COLOURS[status]}"/>')
        legend.append(f'<text x="{left + 20}" y="{bottom + 48}">{words}</text>')
    height = bottom + 64
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 20} {height}" role="img"',
            ' font-family="system-ui, sans-serif" font-size="13" fill="#222">',
            "<title>What clients get after a torch, transformers and gradio app is killed</title>",
            f'<rect width="100%" height="{height}" fill="#fff"/>',
            *rows,
            *marks,
            *legend,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))["crash"]["what was answered when"]
    names = {"restart": "restarted", "standby": "with --standby"}
    PICTURE.write_text(draw({names[side]: line for side, line in measured.items()}), encoding="utf-8")
