"""Route set: all sources of a fetch, and which to use next; the scheduler's lock is held."""

from collections.abc import Callable, Collection, Iterator

from preheat.core.digest import Digest
from preheat.core.errors import HubError
from preheat.core.snapshot import File
from preheat.transfer.part_download import Download
from preheat.transfer.route import Route


class Routes:
    """The ways in use, those that were left among them; `awaited` more may still join."""

    def __init__(self, first: Route) -> None:
        self._all = [first]
        self.awaited = 0

    def __iter__(self) -> Iterator[Route]:
        return iter(self._all)

    def append(self, route: Route) -> None:
        """Take one more into use."""
        self._all.append(route)

    def by_promise(self, now: float) -> list[Route]:
        """List the routes that may have one more connection, the one whose connections bring most first."""
        open_ = (route for route in self if not route.left and now >= route.rests_until)
        return sorted((route for route in open_ if route.active < route.most), key=lambda one: -one.rate)

    @property
    def connections(self) -> int:
        """How many connections those in use may have, all together."""
        return sum(route.ramp.count for route in self if not route.left)

    @property
    def all_left(self) -> bool:
        """Whether there is none to wait for any more."""
        return all(route.left for route in self)

    def able(self, digest: Digest) -> list[Route]:
        """List the routes that have a blob and were not left."""
        return [route for route in self if not route.left and digest in route.files]

    def may_ask(self, route: Route, download: Download, now: float) -> bool:
        """Whether a route can be asked for more of a file now: not while others have it who were never doubted."""
        digest = download.partial.file.digest
        if not route.usable(digest, now):
            return False
        if digest in route.whole_only and any(flight.route is route for flight in download.flights):
            return False
        return route not in download.suspects or set(self.able(digest)) <= download.suspects

    def fastest(self, download: Download, now: float) -> Route | None:
        """Choose the route whose connections bring most, among those to ask for parts of a file now."""
        digest = download.partial.file.digest
        usable = (one for one in self if one.usable(digest, now) and digest not in one.whole_only)
        return max((one for one in usable if one not in download.suspects), key=lambda one: one.rate, default=None)

    def hopeless(self, digest: Digest) -> bool:
        """Whether nobody has the blob, nor will."""
        return not self.awaited and not self.able(digest)

    def askable(self, among: Collection[Route], now: float) -> Callable[[File], bool]:
        """Give the question whether any of the routes `among` has a file; it raises if nobody at all has, nor will."""

        def is_askable(file: File) -> bool:
            if self.hopeless(file.digest):
                raise self.why(file)
            return any(route.usable(file.digest, now) for route in among)

        return is_askable

    def why(self, file: File) -> Exception:
        """Say why nobody has the file."""
        told = next((route.error for route in self if route.error is not None), None)
        reasons = "; ".join(f"{route.way.name} {route.left}" for route in self if route.left)
        return told or HubError(f"nobody has {file.path} any more: {reasons}", hint="try another --endpoint")
