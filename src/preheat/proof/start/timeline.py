"""Timeline: times and resources of one start of an app."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

COLD, PRELOADED, WARM, RESTART, THAWED = CONDITIONS = ("cold", "preloaded", "warm", "restart", "thawed")
EVERYWHERE = (COLD, PRELOADED, WARM, RESTART)  # THAWED requires CRIU
OFFLINE = (PRELOADED, WARM, RESTART)


@dataclass(frozen=True, slots=True)
class Span:
    """A period of a start, in seconds since it began; `stop` is exclusive."""

    start: float
    stop: float

    @property
    def seconds(self) -> float:
        """Return the duration."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Pulled:
    """Seconds of each stage of a pull before the start: resolve, download, verify the rest, place views."""

    resolve_s: float = 0.0
    fetch_s: float = 0.0
    verify_s: float = 0.0
    place_s: float = 0.0

    @property
    def seconds(self) -> float:
        """Return the total duration."""
        return self.resolve_s + self.fetch_s + self.verify_s + self.place_s


@dataclass(frozen=True, slots=True)
class Package:
    """A package: how many of its modules were imported, and their import time in seconds without nested imports."""

    name: str
    seconds: float
    modules: int


@dataclass(frozen=True, slots=True)
class Imports:
    """Python's start and imports: seconds until the interpreter ran, when it imported, and the slowest packages."""

    interpreter_s: float
    spans: tuple[Span, ...]
    slowest: tuple[Package, ...]
    modules: int

    @property
    def seconds(self) -> float:
        """Return the total import time."""
        return sum(span.seconds for span in self.spans)


@dataclass(frozen=True, slots=True)
class WeightReads:
    """Reads of the weights from disk into the page cache: when, how many bytes, and major page faults.

    `until_ready` are the bytes that had been read before the start was ready.
    """

    spans: tuple[Span, ...] = ()
    size: int = 0
    major_faults: int = 0
    until_ready: int = 0

    @property
    def seconds(self) -> float:
        """Return the total reading time."""
        return sum(span.seconds for span in self.spans)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes transferred, and network calls.

    `outbound` is None if network calls could not be counted; `uncounted` is the reason. `fetched` is the number of
    bytes downloaded by a cold start, or by the pull before a preloaded one. For `observed_s` seconds after first use,
    network calls were counted.
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
    """Peak memory of the app's processes in bytes: RSS, PSS, by cgroup, and on GPUs.

    `page_cache` is how many bytes of the weights were in the page cache at the end. None means not measured, since
    there is no GPU, or no cgroup. `uncounted` is the reason why there is no cgroup.
    """

    rss: int = 0
    pss: int | None = None
    cgroup: int | None = None
    page_cache: int = 0
    video: int | None = None
    uncounted: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """One start under one condition. Times are seconds since the process was started; for a restart, since the crash.

    A thawed start begins with the verification of its memory snapshot; its network calls are not counted. `first_s` is
    None if the recipe has no first use. `pulled` is None if there was no pull before the start. `imports` is None if no
    Python process could be observed. `listening_s` is None if no listening socket was seen. `downloading` is when a
    cold start downloaded. `stayed` is the fraction of the files that eviction left in the page cache.
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
        """Return the total download time."""
        return sum(span.seconds for span in self.downloading)


def merged(spans: Iterable[Span], gap: float = 0.0) -> tuple[Span, ...]:
    """Return the spans in order; spans that overlap or are at most `gap` seconds apart are joined."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda one: one.start):
        if joined and span.start <= joined[-1].stop + gap:
            joined[-1] = Span(joined[-1].start, max(joined[-1].stop, span.stop))
        elif span.stop > span.start:
            joined.append(span)
    return tuple(joined)


def until(spans: Sequence[Span], stop: float) -> tuple[Span, ...]:
    """Return the spans, cut off at the time `stop`."""
    return tuple(Span(span.start, min(span.stop, stop)) for span in spans if span.start < stop)
