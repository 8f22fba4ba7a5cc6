"""Fetch: download a snapshot's missing files into the library, over many connections and all routes."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from preheat.core.errors import HubError, HubUnavailable, IntegrityError, NoRanges
from preheat.core.events import Event, Listener, Received, Stored
from preheat.core.snapshot import File
from preheat.library.blobs.ranges import ByteRange
from preheat.library.library import Library
from preheat.net.interrupt import Interrupt
from preheat.net.retry import RetryPolicy
from preheat.transfer.part_buffer import PartBuffer
from preheat.transfer.part_download import Download, Flight
from preheat.transfer.planning.concurrency import FEWEST
from preheat.transfer.planning.part_plan import first_read, order, read_size
from preheat.transfer.planning.rate_limit import RateLimit
from preheat.transfer.route import MeasuredSpeeds, Route, Way
from preheat.transfer.scheduler import Scheduler
from preheat.transfer.setbacks import absence
from preheat.transfer.throughput import ThroughputGauge

_PUSH_EVERY = 8 << 20
_TELL_EVERY, _TELL_EVERY_S = 8 << 20, 0.25
_FIRST, _FIRST_FAR = 6, 16
_RATE_OF_ONE = 2_000_000  # bytes/s assumed for each connection when there is a rate limit
_GLANCE_S = 0.05
_ABSENT_EVERY_S = 1.0
_SYNC_EVERY_S, _SETTLE_EVERY_S = 1.0, 4.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of a fetch: `connections` per route, and `rate` in bytes/s over all routes (0: unlimited).

    `lines` stores the speeds that a fetch measured, for the next fetch.
    """

    connections: int = 256
    rate: float = 0.0
    lines: MeasuredSpeeds = field(default_factory=MeasuredSpeeds)
    patience: RetryPolicy = field(default_factory=lambda: RetryPolicy(attempts=6))

    @property
    def first(self) -> tuple[int, int]:
        """The initial number of connections to a near hub, and to a far one.

        With a rate limit, both numbers are small, since an interrupted pull loses the bytes in each connection's
        buffers.
        """
        worth = max(1, int(self.rate / _RATE_OF_ONE)) if self.rate else _FIRST_FAR
        return min(_FIRST, worth), min(_FIRST_FAR, worth)


def fetch(
    missing: Iterable[File],
    way: Way,
    library: Library,
    policy: Policy,
    on_event: Listener,
    helpers: Sequence[Callable[[], Way | None]] = (),
) -> None:
    """Download the `missing` files; return when all are verified and stored in the library.

    Each function in `helpers` looks for one more source of the same bytes, in a separate thread. The source is used as
    soon as it is found. The number of connections is tuned to the measured rate. The thread that receives the last part
    of a file also verifies the file, so hashing overlaps with other downloads. `on_event` is called in the calling
    thread, and a slow listener does not delay downloads.

    If another process is downloading a file, wait for it, and download the file here if that process dies. If a file
    cannot be downloaded from any source, raise the error; the next fetch resumes from the bytes received so far.
    KeyboardInterrupt interrupts reads in progress.
    """
    events: SimpleQueue[Event] = SimpleQueue()
    tell = events.put
    first, first_far = policy.first
    files = order(missing, int.from_bytes(os.urandom(4)))
    board = Scheduler(
        files, policy.lines.route(way, policy.connections, first, first_far), library, policy.patience, tell
    )
    downloaders = _Downloaders(board, library, RateLimit(policy.rate), tell)
    syncing = threading.Thread(target=_sync_now_and_then, args=(board, library), name="sync", daemon=True)
    board.routes.awaited = len(helpers)
    for find in helpers:
        threading.Thread(target=_join, args=(board, find, policy), name="helper", daemon=True).start()
    try:
        syncing.start()
        _watch(board, downloaders, policy.patience, lambda: _pass_on(events, on_event))
    finally:
        board.stop()
        downloaders.leave()
        board.close()
        library.seals.flush()
    _pass_on(events, on_event)
    for route in board.routes:
        policy.lines.learn(route)
    if board.error is not None:
        raise board.error


def _pass_on(events: "SimpleQueue[Event]", on_event: Listener) -> None:
    """Pass all queued events to the listener."""
    while True:
        try:
            event = events.get_nowait()
        except Empty:
            return
        on_event(event)


def _watch(board: Scheduler, downloaders: "_Downloaders", patience: RetryPolicy, pass_on: Callable[[], None]) -> None:
    """Tune the number of connections and threads and pass events on, until the fetch ends."""
    gauges: dict[Route, ThroughputGauge] = {}
    reported_at = 0.0
    downloaders.start_threads()
    while not board.ended.wait(_GLANCE_S):
        pass_on()
        now, cpu_s, loaded = time.monotonic(), time.process_time(), not board.starving
        for route in board.routes:
            measured = gauges.setdefault(route, ThroughputGauge(route)).read(now, loaded=loaded, cpu_s=cpu_s)
            board.tune(route, measured, now)
        with board.changed:
            board.starving = False
        board.wake_the_stalled(now)
        if now - reported_at >= _ABSENT_EVERY_S:
            reported_at = now
            with board.changed:
                away = absence(board.routes, board.flights(), patience, now)
            if away is not None:
                downloaders.tell(away)
        downloaders.start_threads()


