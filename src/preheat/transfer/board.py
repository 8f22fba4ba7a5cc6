"""Board: what is left to fetch, who is fetching it, and from where; shared by a fetch's threads."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence

from preheat.digest import Digest
from preheat.errors import Busy, HubError, HubUnavailable, IntegrityError, NoRanges
from preheat.events import Listener, Retrying, Waiting
from preheat.library.library import Library
from preheat.library.partial import Partial
from preheat.library.ranges import Range, common, merge
from preheat.retry import Patience
from preheat.snapshot import File
from preheat.transfer.blame import ask_again
from preheat.transfer.flight import STALLED_S, Download, Flight
from preheat.transfer.plan import SMALLEST, carve
from preheat.transfer.queue import Queue
from preheat.transfer.route import WORTH_ASKING, Route

LOOK_AGAIN_S = 0.25


class Board:
    """All methods may be called from any thread; those that decide hold one lock, and none of them waits for I/O."""

    def __init__(
        self, files: Sequence[File], route: Route, library: Library, patience: Patience, on_event: Listener
    ) -> None:
        self.routes = [route]
        self.awaited = 0  # routes that may still join
        self.changed = threading.Condition()
        self.ended = threading.Event()
        self.stopping = False
        self.error: BaseException | None = None
        self.starving = False
        self._library = library
        self._patience = patience
        self._on_event = on_event
        self._files = Queue(files, LOOK_AGAIN_S)
        self._downloads: list[Download] = []
        self._sealable: deque[Download] = deque()
        self._beginning = 0
        self._left = sum(file.size for file in files)

    def take(self) -> Flight | Download | None:
        """Hand out a part to carry or a file to seal; wait while only others have work; None when there is none."""
        while True:
            with self.changed:
                if self.stopping:
                    return None
                now = time.monotonic()
                work = self._next(now)
                if work is not None:
                    return work
                file = self._files.pop(now, self._askable)
                if file is None:
                    if self._all_done():
                        return None
                    self.starving = True
                    self.changed.wait(LOOK_AGAIN_S)
                    continue
                self._beginning += 1
            self._begin(file)

    def landed(self, flight: Flight, error: HubError | IntegrityError | None) -> Download | None:
        """Take a flight back, whole or broken; return its file if nothing of that is missing any more."""
        with self.changed:
            download, route = flight.download, flight.route
            download.flights.discard(flight)
            route.active -= 1
            brought = flight.at - flight.start
            if brought:
                download.brought.append((Range(flight.start, flight.at), route))
            if brought >= WORTH_ASKING or error is None:
                route.failures = 0
                route.learn(flight.rate(time.monotonic()), brought, flight.answer_s)
            if flight.at < flight.stop:
                rest = [Range(flight.at, flight.stop)]
                download.gaps[:0] = common(rest, flight.holes) if flight.holes else rest
                self.changed.notify_all()
            if error is not None:
                self._failed(flight, error)
            return self._whole(flight)

    def kept(self, download: Download) -> None:
        """Strike out a file that is in the library."""
        with self.changed:
            self._downloads.remove(download)
            for route in download.suspects:
                # The whole is right without it: so what it gave was wrong.
                route.left = route.left or f"gave wrong bytes of {download.partial.file.path}"
            self._all_done()

    def wrong(self, download: Download, error: IntegrityError) -> None:
        """Ask again for what made a wrong whole: of others, if others have it. Raise if nobody is left to ask."""
        with self.changed:
            again = ask_again(download, self._able(download.partial.file.digest))
            if not again:
                names = ", ".join(sorted({route.way.name for _, route in download.brought})) or "this disk"
                download.partial.discard()
                raise IntegrityError(f"{error.message} (from {names})", hint=error.hint) from error
            file = download.partial.file
            self._on_event(Retrying(file.path, "its digest is wrong; some of it is asked for again", 0.0))
            download.failures += 1
            download.sealing = False
            download.partial.forget(again)
            download.gaps = download.partial.gaps
            self.changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Stop everybody; the first error is the one to raise."""
        with self.changed:
            self.error = self.error or error
            self.stop()

    def stop(self) -> None:
        """Stop everybody: no new part is handed out, and no read is waited for."""
        with self.changed:
            self.stopping = True
            self.ended.set()
            for flight in self._flights():
                flight.break_off()
            self.changed.notify_all()

    def close(self) -> None:
        """Let go of what is not finished; what arrived of it stays."""
        with self.changed:
            for download in self._downloads:
                download.partial.close()

    def join(self, route: Route | None) -> None:
        """Take one more awaited way into use, or, with None, stop waiting for it."""
        with self.changed:
            self.awaited -= 1
            if route is not None:
                self.routes.append(route)
            for download in self._downloads:
                if self.error is None and not self.stopping and self._hopeless(download.partial.file.digest):
                    self.fail(self._why(download.partial.file))
            self.changed.notify_all()

    def open_partials(self) -> list[Download]:
        """List the files on their way."""
        with self.changed:
            return list(self._downloads)

    def wake_the_stalled(self, now: float) -> None:
        """Break off what has brought nothing for seconds; its thread then gives the part back."""
        with self.changed:
            for flight in self._flights():
                if flight.still_s(now) > STALLED_S:
                    flight.break_off()

    def _next(self, now: float) -> Flight | Download | None:
        for route in self._by_promise(now):
            for download in self._downloads:
                if download.gaps and self._may_ask(route, download, now):
                    return self._cut(route, download)
        if self._sealable:
            return self._sealable.popleft()
        if self._files.has(now, self._askable):
            return None
        for route in self._by_promise(now):
            stolen = self._steal(route, now)
            if stolen is not None:
                return stolen
        return None

    def _by_promise(self, now: float) -> Iterator[Route]:
        """List the routes that may have one more connection, the one whose connections bring most first."""
        open_ = [route for route in self.routes if not route.left and now >= route.rests_until]
        yield from sorted((route for route in open_ if route.active < route.ramp.count), key=lambda one: -one.rate)

    def _may_ask(self, route: Route, download: Download, now: float) -> bool:
        if not route.usable(download.partial.file.digest, now):
            return False
        whole_only = download.partial.file.digest in route.whole_only
        if whole_only and any(flight.route is route for flight in download.flights):
            return False
        return route not in download.suspects or set(self._able(download.partial.file.digest)) <= download.suspects

    def _cut(self, route: Route, download: Download) -> Flight:
        if download.partial.file.digest not in route.whole_only:
            connections = sum(one.ramp.count for one in self.routes if not one.left)
            part, download.gaps = carve(download.gaps_by_need, route.part_size(self._left, connections))
        else:
            # It sends everything from the start whatever it is asked: let it, once.
            holes, download.gaps = tuple(merge(download.gaps)), []
            self._left -= sum(stop - start for start, stop in holes)
            return self._fly(route, download, Range(holes[0].start, holes[-1].stop), holes)
        self._left -= part.stop - part.start
        return self._fly(route, download, part)

    def _fly(self, route: Route, download: Download, part: Range, holes: tuple[Range, ...] = ()) -> Flight:
        flight = Flight(download, route, part.start, part.stop, holes)
        download.flights.add(flight)
        route.active += 1
        return flight

    def _steal(self, route: Route, now: float) -> Flight | None:
        """Take over the end of the flight that would be the last to come in, if it is worth a new request."""
        flights = [flight for flight in self._flights() if flight.left and self._may_ask(route, flight.download, now)]
        slowest = max(flights, key=lambda flight: flight.left_s(now), default=None)
        if slowest is None or slowest.download.partial.file.digest in route.whole_only:
            return None
        rest = slowest.hand_over(route.rate, now)
        if rest is None:
            return None
        if rest.start == slowest.at:
            # Nothing of it is wanted any more, so nobody waits for it: it may be stuck where it cannot be woken.
            slowest.download.flights.discard(slowest)
            slowest.break_off()
        return self._fly(route, slowest.download, rest)

    def _askable(self, file: File) -> bool:
        """Whether somebody who may have one more connection has the file; raise if nobody has, nor will."""
        if self._hopeless(file.digest):
            raise self._why(file)
        now = time.monotonic()
        return any(route.usable(file.digest, now) for route in self._by_promise(now))

    def _begin(self, file: File) -> None:
        """Open a file that no other process has; this waits for the disk, so it holds no lock."""
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
        """Say whether there is nothing left to do, to those who wait for that too."""
        done = not self._files and not self._downloads and not self._beginning
        if done:
            self.ended.set()
            self.changed.notify_all()
        return done

    def _whole(self, flight: Flight) -> Download | None:
        """Return the flight's file, if nothing of it is missing and nobody else has said so before."""
        download = flight.download
        if download.gaps or download.flights or download.sealing or self.stopping or flight.start == flight.stop:
            return None
        download.sealing = True
        return download

    def _failed(self, flight: Flight, error: HubError | IntegrityError) -> None:
        route, file = flight.route, flight.download.partial.file
        match error:
            case NoRanges():
                route.whole_only.add(file.digest)
            case HubUnavailable():
                wait_s = route.stumble(error, flight.at - flight.start, time.monotonic(), self._patience)
                if wait_s is not None:
                    self._on_event(Retrying(file.path, error.message, wait_s))
            case _:
                route.files.pop(file.digest, None)
                route.error = error
        if self._hopeless(file.digest):
            raise route.error or error

    def _hopeless(self, digest: Digest) -> bool:
        """Whether nobody has the blob, nor will."""
        return not self.awaited and not self._able(digest)

    def _why(self, file: File) -> Exception:
        told = next((route.error for route in self.routes if route.error is not None), None)
        reasons = "; ".join(f"{route.way.name} {route.left}" for route in self.routes if route.left)
        return told or HubError(f"nobody has {file.path} any more: {reasons}", hint="try another --endpoint")

    def _able(self, digest: Digest) -> list[Route]:
        return [route for route in self.routes if not route.left and digest in route.files]

    def _flights(self) -> list[Flight]:
        return [flight for download in self._downloads for flight in download.flights]
