"""Document: write a report's part of docs/benchmarks.md, between its two marks."""

from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def fill(text: str, opening: str, end: str, part: str) -> str:
    """Return `text` with `part` between the marks `opening` and `end`; without the marks, they are added at its end."""
    before, found, after = text.partition(opening)
    if not found:
        before = f"{before.rstrip()}\n\n"
    return f"{before}{opening}\n\n{part}\n{end}{after.partition(end)[2] or chr(10)}"
