"""Route set: all sources of a fetch, and which to use next; the scheduler's lock is held."""

from collections.abc import Callable, Collection, Iterator

from preheat.core.digest import Digest
from preheat.core.errors import HubError
from preheat.core.snapshot import File
from preheat.transfer.part_download import Download
from preheat.transfer.route import Route


class Routes:
    """All routes of a fetch, including those given up. `awaited` is the number of routes that may still join."""

    def __init__(self, first: Route) -> None:
        self._all = [first]
        self.awaited = 0

    def __iter__(self) -> Iterator[Route]:
        return iter(self._all)

    def append(self, route: Route) -> None:
        """Add a route."""
        self._all.append(route)

    def by_speed(self, now: float) -> list[Route]:
        """List the routes with room for one more connection, fastest first."""
        open_ = (route for route in self if not route.left and now >= route.paused_until)
        return sorted((route for route in open_ if route.active < route.most), key=lambda one: -one.rate)

    @property
    def connections(self) -> int:
        """Total connections that the routes in use may have."""
        return sum(route.ramp.count for route in self if not route.left)

    @property
    def all_given_up(self) -> bool:
        """Whether all routes were given up."""
        return all(route.left for route in self)

    def having(self, digest: Digest) -> list[Route]:
        """List the routes in use that have a blob."""
        return [route for route in self if not route.left and digest in route.files]

    def may_ask(self, route: Route, download: Download, now: float) -> bool:
        """Whether a part of a file can be requested from a route now.

        A route that may have sent wrong bytes of the file is used only if all routes that have the file are suspects. A
        route without range requests gets one request for the file at a time.
        """
        digest = download.partial.file.digest
        if not route.usable(digest, now):
            return False
        if digest in route.whole_only and any(flight.route is route for flight in download.flights):
            return False
        return route not in download.suspects or set(self.having(digest)) <= download.suspects

    def fastest(self, download: Download, now: float) -> Route | None:
        """Return the fastest route that can serve parts of a file now; None without one. Suspects are left out."""
        digest = download.partial.file.digest
        usable = (one for one in self if one.usable(digest, now) and digest not in one.whole_only)
        return max((one for one in usable if one not in download.suspects), key=lambda one: one.rate, default=None)

    def hopeless(self, digest: Digest) -> bool:
        """Whether no route in use has the blob, and no other route may still join the fetch."""
        return not self.awaited and not self.having(digest)

    def askable(self, among: Collection[Route], now: float) -> Callable[[File], bool]:
        """Return a function that returns whether any route of `among` can serve a file now.

        The function raises the error `why(file)` if no route has the file, and no other route may still join the fetch.
        """

        def is_askable(file: File) -> bool:
            if self.hopeless(file.digest):
                raise self.why(file)
            return any(route.usable(file.digest, now) for route in among)

        return is_askable

    def why(self, file: File) -> Exception:
        """Return the error for a file that no route can serve."""
        error = next((route.error for route in self if route.error is not None), None)
        reasons = "; ".join(f"{route.way.name} {route.left}" for route in self if route.left)
        return error or HubError(f"no source has {file.path}: {reasons}", hint="try another --endpoint")
