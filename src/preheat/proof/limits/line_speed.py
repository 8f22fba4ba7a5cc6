"""Line speed: rate and latency of the connection to a hub, with one connection and with many."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from preheat.core.snapshot import File, Snapshot
from preheat.hubs.hub import Hub
from preheat.proof.limits.interruptible import sum_in_threads

_LONG_ENOUGH_S = 0.5
_FIRST = 1 << 18
_GROW = 2
_READ = 32 << 10
# When a read returned, by time.monotonic(), and how many bytes it brought.
Arrival = tuple[float, int]


@dataclass(frozen=True, slots=True)
class Line:
    """The measured speed of the connection to a hub.

    `one` and `many` are bytes/s over one connection and over `connections` of them. `answer_s` is the time in seconds
    of a request for one byte. `received` is the number of bytes downloaded for the measurement.
    """

    one: float
    many: float
    connections: int
    answer_s: float
    received: int = 0


def measure_line(hub: Hub, snapshot: Snapshot, connections: int, most: int = 0) -> Line:
    """Measure the connection to a hub: download larger and larger ranges of the snapshot's largest file.

    `most`: the bytes to download at most; 0 for as many as 0.5 s of download take. Raise HubError as Hub.open does.
    """
    file = max(snapshot.files, key=lambda file: file.size)
    answer_s = _timed(lambda: _fetch(hub, snapshot, file, 0, min(file.size, 1), []))
    one, received = _rate(hub, snapshot, file, 1, most // 4)
    left = most - received - 1 if most else 0
    many, more = _rate(hub, snapshot, file, connections, left) if connections > 1 else (one, 0)
    # A hub that limits each connection sends the beginning faster.
    many = min(many, one * connections)
    return Line(one, max(one, many), connections, answer_s, received + more + min(file.size, 1))


def _rate(hub: Hub, snapshot: Snapshot, file: File, connections: int, most: int = 0) -> tuple[float, int]:
    """Return the best rate in bytes/s over this number of connections, and the number of bytes downloaded.

    Only downloads that took a while count, if there was one: the first bytes of a connection often come at once, also
    where a hub limits its rate. `most`: the bytes to download at most, 0 for no limit.
    """
    piece, received, best = min(_FIRST, most // connections) if most else _FIRST, 0, 0.0
    while True:
        step = max(1, min(piece, file.size // connections))
        arrivals: list[Arrival] = []

        def fetch(start: int, step: int = step, arrivals: list[Arrival] = arrivals) -> int:
            return _fetch(hub, snapshot, file, start, min(start + step, file.size), arrivals)

        began = time.monotonic()
        got = sum_in_threads(fetch, range(0, min(step * connections, file.size), step), connections)
        took = max(time.monotonic() - began, 1e-6)
        # Of several connections, some end before the others: their second half says less than all of it.
        received, rate = received + got, got / took if connections > 1 else steady_rate(began, arrivals)
        if took >= _LONG_ENOUGH_S / 2:
            best = max(best, rate)
        if took >= _LONG_ENOUGH_S or step < piece or step * connections >= file.size:
            return best or rate, received
        piece *= _GROW
        if most and received + piece * connections > most:
            return best or rate, received


def steady_rate(began: float, arrivals: Sequence[Arrival]) -> float:
    """Return the rate in bytes/s in the second half of a download that began at the time `began`.

    The first half is left out: it has the round trips before the first byte, and bytes that a hub or the kernel sends
    before its own rate limit applies.
    """
    ordered = sorted(arrivals)
    took = max(ordered[-1][0] - began, 1e-6) if ordered else 1e-6
    late = [one for one in ordered if one[0] >= began + took / 2]
    if len(late) > 1 and (seconds := late[-1][0] - late[0][0]) >= took / 4:
        return sum(size for _, size in late[1:]) / seconds
    return sum(size for _, size in ordered) / took


def _fetch(hub: Hub, snapshot: Snapshot, file: File, start: int, stop: int, arrivals: list[Arrival]) -> int:
    reader = hub.open(snapshot, file, start, stop)
    buffer, count = memoryview(bytearray(_READ)), 0
    try:
        while more := reader.readinto(buffer):
            arrivals.append((time.monotonic(), more))
            count += more
    finally:
        reader.close()
    return count


def _timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began
