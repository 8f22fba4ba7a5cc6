"""Scale plot: seconds over nodes, one line for each way and a dot for each run, in SVG for light and dark paper."""

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 860, 420, 70, 190, 20, 46
_COLOURS = ("#8a8f98", "#d9622b", "#b8860b", "#3b7dd8", "#7b4fb5", "#2e9d6a", "#c23b6b")
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #333 }
  .grid { stroke: #ddd; stroke-width: 1 } .line { fill: none; stroke-width: 2 }
  @media (prefers-color-scheme: dark) { text { fill: #ddd } .grid { stroke: #444 } }
"""


def curves(lines: Mapping[str, Points], dots: Mapping[str, Points], across: str, up: str) -> str:
    """Draw lines and dots by name; both axes are logarithmic, and cover the decades of all points."""
    points = [point for some in (*lines.values(), *dots.values()) for point in some]
    left, right = _decades([x for x, _ in points])
    low, high = _decades([y for _, y in points])

    def at(x: float, y: float) -> tuple[float, float]:
        wide = (math.log10(x) - left) / (right - left)
        tall = (math.log10(y) - low) / (high - low)
        return _LEFT + wide * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - tall * (_HEIGHT - _TOP - _BOTTOM)

    drawn = []
    for power in range(left, right + 1):
        x, _ = at(10.0**power, 10.0**low)
        drawn.append(f'<path class="grid" d="M{x:.1f} {_TOP} V{_HEIGHT - _BOTTOM}"/>')
        drawn.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{10**power:,}</text>')
    for power in range(low, high + 1):
        _, y = at(10.0**left, 10.0**power)
        drawn.append(f'<path class="grid" d="M{_LEFT} {y:.1f} H{_WIDTH - _RIGHT}"/>')
        drawn.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:,.6g}</text>')
    ends: list[float] = []
    for name, colour in zip(dict.fromkeys([*lines, *dots]), _COLOURS * 2, strict=False):
        if name in lines:
            path = " L".join("{:.1f},{:.1f}".format(*at(*point)) for point in lines[name])
            drawn.append(f'<path class="line" stroke="{colour}" d="M{path}"/>')
            _, y = at(*lines[name][-1])
            while any(abs(y - other) < 14 for other in ends):
                y += 4
            ends.append(y)
            label = f'x="{_WIDTH - _RIGHT + 8}" y="{y + 4:.1f}" style="fill: {colour}"'
            drawn.append(f"<text {label}>{escape(name)}</text>")
        for point in dots.get(name, ()):
            x, y = at(*point)
            drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
    drawn.append(f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{across}</text>')
    drawn.append(f'<text x="8" y="14">{escape(up)}</text>')
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    return "\n".join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{_STYLE}</style>", *drawn, "</svg>\n"]
    )


def _decades(values: Sequence[float]) -> tuple[int, int]:
    least, most = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return least, max(most, least + 1)
