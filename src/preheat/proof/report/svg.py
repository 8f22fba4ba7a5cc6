"""SVG: bars and waterfalls. Positions are percentages, to fit any width, from a phone to paper."""

from collections.abc import Iterable, Sequence
from html import escape

from preheat.proof.start.timeline import Span

_HEIGHT = 20


def bar(value: float, singles: Sequence[float], most: float, kind: str, label: str) -> str:
    """Return a bar for a median, with a mark for each value, and their range. `most` is the value at full width."""
    shapes = [_rect(0.0, value, most, kind)]
    if len(singles) > 1:
        low, high = min(singles), max(singles)
        middle = _HEIGHT / 2
        shapes.append(f'<line class="range" x1="{_at(low, most)}" x2="{_at(high, most)}" y1="{middle}" y2="{middle}"/>')
        shapes += [
            f'<line class="single" x1="{_at(one, most)}" x2="{_at(one, most)}" y1="3" y2="{_HEIGHT - 3}"/>'
            for one in singles
        ]
    return _svg(shapes, label)


def spans(drawn: Iterable[Span], most: float, kind: str, label: str, mark: float | None = None) -> str:
    """Return spans on a time line of `most` seconds, with an optional `mark` at one moment."""
    shapes = [_rect(span.start, span.stop, most, kind) for span in drawn]
    if mark is not None:
        shapes.append(f'<line class="single" x1="{_at(mark, most)}" x2="{_at(mark, most)}" y1="0" y2="{_HEIGHT}"/>')
    return _svg(shapes, label)


def _svg(shapes: Iterable[str], label: str) -> str:
    return (
        f'<svg role="img" aria-label="{escape(label)}" width="100%" height="{_HEIGHT}">'
        f"<title>{escape(label)}</title>{''.join(shapes)}</svg>"
    )


def _rect(start: float, stop: float, most: float, kind: str) -> str:
    # Short spans are drawn with a minimum width, so they stay visible.
    width = max((stop - start) / most * 100 if most > 0 else 0.0, 0.25)
    return f'<rect class="{kind}" x="{_at(start, most)}" y="2" width="{width:.3f}%" height="{_HEIGHT - 4}"/>'


def _at(value: float, most: float) -> str:
    return f"{min(max(value / most, 0.0), 1.0) * 100 if most > 0 else 0.0:.3f}%"
