"""Board: what is left to fetch, who is fetching it, and from where; shared by a fetch's threads."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence

from preheat.digest import Digest
from preheat.errors import Busy, HubError, HubUnavailable, IntegrityError, NoRanges
from preheat.events import Listener, Retrying, Waiting
from preheat.library.library import Library
from preheat.library.ranges import Range, common, merge
from preheat.retry import Patience
from preheat.snapshot import File
from preheat.transfer.flight import Download, Flight
from preheat.transfer.plan import SMALLEST, carve, part_size, split
from preheat.transfer.route import Route

LOOK_AGAIN_S = 0.1
_STALLED_S = 4.0
_WORTH_STEALING_S = 3.0
_WORTH_ASKING = 64 << 10  # who brings less before it breaks has failed


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
        self._files = deque(files)
        self._downloads: list[Download] = []
        self._left = sum(file.size for file in files)
        self._looked: dict[File, float] = {}

    # ---- what a working thread asks

    def take(self) -> Flight | Download | None:
        """Hand out a part to carry or a file to seal; wait while only others have work; None when there is none."""
        with self.changed:
            while not self.stopping:
                work = self._next(time.monotonic())
                if work is not None:
                    return work
                if not self._files and not self._downloads:
                    self.ended.set()
                    return None
                self.starving = True
                self.changed.wait(LOOK_AGAIN_S)
            return None

    def landed(self, flight: Flight, error: HubError | IntegrityError | None) -> Download | None:
        """Take a flight back, whole or broken; return its file if nothing of that is missing any more."""
        with self.changed:
            download, route = flight.download, flight.route
            download.flights.discard(flight)
            route.active -= 1
            brought = flight.at - flight.start
            if brought:
                download.brought.append((Range(flight.start, flight.at), route))
            if brought >= _WORTH_ASKING or error is None:
                route.failures = 0
                route.learn(flight.rate(time.monotonic()), brought)
            if flight.at < flight.stop:
                rest = [Range(flight.at, flight.stop)]
                download.gaps[:0] = common(rest, flight.holes) if flight.holes else rest
            if error is not None:
                self._failed(flight, error)
            self.changed.notify_all()
            return self._whole(flight)

    def kept(self, download: Download) -> None:
        """Strike out a file that is in the library."""
        with self.changed:
            self._downloads.remove(download)
            for route in download.suspects:
                # The whole is right without it: so what it gave was wrong.
                route.left = route.left or f"gave wrong bytes of {download.partial.file.path}"
            if not self._files and not self._downloads:
                self.ended.set()
            self.changed.notify_all()

    def wrong(self, download: Download, error: IntegrityError) -> None:
        """Ask again for what made a wrong whole: of others, if others have it. Raise if nobody is left to ask."""
        with self.changed:
            again = self._suspect(download)
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
                    self.fail(next(route.error for route in self.routes if route.error is not None))
            self.changed.notify_all()

    # ---- what the watching thread asks

    def open_partials(self) -> list[Download]:
        """List the files on their way."""
        with self.changed:
            return list(self._downloads)

    def wake_the_stalled(self, now: float) -> None:
        """Break off what has brought nothing for seconds; its thread then gives the part back."""
        with self.changed:
            for flight in self._flights():
                if flight.still_s(now) > _STALLED_S:
                    flight.break_off()

    # ---- deciding, under the lock

    def _next(self, now: float) -> Flight | Download | None:
        for route in self._by_promise(now):
            for download in self._downloads:
                if download.gaps and self._may_ask(route, download, now):
                    return self._cut(route, download)
        begun = self._begin_a_file(now)
        if begun is not None and begun.gaps:
            return self._next(now)
        if begun is not None:
            begun.sealing = True
            return begun
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
        return route not in download.suspects or self._only_suspects(download)

    def _only_suspects(self, download: Download) -> bool:
        digest = download.partial.file.digest
        return not [r for r in self.routes if not r.left and digest in r.files and r not in download.suspects]

    def _cut(self, route: Route, download: Download) -> Flight:
        if download.partial.file.digest not in route.whole_only:
            part, download.gaps = carve(download.gaps, part_size(route.rate, self._left, self._connections()))
        else:
            # It sends everything from the start whatever it is asked: let it, once.
            holes, download.gaps = tuple(download.gaps), []
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
        flights = [flight for flight in self._flights() if self._may_ask(route, flight.download, now)]
        slowest = max(flights, key=lambda flight: flight.left_s(now), default=None)
        if slowest is None or not slowest.left or slowest.download.partial.file.digest in route.whole_only:
            return None
        rate = slowest.rate(now)
        if slowest.still_s(now) > _STALLED_S / 2:
            cut = slowest.at
        elif slowest.left_s(now) > _WORTH_STEALING_S:
            # What is broken off was sent for nothing, so it must gain seconds.
            cut = split(slowest.at, slowest.stop, rate, route.rate or rate)
            cut = slowest.at if cut - slowest.at < SMALLEST else cut
        else:
            return None
        rest = slowest.give_up(cut)
        if rest.start == rest.stop:
            return None
        if rest.start == slowest.at:
            # Nothing of it is wanted any more, so nobody waits for it: it may be stuck where it cannot be woken.
            slowest.download.flights.discard(slowest)
            slowest.break_off()
        return self._fly(route, slowest.download, rest)

    def _begin_a_file(self, now: float) -> Download | None:
        """Open the next file that no other process is fetching."""
        for _ in range(len(self._files)):
            file = self._files.popleft()
            if now - self._looked.get(file, 0.0) < LOOK_AGAIN_S:
                self._files.append(file)
                continue
            try:
                partial = self._library.begin(file)
            except Busy:
                self._looked[file] = now
                self._files.append(file)
                self._on_event(Waiting(file, self._library.progress(file)))
                continue
            if partial is None:
                continue
            gaps = partial.gaps
            here = file.size - sum(stop - start for start, stop in gaps)
            self._left -= here
            download = Download(partial, gaps)
            download.earlier = partial.ranges if here else []
            self._downloads.append(download)
            return download
        return None

    def _whole(self, flight: Flight) -> Download | None:
        """Return the flight's file, if nothing of it is missing and nobody else has said so before."""
        download = flight.download
        if download.gaps or download.flights or download.sealing or self.stopping or flight.start == flight.stop:
            return None
        download.sealing = True
        return download

    def _failed(self, flight: Flight, error: HubError | IntegrityError) -> None:
        route, now = flight.route, time.monotonic()
        digest = flight.download.partial.file.digest
        match error:
            case NoRanges():
                route.whole_only.add(digest)
            case HubUnavailable():
                if error.wait_s is not None:
                    route.ramp = route.ramp.halved()
                if flight.at - flight.start >= _WORTH_ASKING:
                    self._on_event(Retrying(flight.download.partial.file.path, error.message, 0.0))
                elif now >= route.rests_until:
                    # A hub that is down fails all its connections at once: that is one failure, not many.
                    route.failures += 1
                    route.error = error
                    wait_s = self._patience.wait_s(route.failures, error.wait_s, 0.5)
                    route.rests_until = now + wait_s
                    self._on_event(Retrying(flight.download.partial.file.path, error.message, wait_s))
                if route.failures >= self._patience.attempts:
                    route.left = error.message
            case _:
                route.files.pop(digest, None)
                route.error = error
        if self._hopeless(digest):
            raise route.error or error

    def _hopeless(self, digest: Digest) -> bool:
        """Whether nobody has the blob, nor will."""
        return not self.awaited and not any(not route.left and digest in route.files for route in self.routes)

    def _suspect(self, download: Download) -> list[Range]:
        """Choose what to ask again: bytes from before this process, else the bytes of one route at a time."""
        if download.earlier:
            again, download.earlier = download.earlier, []
            return again
        digest = download.partial.file.digest
        able = [route for route in self.routes if not route.left and digest in route.files]
        suppliers = {route for _, route in download.brought} - download.suspects
        suspect = max(suppliers, key=download.brought_by, default=None)
        if suspect is not None and any(one is not suspect and one not in download.suspects for one in able):
            download.suspects.add(suspect)
            again = merge(part for part, route in download.brought if route is suspect)
            download.brought = [(part, route) for part, route in download.brought if route is not suspect]
            return again
        if able and download.failures == 0:
            download.brought = []
            return [Range(0, download.partial.file.size)]
        return []

    def _flights(self) -> list[Flight]:
        return [flight for download in self._downloads for flight in download.flights]

    def _connections(self) -> int:
        return sum(route.ramp.count for route in self.routes if not route.left)
