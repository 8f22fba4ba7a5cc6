"""Reassign: move parts from slow or surplus connections to fast ones; the scheduler's lock is held."""

from collections.abc import Iterable
from typing import NamedTuple

from preheat.library.blobs.ranges import ByteRange
from preheat.transfer.part_download import Flight
from preheat.transfer.planning.concurrency import HELD_BACK
from preheat.transfer.route import Route
from preheat.transfer.route_set import Routes

_SLOW = 2.0  # only flights this many times slower than usual on their route are shed


class Handed(NamedTuple):
    """A range that moved from the flight `giver` to the route `taker`."""

    giver: Flight
    rest: ByteRange
    taker: Route


def take_over(flights: Iterable[Flight], taker: Route, now: float, allowance: int) -> Handed | None:
    """Move the end of the flight that would finish last to `taker`, if that is worth a new request; else None.

    At most `allowance` bytes may be wasted by that.
    """
    slowest = max(
        (one for one in flights if one.left and not one.holes), key=lambda flight: flight.left_s(now), default=None
    )
    if slowest is None or slowest.download.partial.file.digest in taker.whole_only:
        return None
    rest = slowest.hand_over(taker.rate, now, allowance)
    return None if rest is None else Handed(slowest, rest, taker)


def rescue(flights: Iterable[Flight], routes: Routes, now: float, allowance: int) -> Handed | None:
    """Move the rest of a flight that is far slower than usual to a new connection; None if there is no such flight.

    The new connection replaces the old one, so the maximum number of connections does not matter.
    """
    if not any(_may_lag(route) for route in routes):
        return None
    for flight in flights:
        taker = routes.fastest(flight.download, now) if not flight.holes else None
        if taker is None or flight.on_the_way(now, flight.at) > allowance:
            continue
        if _may_lag(taker) and flight.lags(taker.rate, now):
            rest = flight.give_up(flight.at)
            if rest.start < rest.stop:
                return Handed(flight, rest, taker)
    return None


def _may_lag(route: Route) -> bool:
    """Whether replacing slow connections of a route can help.

    It cannot on a near route, where TCP recovers within milliseconds, nor on one where each connection is throttled.
    """
    return route.far and route.rate >= HELD_BACK


def shed(flights: Iterable[Flight], route: Route, now: float, allowance: int) -> list[tuple[Flight, ByteRange]]:
    """Take the remaining range from a route's slowest flights, as many as exceed its count; return flights and ranges.

    Only slow flights are closed, since closing wastes the bytes in flight: at most `allowance` bytes in total.
    """
    if not _may_lag(route):
        return []
    own = sorted((one for one in flights if one.route is route and not one.holes), key=lambda one: one.rate(now))
    slow = [
        one
        for one in own[: max(route.active - route.ramp.count, 0)]
        if one.rate(now) * _SLOW < route.rate and not one.prompt
    ]
    given = []
    for one in slow:
        allowance -= one.on_the_way(now, one.at)
        if allowance < 0:
            break
        given.append((one, one.give_up(one.at)))
    return [(flight, rest) for flight, rest in given if rest.start < rest.stop]
