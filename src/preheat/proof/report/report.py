"""Report: medians and spread over all trials."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

import msgspec

from preheat.proof.limits.disk_speed import Speed
from preheat.proof.limits.line_speed import Line
from preheat.proof.report.least_imports import EVICTED, least_imports_s
from preheat.proof.start.timeline import COLD, CONDITIONS, OFFLINE, PRELOADED, THAWED, WARM, Timeline


class StartFigures(msgspec.Struct, forbid_unknown_fields=True):
    """The figures of a start. The fields have the names of the figures in JSON and in `--fail-if`.

    The unit is part of the name, such as `_s` for seconds. Figures without a unit are bytes or counts. None: not
    measured.
    """

    ready_s: float | None
    first_s: float | None
    listening_s: float | None
    interpreter_s: float | None
    imports_s: float | None
    reading_s: float | None
    download_s: float | None
    pull_s: float | None
    fetched: float | None
    outbound: float | None
    lookups: float | None
    disk_read: float | None
    disk_written: float | None
    weights_read: float | None
    major_faults: float | None
    peak_rss: float | None
    peak_pss: float | None
    cgroup_peak: float | None
    page_cache: float | None
    video_memory: float | None


FIGURES = StartFigures.__struct_fields__

_LONG_ENOUGH_S = 0.2  # for a rate
_COUNTED = frozenset(("outbound", "lookups"))


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """The best that this machine and its network connection can reach, measured between the starts.

    All lists contain seconds, one value per round. `interpreter` is the time to start Python, `imports` the time to
    start Python and to import the app's modules, both after eviction from the page cache. `imports_warm` is like
    `imports`, but from the page cache.
    """

    line: Line | None = None
    speed: Speed | None = None
    interpreter: tuple[float, ...] = ()
    imports: tuple[float, ...] = ()
    imports_warm: tuple[float, ...] = ()

    def bare_imports(self, condition: str) -> tuple[float, ...]:
        """Return `imports`, or `imports_warm` if the app's files are in the page cache under this condition."""
        return self.imports if condition in EVICTED else self.imports_warm


@dataclass(frozen=True, slots=True)
class Imitated:
    """A far hub that is imitated on this machine: bytes/s per connection, and the delay of each response in seconds."""

    rate: int
    rtt_s: float


