"""Draw: the time of a start of the demo, cold and preloaded, from the table in README.md, in both languages."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Of each picture: its title, and the name and the kind of time of its bars.
WORDS = {
    "start.svg": ("From the start to the page", "downloads at its start", "preloaded", "{m} min {s} s", "{s} s"),
    "start.zh-CN.svg": ("从启动到页面可用", "启动时自己下载", "预载后", "{m} 分 {s} 秒", "{s} 秒"),
}
_ROW = re.compile(r"^start to page +(?:(\d+) min )?([\d.]+) s +([\d.]+) s ", re.MULTILINE)
_WIDTH, _LEFT, _BAR = 760, 205, 415


def pictures() -> dict[str, str]:
    """Return each picture by its file name."""
    found = _ROW.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found is not None, "README.md has no row `start to page`"
    minutes, seconds, preloaded = int(found[1] or 0), found[2], found[3]
    cold_s = 60 * minutes + float(seconds)
    return {
        name: _svg(
            title,
            [(slow, cold_s, long.format(m=minutes, s=seconds)), (fast, float(preloaded), short.format(s=preloaded))],
        )
        for name, (title, slow, fast, long, short) in WORDS.items()
    }


def _svg(title: str, bars: list[tuple[str, float, str]]) -> str:
    longest = max(seconds for _, seconds, _ in bars)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} 130" width="{_WIDTH}" height="130" role="img"'
        ' font-family="system-ui, sans-serif" font-size="16" fill="#1e293b">',
        f"<title>{title}</title>",
        f'<rect width="{_WIDTH}" height="130" fill="#fbfaf8"/>',
        f'<text x="16" y="30" font-size="18" font-weight="bold">{title}</text>',
    ]
    for number, (name, seconds, said) in enumerate(bars):
        top = 46 + 40 * number
        width = max(3, round(_BAR * seconds / longest))
        colour = "#64748b" if number == 0 else "#0f766e"
        lines += [
            f'<text x="16" y="{top + 20}">{name}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{width}" height="28" rx="3" fill="{colour}"/>',
            f'<text x="{_LEFT + width + 10}" y="{top + 20}" font-weight="bold">{said}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
