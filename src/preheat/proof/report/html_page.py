"""HTML page: a report as one file, without scripts, fonts or outside resources; page.html is its template."""

from pathlib import Path

from preheat.core.errors import UsageError
from preheat.core.pages import render
from preheat.core.translations import LANGUAGES, catalogue
from preheat.proof.report.report import Report, spread
from preheat.proof.report.stages import stages_before, stages_during
from preheat.proof.report.wording import Wording, percent
from preheat.proof.start.timeline import PRELOADED

_TEMPLATE = Path(__file__).with_name("page.html")


def page(report: Report, language: str = "en") -> str:
    """Return the page. Raise UsageError for an unsupported language."""
    if language not in LANGUAGES:
        raise UsageError(f"the report is not available in {language!r}", hint=f"--lang {' or '.join(LANGUAGES)}")
    imports = report.typical(PRELOADED).imports if PRELOADED in report.conditions else None
    values = {
        "report": report,
        "wording": Wording(report, catalogue(language)),
        "slowest_imports": imports.slowest if imports is not None else (),
        "slowest_s": max(
            (taken for one in report.conditions for taken in report.taken(one, report.compared)), default=1.0
        ),
        "percent": percent,
        "spread": spread,
        "stages_before": stages_before,
        "stages_during": stages_during,
        "at": _at,
        "width": _width,
    }
    return render(_TEMPLATE, language, values)


# Positions in drawings are percentages, to fit any width, from a phone to paper.


def _at(value: float, most: float) -> str:
    return f"{min(max(value / most, 0.0), 1.0) * 100 if most > 0 else 0.0:.3f}%"


def _width(value: float, most: float) -> str:
    # Short spans are drawn with a minimum width, so they stay visible.
    return f"{max(value / most * 100 if most > 0 else 0.0, 0.25):.3f}%"