@dataclass(frozen=True, slots=True)
class MadeNeed:
    """Files that an app's start made, as a need: preloaded starts have them in place, a cold start makes them."""

    ref: str
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class Report:
    """All timelines of a proof, the size of the weights in bytes, and the limits to compare with.

    `unwatched` are the seconds to ready of warm starts that were not observed. `copies` is the space that the
    weights take on disk after preloading, as a multiple of their size. `machine` describes the hardware.
    `unmade` are the seconds of warm starts without the `made` files, None for one that failed.
    `environments` are the Python environments that were evicted from the page cache; `environment_stayed` are the bytes
    of them that stayed there, 0 if few did. `made` are the needs that a cold start makes itself. `rehearsed`: one start
    that is not measured came first.
    """

    timelines: tuple[Timeline, ...]
    weights: int
    app: str = ""
    limits: MachineLimits = field(default_factory=MachineLimits)
    unwatched: tuple[float, ...] = ()
    unmade: tuple[float | None, ...] = ()
    copies: float | None = None
    imitated: Imitated | None = None
    machine: Mapping[str, object] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    environment_stayed: int = 0
    made: tuple[MadeNeed, ...] = ()
    rehearsed: bool = False

    @property
    def unmade_s(self) -> float | None:
        """Return how long a warm start takes that makes the made files; None if it was not measured, or failed."""
        times = [one for one in self.unmade if one is not None]
        return median(times) if times and len(times) == len(self.unmade) else None

    @property
    def conditions(self) -> tuple[str, ...]:
        """Return the conditions that were measured, in order."""
        return tuple(condition for condition in CONDITIONS if self.of(condition))

    @property
    def rounds(self) -> int:
        """Return the number of starts per condition."""
        return max((len(self.of(condition)) for condition in self.conditions), default=0)

    def of(self, condition: str) -> list[Timeline]:
        """Return the timelines of a condition."""
        return [timeline for timeline in self.timelines if timeline.condition == condition]

    def taken(self, condition: str, figure: str) -> list[float]:
        """Return the measured values of a figure under a condition, by round."""
        values: Iterator[float | None] = (getattr(figures_of(timeline), figure) for timeline in self.of(condition))
        return [value for value in values if value is not None]

    def median(self, condition: str, figure: str) -> float | None:
        """Return the median of a figure, or its maximum if the figure is a count. None if it was not measured."""
        taken = self.taken(condition, figure)
        if figure in _COUNTED:
            # If one of three rounds sent a request, the result is not "0 requests".
            return max(taken, default=None)
        return median(taken) if taken else None

    def typical(self, condition: str) -> Timeline:
        """Return the timeline whose time to ready is nearest to the median."""
        middle = self.median(condition, "ready_s") or 0.0
        return min(self.of(condition), key=lambda one: abs(one.ready_s - middle))

    @property
    def compared(self) -> Literal["first_s", "ready_s"]:
        """Return the figure that starts are compared by: their first use if the recipe has one, else ready."""
        used = self.conditions and all(self.median(one, "first_s") is not None for one in self.conditions)
        return "first_s" if used else "ready_s"

    @property
    def ratio(self) -> float | None:
        """Return how many times faster a preloaded start is than a cold one; None unless both were measured."""
        cold, preloaded = self.median(COLD, self.compared), self.median(PRELOADED, self.compared)
        return cold / preloaded if cold and preloaded else None

    @property
    def bound(self) -> float | None:
        """Return how many times faster than a cold start the least time of a preloaded one is; None if unknown."""
        cold, least = self.median(COLD, self.compared), self.least_s(PRELOADED, self.compared)
        return cold / least if cold and least and not self.is_beaten(PRELOADED) else None

    @property
    def reached(self) -> float | None:
        """Return the fraction of the bound that was reached."""
        return self.ratio / self.bound if self.ratio and self.bound else None

    @property
    def overhead(self) -> float | None:
        """Return by which fraction observation slows a start, from warm starts with and without observation."""
        watched = self.median(WARM, "ready_s")
        return watched / median(self.unwatched) - 1 if watched and self.unwatched else None

    @property
    def online(self) -> tuple[Timeline, ...]:
        """Return the offline starts that made outbound attempts."""
        return tuple(one for one in self.timelines if one.condition in OFFLINE and one.traffic.outbound)

    @property
    def observed_s(self) -> float | None:
        """Return for how many seconds after first use the network calls of offline starts were counted.

        None if they were not counted.
        """
        times = [one.traffic.observed_s for one in self.timelines if one.condition in OFFLINE]
        counted = all(one.traffic.outbound is not None for one in self.timelines if one.condition in OFFLINE)
        return min(times) if times and counted else None

    @property
    def uncounted(self) -> str:
        """Return the reason why network calls could not be counted, or ""."""
        counted = (one for one in self.timelines if one.condition != THAWED)
        return next((one.traffic.uncounted for one in counted if one.traffic.uncounted), "")

    @property
    def line_rate(self) -> float | None:
        """Return the best rate of the line in bytes per second: measured, or reached by a pull or by a cold start."""
        seen = [_rate(one.traffic.fetched, one.pulled.fetch_s) for one in self.timelines if one.pulled is not None]
        seen += [_rate(one.traffic.fetched, one.download_s) for one in self.of(COLD)]
        measured = self.limits.line.many if self.limits.line else None
        return max((rate for rate in (measured, *seen) if rate), default=None)

    @property
    def disk_rate(self) -> float | None:
        """Return the best rate of the disk in bytes per second: measured, or reached by a preloaded start."""
        seen = [_rate(one.reading.size, one.reading.seconds) for one in self.of(PRELOADED)]
        measured = self.limits.speed.disk if self.limits.speed else None
        return max((rate for rate in (measured, *seen) if rate), default=None)

    def least_s(self, condition: str, figure: str = "ready_s") -> float | None:
        """Return the least time of a start that does one thing after another; None if unknown.

        It is the sum of the bare imports and of the time to download or read its bytes at the best rate; for the first
        use, also of the shortest first use measured. A start that overlaps these steps can be faster: see `is_beaten`.
        """
        evicted = condition in EVICTED
        imports_s = least_imports_s(self.limits.bare_imports(condition), self.timelines, condition)
        if imports_s is None:
            return None
        sizes = [_loaded(one) for one in self.of(condition)] if evicted else []
        rate = self.line_rate if condition == COLD else self.disk_rate
        if evicted and not rate:
            return None
        loading_s = min(sizes, default=0) / rate if rate else 0.0
        return imports_s + loading_s + (self._least_use_s if figure == "first_s" else 0.0)

    @property
    def _least_use_s(self) -> float:
        uses = [one.first_s - one.ready_s for one in self.timelines if one.first_s is not None]
        return min(uses, default=0.0)

    def is_beaten(self, condition: str) -> bool:
        """Return whether a start took less than `least_s`, which is therefore no limit."""
        return any(
            least is not None and any(taken < least for taken in self.taken(condition, figure))
            for figure in ("ready_s", "first_s")
            for least in (self.least_s(condition, figure),)
        )

    def limit_s(self, condition: str) -> float | None:
        """Return the least time until a start is ready, or None if it is unknown, or was beaten."""
        return None if self.is_beaten(condition) else self.least_s(condition)

    def over_limit(self, condition: str) -> float | None:
        """Return the median time to ready as a multiple of `limit_s`; None if either is unknown."""
        ready, limit = self.median(condition, "ready_s"), self.limit_s(condition)
        return ready / limit if ready and limit else None


def _loaded(one: Timeline) -> int:
    """Return the bytes that a start loaded until it was ready; 0 if a download went on after that."""
    if one.condition != COLD:
        return one.reading.until_ready
    return one.traffic.fetched if all(span.stop <= one.ready_s for span in one.downloading) else 0


def _rate(size: int, seconds: float) -> float:
    return size / seconds if seconds >= _LONG_ENOUGH_S else 0.0


def figures_of(one: Timeline) -> StartFigures:
    """Return the figures of one start."""
    return StartFigures(
        ready_s=one.ready_s,
        first_s=one.first_s,
        listening_s=one.listening_s,
        interpreter_s=one.imports.interpreter_s if one.imports else None,
        imports_s=one.imports.seconds if one.imports else None,
        reading_s=one.reading.seconds,
        download_s=one.download_s,
        pull_s=one.pulled.seconds if one.pulled else None,
        fetched=one.traffic.fetched,
        outbound=one.traffic.outbound,
        lookups=one.traffic.lookups,
        disk_read=one.traffic.disk_read,
        disk_written=one.traffic.disk_written,
        weights_read=one.reading.size,
        major_faults=one.reading.major_faults,
        peak_rss=one.memory.rss,
        peak_pss=one.memory.pss,
        cgroup_peak=one.memory.cgroup,
        page_cache=one.memory.page_cache,
        video_memory=one.memory.video,
    )


def spread(values: list[float]) -> float | None:
    """Return the largest deviation from the median, as a fraction of it; None for fewer than two values."""
    if len(values) < 2:
        return None
    middle = median(values)
    return max(abs(value - middle) for value in values) / abs(middle) if middle else 0.0
