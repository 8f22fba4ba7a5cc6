"""Table: a report as plain text."""

from collections.abc import Iterator

from preheat.core.translations import ENGLISH, catalogue
from preheat.core.units import say_seconds
from preheat.proof.report.report import Report, spread
from preheat.proof.report.stages import StartStage, stages_before, stages_during
from preheat.proof.report.wording import Wording, percent
from preheat.proof.start.timeline import COLD, PRELOADED


def table(report: Report) -> str:
    """Return the report as text: summary, conditions side by side, stages and their limits."""
    wording = Wording(report, catalogue(ENGLISH))
    figures = [[*cells, _note(report, figure)] for figure, cells in wording.rows()]
    return "\n".join(
        [
            sentence(report),
            *([wording.imitated()] if report.imitated else []),
            "",
            *_columns(figures, ["", *wording.head()[1:], ""]),
            "",
            *_columns(list(_stage_rows(report, wording)), ["", "takes", "least", "reached", ""]),
            "",
            *wording.remarks(),
            *(f"{name}: {value}" for name, value in wording.limits()),
        ]
    )


def sentence(report: Report) -> str:
    """Return a summary in one sentence."""
    wording = Wording(report, catalogue(ENGLISH))
    return "; ".join(filter(None, (wording.headline(), wording.also())))


def _note(report: Report, figure: str) -> str:
    """Return the remark that follows a figure's row."""
    match figure:
        case "pull_s":
            return "before the start, not counted in it"
        case "ready_s":
            rounds = f"median of {report.rounds}" if report.rounds > 1 else ""
            return ", ".join(filter(None, (rounds, _spread(report))))
        case "fetched":
            fetched = report.median(PRELOADED, "fetched") or 0
            return f"{fetched / report.weights:.4f} of the weights, API included" if fetched and report.weights else ""
        case "outbound" if report.uncounted:
            return f"not counted: {report.uncounted}"
        case "outbound" if report.observed_s:
            return f"offline starts: until {say_seconds(report.observed_s)} after first use"
    return ""


def _spread(report: Report) -> str:
    spreads = [spread(report.taken(condition, "ready_s")) for condition in report.conditions]
    known = [one for one in spreads if one is not None]
    return f"± {max(known) * 100:.0f} % at most" if known else ""


def _stage_rows(report: Report, wording: Wording) -> Iterator[list[str]]:
    for condition in report.conditions[:2]:
        timeline = report.typical(condition)
        for stage in stages_before(report, timeline):
            yield _stage_row(f"{condition}, before: {wording.names[stage.name]}", stage, wording)
        for stage in stages_during(report, timeline):
            yield _stage_row(f"{condition}: {wording.names[stage.name]}", stage, wording)
        if timeline.imports and condition != COLD:
            slowest = (f"{one.name} {say_seconds(one.seconds)}" for one in timeline.imports.slowest)
            yield ["  slowest imports", "", "", "", ", ".join(slowest)]


def _stage_row(name: str, stage: StartStage, wording: Wording) -> list[str]:
    least = "–" if stage.limit_s is None else say_seconds(stage.limit_s)
    share = "–" if stage.share is None else percent(stage.share)
    return [name, say_seconds(stage.seconds), least, share, wording.beaten(stage)]


def _columns(rows: list[list[str]], head: list[str]) -> list[str]:
    listed = [head, *rows]
    widths = [max(len(row[column]) for row in listed) for column in range(len(head))]
    lines = []
    for name, *values, note in listed:
        middle = (f"{value:>{width}}" for value, width in zip(values, widths[1:-1], strict=True))
        lines.append("  ".join((f"{name:<{widths[0]}}", *middle, note)).rstrip())
    return lines
