"""Scheduler: assigns the missing parts of all files to threads and routes; shared by all threads."""

import os
import threading
import time
from collections import deque
from collections.abc import Sequence

from preheat.core.errors import Busy, HubError, IntegrityError
from preheat.core.events import Listener, Retrying, Waiting
from preheat.core.snapshot import File
from preheat.library.blobs.partial import Partial
from preheat.library.blobs.ranges import ByteRange, common, merge
from preheat.library.library import Library
from preheat.net.retry import RetryPolicy
from preheat.transfer.part_download import Download, Flight
from preheat.transfer.planning.file_queue import Queue
from preheat.transfer.planning.part_plan import LARGEST, SMALLEST, carve
from preheat.transfer.reassign import MovedPart, Moves
from preheat.transfer.route import WORTH_ASKING, Measured, Route
from preheat.transfer.route_set import Routes
from preheat.transfer.setbacks import forget_wrong, give_up_stalled, give_up_trickling, record_error
from preheat.transfer.suspects import ask_again

# Share of the requested bytes that may be wasted by moving parts between working connections.
_MAY_WASTE = 0.01
_SIDE_BY_SIDE = max(1, min(len(os.sched_getaffinity(0)), 4))


class Scheduler:
    """Assign the missing parts of files to threads; thread-safe. To seal a file is to verify and store it.

    No disk or network I/O runs under the lock `changed`. `on_event` is also called under it, so pass a function that
    only queues the event.
    """

    def __init__(
        self, files: Sequence[File], route: Route, library: Library, patience: RetryPolicy, on_event: Listener
    ) -> None:
        self.routes = Routes(route)
        self.changed = threading.Condition()
        self.ended = threading.Event()
        self.stopping = False
        self.error: BaseException | None = None
        self.starving = False
        self._library = library
        self._patience = patience
        self._on_event = on_event
        self._files = Queue(files)
        self._downloads: list[Download] = []
        self._sealable: deque[Download] = deque()
        self._beginning = 0
        self._left = sum(file.size for file in files)
        self._moves = Moves(int(self._left * _MAY_WASTE))

    def take(self) -> Flight | Download | None:
        """Wait for a part to download or a file to seal, and return it. Return None at the end of the fetch."""
        while True:
            with self.changed:
                work = None if self.stopping else self.offer(time.monotonic())
                if work is None:
                    if self.stopping or self._all_done():
                        return None
                    self.changed.wait(self._files.wait_s(time.monotonic()))
                    continue
            if not isinstance(work, File):
                return work
            self.begin(work)

    def offer(self, now: float) -> Flight | Download | File | None:
        """Return a part to download, a file to seal or to `begin`, or None. Never blocks. Call with the lock held."""
        ready = self.routes.by_speed(now)
        has_room = bool(ready) or self.routes.all_given_up
        work = self._next(ready, now, has_room=has_room)
        if work is not None or not has_room:
            return work
        file = self._files.pop(now, self.routes.askable(ready, now))
        # A thread that waits only because all connections are in use does not mean too little work.
        self.starving |= file is None and not self._all_done()
        self._beginning += file is not None
        return file

    def part_ended(self, flight: Flight, error: HubError | IntegrityError | None, now: float) -> Download | None:
        """Record the end of a part's download, with its error if it failed. Return the file if it is complete.

        Raise the error, or an earlier one, if no route can serve the file any more.
        """
        with self.changed:
            download, route = flight.download, flight.route
            download.flights.discard(flight)
            route.active -= 1
            received = flight.at - flight.start
            if received:
                download.received.append((ByteRange(flight.start, flight.at), route))
            # A flight that was replaced before its first byte is neither a success nor a failure of its route.
            if received >= WORTH_ASKING or (error is None and received):
                route.served(flight.began)
                route.learn(flight.rate(now), received, flight.answer_s)
            if flight.at < flight.stop:
                rest = [ByteRange(flight.at, flight.stop)]
                download.gaps[:0] = common(rest, flight.holes) if flight.holes else rest
                self.changed.notify_all()
            if error is not None:
                self._failed(flight, error, now)
            return self._whole(flight)

    def kept(self, download: Download) -> None:
        """Record that a file is now in the library. Give up routes whose bytes of the file proved to be wrong."""
        with self.changed:
            self._downloads.remove(download)
            for route in download.suspects:
                # The digest is right without this route's bytes, so its bytes were wrong.
                route.left = route.left or f"gave wrong bytes of {download.partial.file.path}"
            self._all_done()

    def wrong(self, download: Download, error: IntegrityError) -> None:
        """Queue bytes of a file with a wrong digest again, see ask_again. Raise IntegrityError if it gives up."""
        with self.changed:
            again = ask_again(download, self.routes.having(download.partial.file.digest))
            names = ", ".join(sorted({route.way.name for _, route in download.received})) or "this disk"
        # No lock is needed: no other thread uses the partial of a file that is being sealed.
        gaps = forget_wrong(download, again, names, error)
        reason = f"{names} sent bytes with a wrong digest; some are requested again"
        self._on_event(Retrying(download.partial.file.path, reason, 0.0))
        with self.changed:
            download.failures += 1
            download.sealing = False
            download.gaps = gaps
            self.changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Stop all threads, and keep `error` for the caller unless there is an earlier one."""
        with self.changed:
            self.error = self.error or error
            self.stop()

    def stop(self) -> None:
        """Stop all threads: assign no new parts and interrupt the reads in progress."""
        with self.changed:
            self.stopping = True
            self.ended.set()
            for flight in self.flights():
                flight.break_off("the fetch ended")
            self.changed.notify_all()

    def close(self) -> None:
        """Close all unfinished partials; the bytes received so far stay on disk."""
        for download in self.open_partials():
            download.partial.close()

    def join(self, route: Route | None) -> None:
        """Add a route that was awaited. `route` is None if no source was found."""
        with self.changed:
            self.routes.awaited -= 1
            if route is not None:
                self.routes.append(route)
            self._fail_the_hopeless()
            self.changed.notify_all()

    def _fail_the_hopeless(self) -> None:
        for download in self._downloads:
            if self.error is None and not self.stopping and self.routes.hopeless(download.partial.file.digest):
                self.fail(self.routes.why(download.partial.file))

    def open_partials(self) -> list[Download]:
        """List the files that are being downloaded."""
        with self.changed:
            return list(self._downloads)

    def wake_the_stalled(self, now: float) -> None:
        """Interrupt connections that have received nothing for too long. The missing bytes are then requested again."""
        with self.changed:
            for event in give_up_stalled(self.flights(), self.routes, self._patience, now):
                self._on_event(event)
            if give_up_trickling(self.flights(), self.routes, now):
                self._fail_the_hopeless()

    def tune(self, route: Route, measured: Measured | None, now: float) -> None:
        """Tune a route's number of connections to its measured rate. Close slow connections if there are too many."""
        with self.changed:
            surplus = route.tune(measured, self._left)
            for flight, rest in self._moves.shed(self.flights(), route, now) if surplus else ():
                self._leave(flight, rest)
                flight.download.gaps[:0] = [rest]
                self._left += rest.stop - rest.start

    def _next(self, ready: Sequence[Route], now: float, *, has_room: bool) -> Flight | Download | None:
        """Choose a part for a route of `ready`, the routes with room for one more connection, or a file to seal."""
        moved = self._moves.rescue(self.flights(), self.routes, now)
        if moved is not None:
            return self._take_over(moved, now)
        # Fewest connections first: files that are downloaded in parallel are also hashed in parallel.
        waiting = sorted((one for one in self._downloads if one.gaps), key=lambda one: len(one.flights))
        askable = self.routes.askable(ready, now)
        # Each file is hashed on one core, so download several large files at once.
        one_more = len(waiting) < _SIDE_BY_SIDE and self._left > _SIDE_BY_SIDE * LARGEST
        if has_room and one_more and self._files.has(now, askable):
            return None
        for route in ready:
            for download in waiting:
                if self.routes.may_ask(route, download, now):
                    return self._cut(route, download, now)
        if self._sealable:
            return self._sealable.popleft()
        if not has_room or self._files.has(now, askable):
            return None
        for route in ready:
            flights = (flight for flight in self.flights() if self.routes.may_ask(route, flight.download, now))
            taken = self._moves.take_over(flights, route, now)
            if taken is not None:
                return self._take_over(taken, now)
        return None

    def _cut(self, route: Route, download: Download, now: float) -> Flight:
        if download.partial.file.digest in route.whole_only:
            # The server ignores range requests: request the whole span in one connection.
            holes, download.gaps = tuple(merge(download.gaps)), []
            self._left -= sum(stop - start for start, stop in holes)
            return self._start_flight(route, download, ByteRange(holes[0].start, holes[-1].stop), now, holes)
        part, download.gaps = carve(download.gaps_by_need, route.part_size(self._left, self.routes.connections))
        self._left -= part.stop - part.start
        return self._start_flight(route, download, part, now)

    def _start_flight(
        self, route: Route, download: Download, part: ByteRange, now: float, holes: tuple[ByteRange, ...] = ()
    ) -> Flight:
        flight = Flight(download, route, part.start, part.stop, holes, began=now)
        download.flights.add(flight)
        route.active += 1
        return flight

    def _take_over(self, moved: MovedPart, now: float) -> Flight:
        self._leave(moved.from_flight, moved.rest)
        flight = self._start_flight(moved.to_route, moved.from_flight.download, moved.rest, now)
        # Allow more time before the next rescue, or equally slow connections would pass the part on forever.
        flight.settled_s = 2 * moved.from_flight.settled_s
        return flight

    def _leave(self, flight: Flight, rest: ByteRange) -> None:
        """Forget a flight whose bytes were all given to another one, even if its thread cannot be interrupted now."""
        if rest.start == flight.at:
            flight.download.flights.discard(flight)
            flight.break_off("another connection downloads the rest")

    def begin(self, file: File) -> None:
        """Open a file's partial, or requeue the file if another process has it. Call without the lock (disk I/O)."""
        partial, busy = None, False
        try:
            partial = self._library.begin(file)
        except Busy:
            busy = True
            self._on_event(Waiting(file, self._library.progress(file)))
        finally:
            with self.changed:
                self._beginning -= 1
                if busy:
                    self._files.put_back(file, time.monotonic())
                elif partial is not None:
                    self._add(partial)
                self._all_done()

    def _add(self, partial: Partial) -> None:
        download = Download(partial, partial.gaps)
        missing = sum(stop - start for start, stop in download.gaps)
        self._left -= partial.file.size - missing
        if missing < partial.file.size:
            download.earlier = partial.ranges
        self._downloads.append(download)
        if not download.gaps:
            download.sealing = True
            self._sealable.append(download)
        elif len(download.gaps) > 1 or missing > SMALLEST:
            self.changed.notify_all()

    def _all_done(self) -> bool:
        """Return whether all work is done; if so, wake the waiting threads."""
        done = not self._files and not self._downloads and not self._beginning
        if done:
            self.ended.set()
            self.changed.notify_all()
        return done

    def _whole(self, flight: Flight) -> Download | None:
        """Return the file of a flight if the file is complete. Only one thread gets the file, and must seal it."""
        download = flight.download
        if download.gaps or download.flights or download.sealing or self.stopping or flight.start == flight.stop:
            return None
        download.sealing = True
        return download

    def _failed(self, flight: Flight, error: HubError | IntegrityError, now: float) -> None:
        event = record_error(flight, error, self.flights(), self._patience, now)
        if event is not None:
            self._on_event(event)
        if self.routes.hopeless(flight.download.partial.file.digest):
            raise flight.route.error or error

    def flights(self) -> list[Flight]:
        """List the parts in progress; call with the lock held."""
        return [flight for download in self._downloads for flight in download.flights]
