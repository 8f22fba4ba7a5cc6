"""Plot: bars that lie on their sides, and lines of growth, in SVG that reads on light and on dark paper."""

import math
from collections.abc import Sequence
from html import escape

Bar = tuple[str, float, float, float]

_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _HEAD = 860, 190, 130, 18, 7, 44
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #333 }
  .title { font-weight: 600 }
  .bar { fill: #9aa5b1 } .ours { fill: #d9622b } .floor { fill: #cfd6dd } .spread { stroke: #555; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd } .bar { fill: #6b7682 } .floor { fill: #454d55 } .spread { stroke: #bbb }
  }
"""


def bars(groups: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """Draw groups of bars `(name, median, least, most)` in seconds, each group to a scale of its own."""
    drawn, y = [], 0
    for title, group in groups:
        drawn.append(f'<text class="title" x="8" y="{y + 26}">{escape(title)}, seconds</text>')
        y += _HEAD
        longest = max((most for _, _, _, most in group), default=1.0)
        scale = (_WIDTH - _LEFT - _RIGHT) / longest
        for name, median, least, most in group:
            drawn += _bar(name, y, (median * scale, least * scale, most * scale), f"{median:.2f}")
            y += _BAR + _GAP
        y += _GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *drawn, "</svg>\n"])


def _bar(name: str, y: int, lengths: tuple[float, float, float], said: str) -> list[str]:
    median, least, most = lengths
    kind = "bar ours" if name == "preheat" else "bar floor" if name.startswith("floor") else "bar"
    middle = y + _BAR / 2
    return [
        f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
        f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{median:.1f}" height="{_BAR}" rx="2"/>',
        f'<path class="spread" d="M{_LEFT + least:.1f} {middle} H{_LEFT + most:.1f}"/>',
        f'<text x="{_LEFT + most + 8:.1f}" y="{y + 14}">{said}</text>',
    ]


def lines(groups: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> str:
    """Draw small charts of costs `(size, seconds)`, both axes logarithmic, and a dashed line that grows as the work."""
    across, width, height, pad = 4, _WIDTH // 4, 150, 30
    drawn = []
    for number, (title, points) in enumerate(groups):
        left, top = number % across * width, number // across * height
        least = min(size for size, _ in points), min(cost for _, cost in points)
        decades = max(2.0, math.log10(max(cost for _, cost in points) / least[1]))
        scale = (width - 2 * pad) / max(2.0, math.log10(points[-1][0] / least[0])), (height - 2 * pad) / decades

        def at(size: float, cost: float, least=least, scale=scale, left=left, top=top) -> str:
            x = left + pad + math.log10(size / least[0]) * scale[0]
            return f"{x:.1f},{top + height - pad / 2 - math.log10(cost / least[1]) * scale[1]:.1f}"

        (size, _), (first, cost) = points[-1], points[0]
        drawn += [
            f'<text class="title" x="{left + 8}" y="{top + 14}">{escape(title)}</text>',
            f'<path class="work" d="M{at(first, cost)} L{at(size, cost * size / first)}"/>',
            f'<path class="cost" d="M{" L".join(at(*point) for point in points)}"/>',
            f'<text x="{left + pad}" y="{top + 30}">{points[0][1]:.2f} → {points[-1][1]:.2f} s</text>',
        ]
    y = -(-len(groups) // across) * height
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}">'
    style = ".work, .cost { fill: none; stroke: #999; stroke-dasharray: 4 4 }"
    style += " .cost { stroke: #d9622b; stroke-width: 2; stroke-dasharray: none }"
    return "\n".join([head, f"<style>{_STYLE} {style} text {{ font-size: 11px }}</style>", *drawn, "</svg>\n"])
