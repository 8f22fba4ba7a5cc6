"""Setbacks: stalled downloads and broken connections; the scheduler's lock is held."""

from collections.abc import Iterable, Iterator, Sequence

from preheat.core.errors import HubError, HubUnavailable, IntegrityError, NoRanges
from preheat.core.events import Away, Retrying
from preheat.library.blobs.ranges import ByteRange
from preheat.net.retry import TOLD, RetryPolicy
from preheat.transfer.part_download import LEAST_PATIENCE_S, Download, Flight
from preheat.transfer.route import Route
from preheat.transfer.route_set import Routes

_SILENT_S = 5.0


def give_up_stalled(flights: Iterable[Flight], routes: Routes, patience: RetryPolicy, now: float) -> Iterator[Retrying]:
    """Interrupt the downloads of parts that have received nothing for too long; yield an event for each.

    If another route that has the same file has received bytes in the meantime, the stalled route is also paused.
    """
    for flight in flights:
        if flight.given_up or flight.still_s(now) < LEAST_PATIENCE_S:
            continue
        file, route = flight.download.partial.file, flight.route
        elsewhere = any(one is not route and one.received_at > flight.began for one in routes.having(file.digest))
        why = flight.stalled(now, elsewhere=elsewhere)
        if not why:
            continue
        flight.break_off(why)
        if elsewhere:
            route.connection_broke(HubUnavailable(f"{route.way.name} {why}"), 0, now, patience)
        yield Retrying(
            file.path, f"{route.way.name} {why}; preheat closed the connection to request the rest again", 0.0
        )


def give_up_trickling(flights: Sequence[Flight], routes: Routes, now: float) -> bool:
    """Give up each route whose connections together receive next to nothing; return whether any was given up."""
    dripping = []
    for route in routes:
        responding = [one for one in flights if one.route is route and one.answer_s]
        received_at = max((now - one.still_s(now) for one in responding), default=0.0)
        if not route.left and (why := route.trickles(received_at, now)):
            dripping.append((route, why))
    for route, why in dripping:
        message = f"{route.way.name} {why}"
        route.left = message
        route.error = HubUnavailable(message, hint="try another --endpoint, or pull again later to resume")
        for flight in flights:
            if flight.route is route:
                flight.break_off(why)
    return bool(dripping)


def absence(routes: Routes, flights: Sequence[Flight], patience: RetryPolicy, now: float) -> Away | None:
    """Return an Away event if all routes have failed or gone silent; else None."""
    asked = [route for route in routes if not route.left]
    reasons = [_absent(route, [one for one in flights if one.route is route], now) for route in asked]
    if not asked or not all(reasons):
        return None
    last, reason = max(zip(asked, reasons, strict=True), key=lambda pair: pair[0].left_s(patience, now))
    left_s = max(last.left_s(patience, now), 0.0)
    return Away(last.way.name, reason, min(max(last.paused_until - now, 0.0), left_s), left_s)


def _absent(route: Route, flights: Sequence[Flight], now: float) -> str:
    """Return in words why a route counts as unreachable; empty if the route does not."""
    if route.error is not None and (route.is_unreachable or (now < route.paused_until and not flights)):
        return route.error.message
    silent_s = min((flight.still_s(now) for flight in flights), default=0.0)
    if not route.received_at or silent_s <= _SILENT_S:
        return ""
    return f"{route.way.name} has sent nothing for {silent_s:.0f} s"


def forget_wrong(download: Download, again: list[ByteRange], names: str, error: IntegrityError) -> list[ByteRange]:
    """Mark the ranges `again` of a file as missing, and return all missing ranges of the file.

    If `again` is empty, discard the file and raise IntegrityError. The message of the error contains `names`, the names
    of the sources. Call this function without the scheduler's lock, since it writes to disk.
    """
    if not again:
        download.partial.discard()
        raise IntegrityError(f"{error.message} (from {names})", hint=error.hint) from error
    download.partial.forget(again)
    return download.partial.gaps


def record_error(
    flight: Flight, error: HubError | IntegrityError, flights: Iterable[Flight], patience: RetryPolicy, now: float
) -> Retrying | None:
    """Update a route after `error` ended the download of one part, `flight`. Return an event to emit, or None.

    NoRanges: the route must send the whole file. HubUnavailable: the route pauses, or is given up. Any other error: the
    route is no longer used for the file. `flights` are all parts in progress.
    """
    route, file = flight.route, flight.download.partial.file
    match error:
        case NoRanges():
            route.whole_only.add(file.digest)
        case HubUnavailable():
            serving = sum(one.route is route and one.at > one.start and not one.given_up for one in flights)
            wait_s = route.connection_broke(error, flight.at - flight.start, now, patience, serving)
            if wait_s is not None and not route.left and (route.failures <= TOLD or not route.is_unreachable):
                return Retrying(file.path, error.message, wait_s)
        case _:
            route.files.pop(file.digest, None)
            route.error = error
    return None
