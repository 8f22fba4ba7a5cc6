"""Table: a report as plain text."""

from collections.abc import Callable, Iterator

from preheat.core.units import say_seconds, say_size
from preheat.proof.report.report import Report, spread
from preheat.proof.report.stages import StartStage, stages_before, stages_during
from preheat.proof.start.timeline import COLD, PRELOADED, WARM

Say = Callable[[float], str]
_NONE = "–"


def table(report: Report) -> str:
    """Return the report as text: summary, conditions side by side, stages and their limits."""
    return "\n".join(
        [
            sentence(report),
            *([f"The hub was {imitation(report)}."] if report.imitated else []),
            "",
            *_columns(list(_conditions(report)), ("", *report.conditions, "change", "")),
            "",
            *_columns(list(_stage_rows(report)), ("", "takes", "least", "reached", "")),
            "",
            *_remarks(report),
        ]
    )


def sentence(report: Report) -> str:
    """Return a summary in one sentence."""
    ready = {condition: report.median(condition, "ready_s") or 0.0 for condition in report.conditions}
    name = report.app or "the app"
    if report.ratio is None:
        return f"{name} starts in " + ", ".join(f"{say_seconds(ready[one])} {one}" for one in ready)
    outbound = report.median(PRELOADED, "outbound")
    return (
        f"{name} starts in {say_seconds(ready[PRELOADED])} instead of {say_seconds(ready[COLD])}: "
        + (f"{report.ratio:.1f}× faster" if report.ratio >= 1 else f"{1 / report.ratio:.1f}× slower")
        + ("" if outbound is None else f"; {outbound:.0f} requests")
        + ("" if report.copies is None else f"; {report.copies:.2f} copies of the weights on disk")
    )


def imitation(report: Report) -> str:
    """Return a description of the imitated hub, or "" for a real one."""
    if report.imitated is None:
        return ""
    rtt = f", each response delayed by {report.imitated.rtt_s * 1000:.0f} ms" if report.imitated.rtt_s else ""
    return f"imitated on this machine: {say_size(report.imitated.rate)}/s per connection{rtt}"


def _conditions(report: Report) -> Iterator[tuple[str, ...]]:
    def row(name: str, figure: str, say: Say, note: str = "", none: str = _NONE) -> tuple[str, ...]:
        values = [report.median(condition, figure) for condition in report.conditions]
        said = (none if value is None else say(value) for value in values)
        return (name, *said, _change(report, figure), note)

    fetched = report.median(PRELOADED, "fetched") or 0
    rounds = f"median of {report.rounds}" if report.rounds > 1 else ""
    yield row("pull, once", "pull_s", say_seconds, "before the start, not counted in it")
    yield row("start to page", "ready_s", say_seconds, ", ".join(filter(None, (rounds, _spread(report)))))
    yield row("start to first use", "first_s", say_seconds)
    of = f"{fetched / report.weights:.4f} of the weights, API included" if fetched and report.weights else ""
    yield row("bytes fetched", "fetched", say_size, of)
    yield row("outbound requests", "outbound", _count, _counted(report))
    yield row("peak memory (RSS)", "peak_rss", say_size)
    yield row("peak memory (PSS)", "peak_pss", say_size)
    if any(report.median(condition, "cgroup_peak") for condition in report.conditions):
        yield row("peak, by its cgroup", "cgroup_peak", say_size, "page cache included")
    yield row("weights in page cache", "page_cache", say_size)
    yield row("video memory", "video_memory", say_size, none="no GPU")
    yield row("read from disk", "disk_read", say_size)
    yield row("written to disk", "disk_written", say_size)
    yield row("major page faults", "major_faults", _count)


def _counted(report: Report) -> str:
    """Return how long requests were counted, or why they were not."""
    uncounted = next((one.traffic.uncounted for one in report.timelines if one.traffic.uncounted), "")
    if uncounted:
        return f"not counted: {uncounted}"
    observed_s = report.observed_s
    return f"offline starts: until {say_seconds(observed_s)} after first use" if observed_s else ""


def _change(report: Report, figure: str) -> str:
    """Return the change from cold to preloaded."""
    cold, preloaded = report.median(COLD, figure), report.median(PRELOADED, figure)
    if cold is None or preloaded is None or not cold or figure == "fetched":
        return ""
    return f"{(preloaded / cold - 1) * 100:+.1f} %"


def _spread(report: Report) -> str:
    spreads = [spread(report.taken(condition, "ready_s")) for condition in report.conditions]
    known = [one for one in spreads if one is not None]
    return f"± {max(known) * 100:.0f} % at most" if known else ""


def _stage_rows(report: Report) -> Iterator[tuple[str, ...]]:
    for condition in report.conditions[:2]:
        timeline = report.typical(condition)
        for stage in stages_before(report, timeline):
            yield _stage_row(f"{condition}, before: {stage.name}", stage)
        for stage in stages_during(report, timeline):
            yield _stage_row(f"{condition}: {stage.name}", stage)
        if timeline.imports and condition != COLD:
            said = (f"{one.name} {say_seconds(one.seconds)}" for one in timeline.imports.slowest)
            yield ("  slowest imports", "", "", "", ", ".join(said))


def _stage_row(name: str, stage: StartStage) -> tuple[str, ...]:
    least = _NONE if stage.limit_s is None else say_seconds(stage.limit_s)
    share = _NONE if stage.share is None else f"{min(stage.share, 1) * 100:.0f} %"
    return (name, say_seconds(stage.seconds), least, share, "")


def _remarks(report: Report) -> Iterator[str]:
    if report.bound is not None and report.reached is not None:
        yield (
            f"without its download the cold start would be {report.bound:.1f}× faster; "
            f"{report.reached * 100:.0f} % of that bound is reached"
        )
    for condition in (PRELOADED, WARM):
        limit, over = report.limit_s(condition), report.over_limit(condition)
        if limit is not None and over is not None:
            yield f"{condition}: {over:.2f}× its bare imports and reading the weights ({say_seconds(limit)})"
    if report.overhead is not None:
        cost = f"{report.overhead * 100:.1f} %" if report.overhead > 0 else "less than the noise"
        yield f"the measurement slows a start by {cost}"
    speed, line = report.limits.speed, report.limits.line
    if speed is not None:
        rates = (("disk", speed.disk), ("page cache", speed.page_cache), ("sha256, one core", speed.sha256))
        yield "best rates of this machine: " + ", ".join(f"{name} {say_size(rate)}/s" for name, rate in rates)
    if line is not None:
        yield (
            f"the line: {say_size(line.one)}/s over one connection, {say_size(line.many)}/s over "
            f"{line.connections}, {line.answer_s * 1000:.0f} ms to the first byte"
        )


def _count(count: float) -> str:
    return f"{count:.0f}"


def _columns(rows: list[tuple[str, ...]], head: tuple[str, ...]) -> list[str]:
    listed = [head, *rows]
    widths = [max(len(row[column]) for row in listed) for column in range(len(head))]
    lines = []
    for name, *values, note in listed:
        middle = (f"{value:>{width}}" for value, width in zip(values, widths[1:-1], strict=True))
        lines.append("  ".join((f"{name:<{widths[0]}}", *middle, note)).rstrip())
    return lines