class _Downloaders:
    """The threads that download parts of files. They also seal complete files: verify and store them."""

    def __init__(self, board: Scheduler, library: Library, limit: RateLimit, tell: Listener) -> None:
        self._board = board
        self._library = library
        self._limit = limit
        self.tell = tell
        self._threads: list[threading.Thread] = []

    def start_threads(self) -> None:
        """Start threads until there is one per connection that the routes may have; idle threads are kept."""
        wanted = sum(route.ramp.count for route in self._board.routes if not route.left)
        for _ in range(wanted - len(self._threads)):
            if self._board.starving or self._board.ended.is_set():
                return
            thread = threading.Thread(target=self._work, name=f"fetch-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def leave(self, within_s: float = 0.5) -> None:
        """Wait up to `within_s` seconds for the threads to end."""
        deadline = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def _work(self) -> None:
        try:
            with contextlib.ExitStack() as closing:
                interrupt = Interrupt()
                closing.callback(interrupt.close)
                buffer = PartBuffer(len(self._threads))
                closing.enter_context(interrupt.guarding())
                while (work := self._board.take()) is not None:
                    whole = self._download_part(work, buffer, interrupt) if isinstance(work, Flight) else work
                    if whole is not None:
                        self._seal(whole)
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, which raises it
            self._board.fail(error)

    def _download_part(self, flight: Flight, buffer: PartBuffer, interrupt: Interrupt) -> Download | None:
        """Download a part to disk. Return the part's file if the file is now complete, to be sealed by this thread."""
        error: HubError | IntegrityError | None = None
        flight.bind(interrupt)
        try:
            self._read(flight, buffer)
        except (HubError, IntegrityError) as trouble:
            # A read that we interrupted is not the hub's error. NoRanges counts even then: it is raised only once.
            ours = flight.given_up or flight.at >= flight.stop
            error = trouble if not ours or isinstance(trouble, NoRanges) else None
        finally:
            flight.unbind()
        whole = self._board.part_ended(flight, error, time.monotonic())
        if whole is None:
            flight.download.partial.follow()
        return whole

    def _read(self, flight: Flight, buffer: PartBuffer) -> None:
        partial, route = flight.download.partial, flight.route
        written_back = reported = flight.start
        # After a failure the route may be slower than its earlier rate.
        size, reported_at = first_read(0.0 if route.failures else route.rate, buffer.size), time.monotonic()
        reader = route.open(partial.file.digest, flight.start, flight.stop)
        flight.answer_s = time.monotonic() - flight.began
        flight.round_trip_s = reader.round_trip_s
        route.answered(flight.answer_s, flight.round_trip_s)
        try:
            while flight.at < flight.stop and not self._board.stopping:
                asked, flight.reads = time.monotonic(), True
                count = buffer.fill(reader, min(size, flight.stop - flight.at))
                flight.reads = False
                if count == 0:
                    raise HubUnavailable(f"{route.way.name} ended its response early", hint="pull again to resume")
                count = flight.pledge(count)
                buffer.write(partial, flight.at, count, flight.holes)
                flight.at += count
                now, flight.prompt = time.monotonic(), reader.prompt
                size = read_size(size, now - asked, buffer.size)
                route.arrived(count, now, prompt=flight.prompt)
                self._limit.spend(count)
                if flight.at - written_back >= _PUSH_EVERY:
                    partial.push(ByteRange(written_back, flight.at))
                    written_back = flight.at
                if flight.at - reported >= _TELL_EVERY or now - reported_at >= _TELL_EVERY_S:
                    self.tell(Received(partial.file, flight.at - reported))
                    reported, reported_at = flight.at, now
                    flight.round_trip_s = reader.round_trip_s
        finally:
            reader.close()
            if flight.at > reported:
                self.tell(Received(partial.file, flight.at - reported))
        partial.push(ByteRange(written_back, flight.at))

    def _seal(self, download: Download) -> None:
        try:
            self._library.keep(download.partial)
        except IntegrityError as error:
            self._board.wrong(download, error)
        else:
            self._board.kept(download)
            self.tell(Stored(download.partial.file))


def _join(board: Scheduler, find: Callable[[], Way | None], policy: Policy) -> None:
    """Add the source that `find` returns. It gets few connections at first, since the user did not choose it."""
    way = None
    try:
        way = find()
    except Exception as error:  # noqa: BLE001 - carried to the caller's thread, which raises it
        board.fail(error)
    board.join(policy.lines.route(way, policy.connections, FEWEST) if way is not None else None)


def _sync_now_and_then(board: Scheduler, library: Library) -> None:
    """Sync partials to disk once a second, so that a power cut loses little and the final sync is short."""
    settled = time.monotonic()
    while not board.ended.wait(_SYNC_EVERY_S):
        try:
            for download in board.open_partials():
                download.partial.sync()
            # Small files may be in any of the library's folders, and each folder needs a sync.
            if time.monotonic() - settled >= _SETTLE_EVERY_S:
                library.settle()
                settled = time.monotonic()
        except Exception as error:  # noqa: BLE001 - carried to the caller's thread, which raises it
            board.fail(error)
