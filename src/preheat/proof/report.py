"""Report: what the trials say together."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from preheat.proof.timeline import COLD, PRELOADED, Timeline


@dataclass(frozen=True, slots=True)
class Report:
    """All timelines of a proof, and the size in bytes of the weights it is about."""

    timelines: tuple[Timeline, ...]
    weights: int

    def of(self, condition: str) -> list[Timeline]:
        """List one condition's timelines."""
        return [timeline for timeline in self.timelines if timeline.condition == condition]

    def median(self, condition: str, figure: Callable[[Timeline], float | None]) -> float | None:
        """Say the median of a figure under a condition; None where it was not taken."""
        taken = [value for value in map(figure, self.of(condition)) if value is not None]
        return median(taken) if taken else None

    @property
    def ratio(self) -> float:
        """Say how many times sooner the app is ready when preloaded."""
        cold, preloaded = (self.median(condition, lambda one: one.ready_s) for condition in (COLD, PRELOADED))
        assert cold is not None
        assert preloaded is not None
        return cold / preloaded

    def figures(self) -> dict[str, object]:
        """Give the figures to a program: medians by condition, and every timeline."""
        names = ("ready_s", "first_s", "peak_rss", "fetched", "outbound", "lookups", "pull_s")
        return {
            "ratio": round(self.ratio, 2),
            "weights": self.weights,
            **{
                condition: {name: self.median(condition, _figure(name)) for name in names}
                for condition in (COLD, PRELOADED)
            },
            "timelines": self.timelines,
        }


def table(report: Report, say_size: Callable[[float], str], say_seconds: Callable[[float], str]) -> str:
    """Lay the report out for people, in plain text."""

    def row(name: str, figure: str, say: Callable[[float], str], note: str = "") -> tuple[str, ...]:
        values = [report.median(condition, _figure(figure)) for condition in (COLD, PRELOADED)]
        return (name, *("–" if value is None else say(value) for value in values), note)

    def sooner(figure: str) -> str:
        cold, preloaded = (report.median(condition, _figure(figure)) for condition in (COLD, PRELOADED))
        return f"{cold / preloaded:.1f}× sooner" if cold and preloaded else ""

    fetched = report.median(PRELOADED, _figure("fetched")) or 0
    uncounted = next((one.uncounted for one in report.timelines if one.uncounted), "")
    rounds = len(report.of(COLD))
    return _columns(
        [
            ("", "cold", "preloaded", "median of " + str(rounds) if rounds > 1 else ""),
            row("pull, once", "pull_s", say_seconds, "before the start, not counted in it"),
            row("start to page", "ready_s", say_seconds, sooner("ready_s")),
            row("start to first use", "first_s", say_seconds, sooner("first_s")),
            row("bytes fetched", "fetched", say_size, f"{fetched / report.weights:.4f} of the weights, API included"),
            row(
                "outbound requests", "outbound", lambda count: f"{count:.0f}", uncounted and f"not counted: {uncounted}"
            ),
            row("peak memory", "peak_rss", say_size),
        ]
    )


def _figure(name: str) -> Callable[[Timeline], float | None]:
    def take(timeline: Timeline) -> float | None:
        value: float | None = getattr(timeline, name)
        return value

    return take


def _columns(rows: Iterable[tuple[str, ...]]) -> str:
    listed = list(rows)
    widths = [max(len(row[column]) for row in listed) for column in range(4)]
    return "\n".join(
        f"{name:<{widths[0]}}  {cold:>{widths[1]}}  {preloaded:>{widths[2]}}  {note}".rstrip()
        for name, cold, preloaded, note in listed
    )
