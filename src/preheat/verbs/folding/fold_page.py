"""Fold page: a plan as one HTML file, without scripts or outside resources; fold_page.html is its template."""

from pathlib import Path

from preheat.core.pages import render
from preheat.verbs.folding.fold_plan import LEFT, FoldPlan, ModelGroup

_TEMPLATE = Path(__file__).with_name("fold_page.html")
_MOST = 500  # models in the table; the others are counted


def fold_page(plan: FoldPlan, language: str = "en") -> str:
    """Return the page in one of `core.translations.LANGUAGES`."""
    by_app = [(app, plan.of_app(app)) for app in plan.apps]
    rows = sorted(((app, _alone(groups), _shared(groups)) for app, groups in by_app), key=lambda row: -sum(row[1:]))
    twice = [group for group in plan.groups if len(group.files) > 1]
    left = [one for one in plan.files if one.state == LEFT]
    values = {
        "plan": plan,
        "rows": rows,
        "widest": max((alone + shared for _, alone, shared in rows), default=0),
        "twice": twice[:_MOST],
        "more": max(len(twice) - _MOST, 0),
        "left": left[:_MOST],
        "left_more": max(len(left) - _MOST, 0),
        "largest": max((group.before for group in twice), default=0),
        "percent": _percent,
    }
    return render(_TEMPLATE, language, values)


def _alone(groups: tuple[ModelGroup, ...]) -> int:
    """Return the bytes of models that lie in one place only."""
    return sum(group.before for group in groups if len(group.files) == 1)


def _shared(groups: tuple[ModelGroup, ...]) -> int:
    """Return the bytes of models that lie in several places, counted once."""
    return sum(group.before - group.twice for group in groups if len(group.files) > 1)


def _percent(value: int, most: int) -> str:
    return f"{value / most * 100 if most else 0:.3f}%"
