"""Simulated line: a line with a bottleneck and a queue, in simulated time, that the scheduler's own decisions drive.

No sockets, threads or sleeping. The scheduler, its routes, the gauge and the part sizes are those of a real fetch; the
line does what a real one does with the bytes, and counts all that it carries, also for connections closed meanwhile.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from preheat.core.errors import HubError
from preheat.core.events import Event
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.folder import Folder
from preheat.library.library import Library
from preheat.net.interrupt import Interrupt
from preheat.net.retry import RetryPolicy
from preheat.transfer.fetch import Policy
from preheat.transfer.part_download import Download, Flight
from preheat.transfer.route import MeasuredSpeeds, Way
from preheat.transfer.scheduler import Scheduler
from preheat.transfer.throughput import ThroughputGauge

_SEGMENT, _FIRST_WINDOW, _LARGEST_WINDOW = 1_448, 14_480, 4 << 20
_HANDSHAKES = 3  # round trips of TCP and TLS
_DUE_S = 600.0


@dataclass(frozen=True, slots=True)
class LineTraits:
    """`rate` bytes/s in all and `cap` for one connection, `queue_s` seconds of queue, headers `late_s` seconds late.

    Of every two spells of `lump_s` seconds, the line carries bytes in the second only, at twice the rate. A share
    `loss` of the packets is lost; each loss halves the window of its connection, which then grows by one packet a trip.
    """

    rate: float = 1e6
    round_trip_s: float = 0.02
    queue_s: float = 0.1
    cap: float = float("inf")
    late_s: float = 0.0
    lump_s: float = 0.0
    loss: float = 0.0

    def at(self, rate: float) -> "LineTraits":
        """Return a line with another rate."""
        return replace(self, rate=rate)

    def carries(self, now: float, tick_s: float) -> float:
        """Return how many bytes pass the bottleneck in the tick that ends `now`."""
        return self.rate * (self._open_s(now) - self._open_s(now - tick_s))

    def _open_s(self, now: float) -> float:
        if not self.lump_s:
            return now
        spells, rest_s = divmod(now, 2 * self.lump_s)
        return 2 * (spells * self.lump_s + max(rest_s - self.lump_s, 0.0))


@dataclass(slots=True, eq=False)
class _Connection:
    """A request until the end of its response; `asked` is the end that the server knows."""

    flight: Flight
    asked: int
    opens_at: float
    interrupt: Interrupt
    sent: int = 0
    arrived: int = 0
    window: float = _FIRST_WINDOW
    unlucky: float = 0.0
    has_lost: bool = False
    closed: bool = False


@dataclass(slots=True)
class Outcome:
    """The result of a fetch: seconds, bytes that the line carried, most connections, and ticks without a request."""

    seconds: float = 0.0
    carried: int = 0
    most: int = 0
    idle: int = 0
    requests: int = 0
    events: list[Event] = field(default_factory=list)


class SimulatedFetch:
    """One fetch of `files` over a line with these `traits`."""

    def __init__(self, traits: LineTraits, library: Library, files: Sequence[File], wires: list[Interrupt]) -> None:
        self._traits = traits
        self._wires = wires
        snapshot = Snapshot(Ref.parse("me/x"), "0" * 40, tuple(files))
        policy = Policy()
        self._route = MeasuredSpeeds().route(Way("line", Folder(), snapshot), policy.connections, *policy.first)
        self._route.began = 0.0
        self.outcome = Outcome()
        self._board = Scheduler(
            sorted(files, key=lambda file: -file.size), self._route, library, RetryPolicy(), self.outcome.events.append
        )
        self._gauge = ThroughputGauge(self._route)
        self._open: list[_Connection] = []
        self._queue: deque[tuple[_Connection, int]] = deque()
        self._queued = 0
        self._kept: list[float] = []

    def run(self, tick_s: float) -> Outcome:
        """Fetch all files; return the outcome."""
        now = 0.0
        try:
            while not self._board.ended.is_set() and now < _DUE_S:
                now += tick_s
                self._deliver(now, tick_s)
                self._send(now, tick_s)
                self._man(now)
                self.outcome.idle += not self._open and not self._board.ended.is_set()
                self._watch(now)
        finally:
            self._board.close()
        self.outcome.seconds = now
        return self.outcome

    def _man(self, now: float) -> None:
        """Give each waiting thread a part to download."""
        board, route = self._board, self._route
        while len(self._open) < route.ramp.count and not board.ended.is_set():
            with board.changed:
                work = board.offer(now)
            match work:
                case None:
                    break
                case Flight():
                    self._request(work, now)
                case Download():
                    self._seal(work)
                case _:
                    board.begin(work)
        self.outcome.most = max(self.outcome.most, len(self._open))

    def _request(self, flight: Flight, now: float) -> None:
        traits, delay_s = self._traits, self._queued / self._traits.rate
        trips = 1 if self._kept else 1 + _HANDSHAKES
        window = self._kept.pop() if self._kept else _FIRST_WINDOW
        wire = self._wires.pop() if self._wires else Interrupt()
        flight.bind(wire)
        wire.received_at = now
        # All bytes from the server wait in the line's queue, also handshakes.
        opens_at = now + trips * traits.round_trip_s + (trips - 1) * delay_s + traits.late_s
        luck = 0.37 * self.outcome.requests % 1  # so that connections do not all lose at once
        self._open.append(_Connection(flight, flight.stop, opens_at, wire, window=window, unlucky=luck))
        self.outcome.requests += 1

    def _deliver(self, now: float, tick_s: float) -> None:
        left = int(self._traits.carries(now, tick_s))
        while left > 0 and self._queue:
            connection, size = self._queue.popleft()
            count = min(size, left)
            left -= count
            self._queued -= count
            if size > count:
                self._queue.appendleft((connection, size - count))
            connection.arrived += count
            grown = count * _SEGMENT / connection.window if connection.has_lost else count
            connection.window = min(connection.window + grown, _LARGEST_WINDOW)
            if not connection.closed:
                self._receive(connection, count, now)
        for connection in [one for one in self._open if one.flight.given_up or not one.flight.left]:
            self._end(connection, now)

    def _receive(self, connection: _Connection, count: int, now: float) -> None:
        flight, route = connection.flight, self._route
        if not flight.answer_s:
            flight.answer_s = now - flight.began
            route.answered(flight.answer_s, self._trip_s)
        flight.round_trip_s = self._trip_s
        count = flight.pledge(count)
        flight.at += count
        connection.interrupt.received_at = now
        route.arrived(count, now, prompt=False)

    @property
    def _trip_s(self) -> float:
        """The round trip of a packet now, with the time in the queue."""
        return self._traits.round_trip_s + self._queued / self._traits.rate

    def _end(self, connection: _Connection, now: float) -> None:
        """Close the connection, or keep it for the next request; bytes in flight still take their time."""
        flight = connection.flight
        self._open.remove(connection)
        connection.closed = True
        if connection.sent >= connection.asked - flight.start and not flight.given_up:
            self._kept.append(connection.window)
        flight.unbind()
        self._wires.append(connection.interrupt)
        with self._board.changed:
            whole = self._board.part_ended(flight, None, now)
        if whole is not None:
            self._seal(whole)

    def _seal(self, whole: Download) -> None:
        self._board.kept(whole)
        whole.partial.close()

    def _send(self, now: float, tick_s: float) -> None:
        """Let the servers send as far as windows, caps and the queue permit; a full queue halves the window."""
        traits = self._traits
        room = max(int(traits.rate * traits.queue_s), 2 * int(traits.rate * tick_s), 10 * _SEGMENT)
        ready = [one for one in self._open if now >= one.opens_at and one.sent < one.asked - one.flight.start]
        share = max(room // (2 * len(ready)), _SEGMENT) if ready else 0
        for one in ready:
            # A window for each round trip, the time in the queue included.
            trip_s = traits.round_trip_s + self._queued / traits.rate
            allowed = min(one.window * tick_s / trip_s if tick_s < trip_s else one.window, traits.cap * tick_s, share)
            size = min(
                int(max(allowed, 1)),
                int(one.window) - (one.sent - one.arrived),
                one.asked - one.flight.start - one.sent,
            )
            if size <= 0:
                continue
            if self._queued + size > room:
                one.window = max(one.window / 2, _FIRST_WINDOW)
                continue
            one.sent += size
            self._queued += size
            self.outcome.carried += size
            self._queue.append((one, size))
            one.unlucky += traits.loss * size / _SEGMENT
            if one.unlucky >= 1:
                one.unlucky %= 1
                one.window, one.has_lost = max(one.window / 2, _FIRST_WINDOW), True
        if ready:  # the next tick starts with another connection
            self._open.append(self._open.pop(0))

    def _watch(self, now: float) -> None:
        board, route = self._board, self._route
        if board.ended.is_set():
            return
        said = self._gauge.read(now, loaded=not board.starving)
        board.tune(route, said, now)
        board.starving = False
        board.wake_the_stalled(now)
        if route.left:
            raise HubError(route.left)
