"""Reassign: move parts from slow or surplus connections to fast ones; the scheduler's lock is held."""

from collections.abc import Iterable
from typing import NamedTuple

from preheat.library.blobs.ranges import ByteRange
from preheat.transfer.part_download import Flight
from preheat.transfer.planning.concurrency import HELD_BACK
from preheat.transfer.route import Route
from preheat.transfer.route_set import Routes

_RESCUES_EVERY_S = 0.05
_SLOW = 2.0  # only flights this many times slower than usual on their route are shed


class MovedPart(NamedTuple):
    """A range that moved from the flight `from_flight` to the route `to_route`."""

    from_flight: Flight
    rest: ByteRange
    to_route: Route


class Moves:
    """Choose parts to move between working connections.

    A move wastes the bytes that are already on the way to the old connection. All moves together may waste `allowance`.
    """

    def __init__(self, allowance: int) -> None:
        self.allowance = allowance
        self._rescues_at = 0.0

    def take_over(self, flights: Iterable[Flight], to_route: Route, now: float) -> MovedPart | None:
        """Move the end of the part that would be finished last to the route `to_route`.

        Return None, and move nothing, if that is not worth a new request.
        """
        slowest = max(
            (one for one in flights if one.left and not one.holes), key=lambda flight: flight.left_s(now), default=None
        )
        if slowest is None or slowest.download.partial.file.digest in to_route.whole_only:
            return None
        rest = slowest.hand_over(to_route.rate, now, self.allowance)
        return None if rest is None else self._count_waste(MovedPart(slowest, rest, to_route), now)

    def rescue(self, flights: Iterable[Flight], routes: Routes, now: float) -> MovedPart | None:
        """Move the rest of one part whose download is far slower than usual to a new connection.

        Return None if no download is that slow. The new connection replaces the old one, so the maximum number of
        connections does not matter. Only one part is moved each 50 ms: if all connections share one bottleneck, new
        connections are no faster.
        """
        if now < self._rescues_at or not any(_may_lag(route) for route in routes):
            return None
        self._rescues_at = now + _RESCUES_EVERY_S
        for flight in flights:
            to_route = routes.fastest(flight.download, now) if not flight.holes else None
            if to_route is None or flight.on_the_way(now, flight.at) > self.allowance:
                continue
            if _may_lag(to_route) and flight.lags(to_route.rate, now):
                rest = flight.give_up(flight.at)
                if rest.start < rest.stop:
                    return self._count_waste(MovedPart(flight, rest, to_route), now)
        return None

    def shed(self, flights: Iterable[Flight], route: Route, now: float) -> list[tuple[Flight, ByteRange]]:
        """Stop the slowest downloads of a route that has too many connections.

        Return each flight that was stopped, with the range that it had not received. Downloads that are new or not slow
        continue, since closing a connection wastes the bytes that are already on the way.
        """
        if not _may_lag(route):
            return []
        own = sorted((one for one in flights if one.route is route and not one.holes), key=lambda one: one.rate(now))
        slow = [
            one
            for one in own[: max(route.active - route.ramp.count, 0)]
            if not one.is_new(now) and one.rate(now) * _SLOW < route.rate and not one.prompt
        ]
        given = []
        for one in slow:
            in_vain = one.on_the_way(now, one.at)
            if in_vain > self.allowance:
                break
            self.allowance -= in_vain
            given.append((one, one.give_up(one.at)))
        return [(flight, rest) for flight, rest in given if rest.start < rest.stop]

    def _count_waste(self, moved: MovedPart, now: float) -> MovedPart:
        from_flight = moved.from_flight
        # The flight's own range is shortened already: pass the end of its request.
        self.allowance -= from_flight.on_the_way(now, moved.rest.start, moved.rest.stop)
        return moved


def _may_lag(route: Route) -> bool:
    """Whether replacing slow connections of a route can help.

    It does not help if the hub is near, since TCP then recovers within milliseconds, or if the rate of each connection
    is limited.
    """
    return route.far and route.rate >= HELD_BACK
