"""Dry run: report what a pull would download and how long it would take, without downloading."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from preheat.core.events import Listener
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.hub import Hub
from preheat.library.library import Library
from preheat.net.retry import USUAL, RetryPolicy
from preheat.verbs.pull import PullSource, Wish, believed, resolve

_CONNECTIONS = 8
_MEASURED_S = 1.5
_MOST = 64 << 20


@dataclass(frozen=True, slots=True)
class Outlook:
    """Estimate of a pull: `files` and `size` in all, the part that is `missing`, and the `free` disk space.

    Sizes are in bytes.

    `rate` is the download rate measured with 8 connections, in bytes per second, and `seconds` the time for the
    missing bytes at that rate; both are None if nothing is missing. A pull may use more connections and be faster.
    """

    ref: Ref
    commit: str
    files: int
    size: int
    missing_files: int
    missing: int
    free: int
    rate: float | None = None
    seconds: float | None = None

    @property
    def fits(self) -> bool:
        """Whether the disk has enough free space for the missing bytes."""
        return self.missing < self.free


def look_ahead(
    sources: Sequence[PullSource], library: Library, wish: Wish, on_event: Listener, patience: RetryPolicy = USUAL
) -> Outlook:
    """Resolve the model, compare it with the library, and measure the download rate for 1.5 s; write nothing.

    Raise AccessDenied if the files are gated for this token, as the pull itself would.
    """
    ref = sources[0].ref
    source, snapshot = resolve(sources, on_event, patience, lambda told: believed(told, ref, wish, library))
    wanted = wish.of(snapshot)
    missing = library.missing(wanted)
    to_come = sum(file.size - library.progress(file) for file in missing)
    rate = _try_line(source.hub, snapshot, max(missing, key=lambda file: file.size)) if missing else None
    return Outlook(
        ref,
        snapshot.commit,
        len(wanted.files),
        wanted.size,
        len(missing),
        to_come,
        library.free(),
        rate,
        to_come / rate if rate else None,
    )


def _try_line(hub: Hub, snapshot: Snapshot, file: File) -> float:
    """Download parts of a file in parallel for 1.5 s and discard them; return bytes per second."""
    size = min(file.size, _MOST)
    step = max(size // _CONNECTIONS, 1)
    began = time.monotonic()

    def read(start: int) -> int:
        reader = hub.open(snapshot, file, start, min(start + step, size))
        buffer, count = memoryview(bytearray(64 << 10)), 0
        try:
            while time.monotonic() - began < _MEASURED_S and (more := reader.readinto(buffer)):
                count += more
        finally:
            reader.close()
        return count

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        received = sum(pool.map(read, range(0, size, step)))
    return received / max(time.monotonic() - began, 0.001)
