"""Stages: one start, or the pull before it, split into stages, each with its minimum time."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from preheat.proof.report.report import Report
from preheat.proof.start.timeline import COLD, PRELOADED, Span, Timeline, merged, until

# In the order in which they are told. `rest` is what the app does by itself while none of the others is seen.
BEFORE = ("resolve", "pull", "verify", "place")
DURING = ("interpreter", "imports", "download", "read", "rest", "first-use")


@dataclass(frozen=True, slots=True)
class StartStage:
    """What was done from when to when (seconds since the start; since the pull began, for what is before it).

    `limit_s` is the least that it could take here, None where nothing was measured to hold it against.
    """

    name: str
    spans: tuple[Span, ...]
    limit_s: float | None = None

    @property
    def seconds(self) -> float:
        """Say how long it took."""
        return sum(span.seconds for span in self.spans)

    @property
    def share(self) -> float | None:
        """Say how much of its limit it reached, 1 for all of it."""
        return self.limit_s / self.seconds if self.limit_s is not None and self.seconds > 0 else None


def stages_before(report: Report, timeline: Timeline) -> list[StartStage]:
    """List what the pull before a preloaded start did."""
    pulled, line = timeline.pulled, report.limits.line
    if pulled is None:
        return []
    limits = {
        "resolve": line.answer_s if line else None,
        "pull": report.weights / line.many if line and line.many else None,
    }
    stages, at = [], 0.0
    for name, seconds in zip(BEFORE, (pulled.resolve_s, pulled.fetch_s, pulled.verify_s, pulled.place_s), strict=True):
        stages.append(StartStage(name, (Span(at, at + seconds),), limits.get(name)))
        at += seconds
    return stages


def stages_during(report: Report, timeline: Timeline) -> list[StartStage]:
    """List what a start did until it was ready, and its first use."""
    stages = list(_seen(report, timeline))
    known = merged(span for stage in stages for span in stage.spans)
    stages.append(StartStage("rest", _gaps(known, timeline.ready_s)))
    if timeline.first_s is not None:
        stages.append(StartStage("first-use", (Span(timeline.ready_s, timeline.first_s),)))
    return sorted((stage for stage in stages if stage.spans), key=lambda stage: DURING.index(stage.name))


def _seen(report: Report, timeline: Timeline) -> Iterator[StartStage]:
    limits, speed, line = report.limits, report.limits.speed, report.limits.line
    if timeline.imports is not None:
        began = timeline.imports.interpreter_s
        bare = median(limits.interpreter) if limits.interpreter else None
        evicted = timeline.condition in (COLD, PRELOADED)
        imports = limits.imports if evicted else limits.imports_warm
        yield StartStage("interpreter", (Span(0.0, min(began, timeline.ready_s)),), bare)
        least = max(0.0, median(imports) - (bare or 0.0)) if imports else None
        yield StartStage("imports", timeline.imports.spans, least)
    if timeline.downloading:
        least = timeline.traffic.fetched / line.many if line and line.many else None
        yield StartStage("download", until(timeline.downloading, timeline.ready_s), least)
    if timeline.condition == PRELOADED and timeline.reading.spans:
        least = timeline.reading.size / speed.disk if speed else None
        yield StartStage("read", until(timeline.reading.spans, timeline.ready_s), least)


def _gaps(spans: tuple[Span, ...], stop: float) -> tuple[Span, ...]:
    """List what lies between spans, from 0 to `stop`."""
    gaps, at = [], 0.0
    for span in until(spans, stop):
        gaps.append(Span(at, max(at, span.start)))
        at = max(at, span.stop)
    gaps.append(Span(at, max(at, stop)))
    return tuple(gap for gap in gaps if gap.seconds > 0)
