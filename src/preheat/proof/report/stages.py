"""Stages: one start, or the pull before it, split into stages, each with its minimum time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from preheat.proof.report.least_imports import imports_like
from preheat.proof.report.report import Report
from preheat.proof.start.timeline import PRELOADED, Span, Timeline, merged, until

# In output order. `rest` is the time in which no other stage is observed: the app's own work.
Before = Literal["resolve", "pull", "verify", "place"]
During = Literal["interpreter", "imports", "download", "read", "rest", "first-use"]
BEFORE: tuple[Before, ...] = get_args(Before)
DURING: tuple[During, ...] = get_args(During)


@dataclass(frozen=True, slots=True)
class StartStage:
    """A stage and its spans. Spans are in seconds since the start; for stages of the pull, since the pull began.

    `least_s` is the minimum time on this machine as far as it was measured, or None if it is unknown.
    """

    name: Before | During
    spans: tuple[Span, ...]
    least_s: float | None = None

    @property
    def seconds(self) -> float:
        """Return the total duration in seconds."""
        return sum(span.seconds for span in self.spans)

    @property
    def beaten(self) -> bool:
        """Whether the stage took less than `least_s`, which is therefore no limit."""
        return self.least_s is not None and 0 < self.seconds < self.least_s

    @property
    def limit_s(self) -> float | None:
        """Return the minimum time, or None if it is unknown, or was beaten."""
        return None if self.beaten else self.least_s

    @property
    def share(self) -> float | None:
        """Return the limit as a fraction of the duration: 1 if the limit is reached."""
        return self.limit_s / self.seconds if self.limit_s is not None and self.seconds > 0 else None


def stages_before(report: Report, timeline: Timeline) -> list[StartStage]:
    """Return the stages of the pull before a preloaded start."""
    pulled, line, rate = timeline.pulled, report.limits.line, report.line_rate
    if pulled is None:
        return []
    limits: dict[Before, float | None] = {
        "resolve": line.answer_s if line else None,
        "pull": report.weights / rate if rate else None,
    }
    stages, at = [], 0.0
    for name, seconds in zip(BEFORE, (pulled.resolve_s, pulled.fetch_s, pulled.verify_s, pulled.place_s), strict=True):
        stages.append(StartStage(name, (Span(at, at + seconds),), limits.get(name)))
        at += seconds
    return stages


def stages_during(report: Report, timeline: Timeline) -> list[StartStage]:
    """Return the stages of a start until it was ready, and its first use."""
    stages = list(_seen(report, timeline))
    known = merged(span for stage in stages for span in stage.spans)
    stages.append(StartStage("rest", _gaps(known, timeline.ready_s)))
    if timeline.first_s is not None:
        stages.append(StartStage("first-use", (Span(timeline.ready_s, timeline.first_s),)))
    return sorted((stage for stage in stages if stage.spans), key=lambda stage: (*BEFORE, *DURING).index(stage.name))


def _seen(report: Report, timeline: Timeline) -> Iterator[StartStage]:
    limits, disk_rate, line_rate = report.limits, report.disk_rate, report.line_rate
    if timeline.imports is not None:
        began = timeline.imports.interpreter_s
        bare = limits.interpreter
        imports = limits.bare_imports(timeline.condition)
        yield StartStage("interpreter", (Span(0.0, min(began, timeline.ready_s)),), min(bare, default=None))
        reached = [one.seconds for one in imports_like(report.timelines, timeline.condition)]
        least = max(0.0, min((min(imports) - max(bare, default=0.0), *reached))) if imports else None
        yield StartStage("imports", timeline.imports.spans, least)
    if timeline.downloading:
        least = timeline.traffic.fetched / line_rate if line_rate else None
        yield StartStage("download", until(timeline.downloading, timeline.ready_s), least)
    if timeline.condition == PRELOADED and timeline.reading.spans:
        least = timeline.reading.size / disk_rate if disk_rate else None
        yield StartStage("read", until(timeline.reading.spans, timeline.ready_s), least)


def _gaps(spans: tuple[Span, ...], stop: float) -> tuple[Span, ...]:
    """Return the gaps between spans, from 0 to `stop`."""
    gaps, at = [], 0.0
    for span in until(spans, stop):
        gaps.append(Span(at, max(at, span.start)))
        at = max(at, span.stop)
    gaps.append(Span(at, max(at, stop)))
    return tuple(gap for gap in gaps if gap.seconds > 0)
