"""Timeline: times and resources of one start of an app."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

COLD, PRELOADED, WARM, RESTART = CONDITIONS = ("cold", "preloaded", "warm", "restart")
OFFLINE = (PRELOADED, WARM, RESTART)


@dataclass(frozen=True, slots=True)
class Span:
    """A time in a start, in seconds since it began, half open."""

    start: float
    stop: float

    @property
    def seconds(self) -> float:
        """Say how long it is."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull took before the start, in seconds: asking, fetching, the verifying that was left, placing views."""

    resolve_s: float = 0.0
    fetch_s: float = 0.0
    verify_s: float = 0.0
    place_s: float = 0.0

    @property
    def seconds(self) -> float:
        """Say how long all of it took."""
        return self.resolve_s + self.fetch_s + self.verify_s + self.place_s


@dataclass(frozen=True, slots=True)
class Package:
    """A package, how many modules of it were imported, and the seconds they took without what they import in turn."""

    name: str
    seconds: float
    modules: int


@dataclass(frozen=True, slots=True)
class Imports:
    """What the app's Python did before and for its imports: when it began, when it imported, the slowest packages."""

    interpreter_s: float
    spans: tuple[Span, ...]
    slowest: tuple[Package, ...]
    modules: int

    @property
    def seconds(self) -> float:
        """Say how long it imported."""
        return sum(span.seconds for span in self.spans)


@dataclass(frozen=True, slots=True)
class WeightReads:
    """How the weights came from disk into the page cache: when, how many bytes, how many page faults waited for it."""

    spans: tuple[Span, ...] = ()
    size: int = 0
    major_faults: int = 0

    @property
    def seconds(self) -> float:
        """Say how long it read."""
        return sum(span.seconds for span in self.spans)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that moved, and calls to others.

    `outbound` is None where network calls could not be counted, and `uncounted` says why. `fetched` are bytes that
    came over the network for it: the cold start's own, or those of the pull before a preloaded one. `observed_s` is for
    how long after its first use the calls were counted.
    """

    fetched: int = 0
    disk_read: int = 0
    disk_written: int = 0
    outbound: int | None = None
    lookups: int = 0
    places: tuple[str, ...] = ()
    uncounted: str = ""
    observed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """The most bytes that the app's family had: resident, in fair shares, by the cgroup's count, on the GPUs.

    `page_cache` is what it held of the weights in the end. None is what could not be told: there is no GPU, or no
    cgroup of its own (`uncounted` says why).
    """

    rss: int = 0
    pss: int | None = None
    cgroup: int | None = None
    page_cache: int = 0
    video: int | None = None
    uncounted: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """One start under one condition; seconds since the process was started, or, for a restart, since the crash.

    `first_s` is None when the recipe names no first use; `pulled` when nothing was pulled before; `imports` when the
    app is no Python that could be watched; `listening_s` when no listening socket of its was seen. `downloading` is
    when a cold start fetched. `stayed` is the part of its files that was still in the page cache when it began.
    """

    condition: str
    ready_s: float
    first_s: float | None = None
    listening_s: float | None = None
    pulled: Pulled | None = None
    imports: Imports | None = None
    downloading: tuple[Span, ...] = ()
    reading: WeightReads = field(default_factory=WeightReads)
    traffic: Traffic = field(default_factory=Traffic)
    memory: Memory = field(default_factory=Memory)
    stayed: float | None = None

    @property
    def download_s(self) -> float:
        """Say how long it fetched."""
        return sum(span.seconds for span in self.downloading)


def merged(spans: Iterable[Span], gap: float = 0.0) -> tuple[Span, ...]:
    """Join spans that overlap or lie at most `gap` seconds apart; give them in order."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda one: one.start):
        if joined and span.start <= joined[-1].stop + gap:
            joined[-1] = Span(joined[-1].start, max(joined[-1].stop, span.stop))
        elif span.stop > span.start:
            joined.append(span)
    return tuple(joined)


def until(spans: Sequence[Span], stop: float) -> tuple[Span, ...]:
    """Cut off what comes after `stop`."""
    return tuple(Span(span.start, min(span.stop, stop)) for span in spans if span.start < stop)
