"""Reassign: move parts from slow or surplus connections to fast ones; the scheduler's lock is held."""

from collections.abc import Iterable
from typing import NamedTuple

from preheat.library.blobs.ranges import ByteRange
from preheat.transfer.part_download import Flight
from preheat.transfer.planning.concurrency import HELD_BACK
from preheat.transfer.route import Route
from preheat.transfer.route_set import Routes

_SLOW = 2.0  # times slower than its route's others usually are, before a flight is shed


class Handed(NamedTuple):
    """What `giver` does not bring any more, and who is to bring it."""

    giver: Flight
    rest: ByteRange
    taker: Route


def take_over(flights: Iterable[Flight], taker: Route, now: float, allowance: int) -> Handed | None:
    """Take the end of the flight that would be the last to come in, if it is worth a new request.

    `allowance` is how many bytes may be sent in vain for that.
    """
    slowest = max(
        (one for one in flights if one.left and not one.holes), key=lambda flight: flight.left_s(now), default=None
    )
    if slowest is None or slowest.download.partial.file.digest in taker.whole_only:
        return None
    rest = slowest.hand_over(taker.rate, now, allowance)
    return None if rest is None else Handed(slowest, rest, taker)


def rescue(flights: Iterable[Flight], routes: Routes, now: float, allowance: int) -> Handed | None:
    """Take all that is left of a flight that lags far behind what a connection usually brings.

    It takes the other's place, so that it counts for nothing how many there may be.
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
    """Whether some of a route's connections may lag for TCP's reasons: near, it is soon back by itself.

    Where each is held back, a new one brings no more, and the line may be what all of them share.
    """
    return route.far and route.rate >= HELD_BACK


def shed(flights: Iterable[Flight], route: Route, now: float, allowance: int) -> list[tuple[Flight, ByteRange]]:
    """Take everything from a route's slowest flights, as many as it has too many; say what each leaves.

    Only from those that are slow, for what is broken off was partly sent for nothing: at most `allowance` bytes of all.
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
