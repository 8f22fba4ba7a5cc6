"""Report: medians and spread over all trials."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

from preheat.proof.limits.disk_speed import Speed
from preheat.proof.limits.line_speed import Line
from preheat.proof.start.timeline import COLD, CONDITIONS, OFFLINE, PRELOADED, WARM, Timeline

Figure = Callable[[Timeline], float | None]

# What is said of each condition, by the names that JSON and --fail-if use; units are in the name, else bytes or counts.
FIGURES: Mapping[str, Figure] = {
    "ready_s": lambda one: one.ready_s,
    "first_s": lambda one: one.first_s,
    "listening_s": lambda one: one.listening_s,
    "interpreter_s": lambda one: one.imports.interpreter_s if one.imports else None,
    "imports_s": lambda one: one.imports.seconds if one.imports else None,
    "reading_s": lambda one: one.reading.seconds,
    "download_s": lambda one: one.download_s,
    "pull_s": lambda one: one.pulled.seconds if one.pulled else None,
    "fetched": lambda one: one.traffic.fetched,
    "outbound": lambda one: one.traffic.outbound,
    "lookups": lambda one: one.traffic.lookups,
    "disk_read": lambda one: one.traffic.disk_read,
    "disk_written": lambda one: one.traffic.disk_written,
    "weights_read": lambda one: one.reading.size,
    "major_faults": lambda one: one.reading.major_faults,
    "peak_rss": lambda one: one.memory.rss,
    "peak_pss": lambda one: one.memory.pss,
    "cgroup_peak": lambda one: one.memory.cgroup,
    "page_cache": lambda one: one.memory.page_cache,
    "video_memory": lambda one: one.memory.video,
}

_COUNTED = frozenset(("outbound", "lookups"))


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """What this machine and its line can do at best, measured between the starts.

    `interpreter` and `imports` are seconds, one for each round: the bare Python, and the bare Python with the app's
    imports, after eviction; `imports_warm` the same from the page cache.
    """

    line: Line | None = None
    speed: Speed | None = None
    interpreter: tuple[float, ...] = ()
    imports: tuple[float, ...] = ()
    imports_warm: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Imitated:
    """A far hub that was imitated on this machine: bytes a second of each connection, seconds before each answer."""

    rate: int
    rtt_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """All timelines of a proof, the size in bytes of the weights it is about, and what they are held against.

    `unwatched` are seconds to ready of warm starts at which nothing looked, `copies` how often the weights lie on disk
    once they are preloaded, `machine` what it was measured on.
    """

    timelines: tuple[Timeline, ...]
    weights: int
    app: str = ""
    limits: MachineLimits = field(default_factory=MachineLimits)
    unwatched: tuple[float, ...] = ()
    copies: float | None = None
    imitated: Imitated | None = None
    machine: Mapping[str, object] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()

    @property
    def conditions(self) -> tuple[str, ...]:
        """List the conditions that were tried, in their order."""
        return tuple(condition for condition in CONDITIONS if self.of(condition))

    @property
    def rounds(self) -> int:
        """Say how often each was tried."""
        return max((len(self.of(condition)) for condition in self.conditions), default=0)

    def of(self, condition: str) -> list[Timeline]:
        """List one condition's timelines."""
        return [timeline for timeline in self.timelines if timeline.condition == condition]

    def taken(self, condition: str, figure: str) -> list[float]:
        """List what was taken of a figure under a condition, in the order of the rounds."""
        values = (FIGURES[figure](timeline) for timeline in self.of(condition))
        return [value for value in values if value is not None]

    def median(self, condition: str, figure: str) -> float | None:
        """Return the median of a figure under a condition, the most of a counted one; None where it was not taken."""
        taken = self.taken(condition, figure)
        if figure in _COUNTED:
            # Two rounds of three without a request are not "0 requests".
            return max(taken, default=None)
        return median(taken) if taken else None

    def typical(self, condition: str) -> Timeline:
        """Give the timeline whose time to ready is nearest to the median."""
        middle = self.median(condition, "ready_s") or 0.0
        return min(self.of(condition), key=lambda one: abs(one.ready_s - middle))

    @property
    def ratio(self) -> float | None:
        """Say how many times sooner the app is ready when preloaded; None when not both were tried."""
        cold, preloaded = self.median(COLD, "ready_s"), self.median(PRELOADED, "ready_s")
        return cold / preloaded if cold and preloaded else None

    @property
    def bound(self) -> float | None:
        """Say how many times sooner it could be without its download: (download + start) / start, of cold starts."""
        cold, download = self.median(COLD, "ready_s"), self.median(COLD, "download_s")
        return cold / (cold - download) if cold and download and cold > download else None

    @property
    def reached(self) -> float | None:
        """Say which part of the bound was reached; above 1 where starting preloaded saves more than the download."""
        return self.ratio / self.bound if self.ratio and self.bound else None

    @property
    def overhead(self) -> float | None:
        """Say what being measured cost, as a part of a start: warm starts watched and not, compared."""
        watched = self.median(WARM, "ready_s")
        return watched / median(self.unwatched) - 1 if watched and self.unwatched else None

    @property
    def online(self) -> tuple[Timeline, ...]:
        """List the starts that were to be offline, and of which outbound attempts were counted."""
        return tuple(one for one in self.timelines if one.condition in OFFLINE and one.traffic.outbound)

    @property
    def observed_s(self) -> float | None:
        """Say for how long after first use the calls of offline starts were counted; None where they were not."""
        times = [one.traffic.observed_s for one in self.timelines if one.condition in OFFLINE]
        counted = all(one.traffic.outbound is not None for one in self.timelines if one.condition in OFFLINE)
        return min(times) if times and counted else None

    def limit_s(self, condition: str) -> float | None:
        """Say what a start cannot be sooner than: the bare imports, and reading the weights as fast as is possible."""
        cold = condition in (COLD, PRELOADED)
        imports = self.limits.imports if cold else self.limits.imports_warm
        if not imports or self.limits.speed is None:
            return None
        rate = self.limits.speed.disk if condition == PRELOADED else self.limits.speed.page_cache
        return median(imports) + self.weights / rate

    def over_limit(self, condition: str) -> float | None:
        """Say how many times as long as that limit it takes."""
        ready, limit = self.median(condition, "ready_s"), self.limit_s(condition)
        return ready / limit if ready and limit else None


def spread(values: list[float]) -> float | None:
    """Say how far single values lie from their median at most, as a part of it; None for fewer than two."""
    if len(values) < 2:
        return None
    middle = median(values)
    return max(abs(value - middle) for value in values) / abs(middle) if middle else 0.0
