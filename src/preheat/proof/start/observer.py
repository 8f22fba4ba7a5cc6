"""Observer: samples an app's processes from outside while it starts: memory, reads, sockets, files."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from preheat.guard.kernel import process_tree
from preheat.guard.kernel.peak_memory import high_water
from preheat.guard.kernel.ports import listening
from preheat.proof.conditions.page_cache_residency import cached
from preheat.proof.start import proc_stats
from preheat.proof.start.folder_growth import FolderGrowth
from preheat.proof.start.gpu import Gpus
from preheat.proof.start.timeline import Span, merged

_EVERY_S = 0.05
_SHARE = 0.006  # of a core, for the samples of all kinds together
_SHARE_OF_SOCKETS = 0.003  # these must catch a moment, and end when they have
_REST_AT_MOST_S = 10.0


@dataclass(frozen=True, slots=True)
class ObservedResources:
    """Resources to observe in addition to the processes: weight files, the files that a cold start writes, the GPUs."""

    weights: Sequence[Path] = ()
    growth: FolderGrowth | None = None
    gpus: Gpus | None = None


@dataclass(slots=True)
class ResourceUse:
    """The values observed so far, in bytes and in seconds since the start."""

    rss: int = 0
    pss: int = 0
    disk_read: int = 0
    disk_written: int = 0
    major_faults: int = 0
    video: int | None = None
    listening_s: float | None = None
    resident: list[tuple[float, int]] = field(default_factory=list)
    in_use: set[str] = field(default_factory=set)

    def read_until(self, seconds: float) -> int:
        """Return the bytes of the weights that were in the page cache at a time of the start."""
        return max((size for at, size in self.resident if at <= seconds), default=0)

    def reading(self) -> tuple[Span, ...]:
        """Return when more of the weights entered the page cache."""
        pairs = zip(self.resident, self.resident[1:], strict=False)
        return merged((Span(one[0], other[0]) for one, other in pairs if other[1] > one[1]), gap=0.2)


class Observer:
    """Sample the process tree of `main()` in a thread until `close`. `began` is the time.monotonic() of the start."""

    def __init__(self, main: Callable[[], int], began: float, subject: ObservedResources) -> None:
        self.seen = ResourceUse()
        self._main, self._began, self._subject = main, began, subject
        self._family: list[int] = [main()]
        self._listened = frozenset(listening())
        self._video_before = subject.gpus.used if subject.gpus else None
        self._growth = subject.growth
        self._born = time.time() - (time.monotonic() - began)
        self._closed = threading.Event()
        self._looks = [self._memory, self._shares, self._sockets]
        if subject.weights:
            self._looks.append(self._residency)
        if self._growth:
            self._looks += [self._files, self._growth.look]
        self._thread = threading.Thread(target=self._watch, name="gauge", daemon=True)
        self._thread.start()

    def close(self) -> ResourceUse:
        """Stop the thread, and take a final sample. Call this while the processes are still running."""
        if not self._closed.is_set():
            self._closed.set()
            self._thread.join()
            for look in self._looks:
                look()
        return self.seen

    def downloading(self) -> tuple[Span, ...]:
        """Return when the files that a cold start downloads were written."""
        return self._growth.spans(self._born) if self._growth else ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        due: dict[Callable[[], None], float] = {}
        while not self._closed.wait(_EVERY_S):
            for look in self._looks:
                if time.monotonic() >= due.get(look, 0.0):
                    # CPU time of this thread only: time spent waiting for a core is not taken from the app.
                    began = time.thread_time()
                    look()
                    took = time.thread_time() - began
                    share = _SHARE_OF_SOCKETS if look == self._sockets else _SHARE / (len(self._looks) - 1)
                    rest = took / share
                    due[look] = time.monotonic() + min(rest, _REST_AT_MOST_S)

    def _memory(self) -> None:
        family = process_tree.family(self._main())
        self._family = [member.pid for member in family if not member.dead]
        seen = self.seen
        seen.rss = max(seen.rss, sum(member.resident for member in family), *map(high_water, self._family), 0)
        read, written = proc_stats.read_and_written(self._family)
        seen.disk_read, seen.disk_written = max(seen.disk_read, read), max(seen.disk_written, written)
        seen.major_faults = max(seen.major_faults, proc_stats.major_faults(self._family))
        used = self._subject.gpus.used if self._subject.gpus else None
        if used is not None and self._video_before is not None:
            seen.video = max(seen.video or 0, used - self._video_before)

    def _shares(self) -> None:
        self.seen.pss = max(self.seen.pss, proc_stats.proportional(self._family))

    def _sockets(self) -> None:
        if self.seen.listening_s is None:
            now, sockets = time.monotonic(), frozenset(listening())
            new = sockets - self._listened
            if new and proc_stats.holds_socket(self._family, new):
                self.seen.listening_s = now - self._began
            self._listened |= new

    def _residency(self) -> None:
        self.seen.resident.append((time.monotonic() - self._began, cached(self._subject.weights, about=True)))

    def _files(self) -> None:
        in_use, written = proc_stats.files_in_use(self._family)
        self.seen.in_use |= in_use
        if self._growth:
            self._growth.elsewhere(written)
