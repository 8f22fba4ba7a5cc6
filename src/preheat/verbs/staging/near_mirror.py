"""Near mirror: a mirror as the source of a stage; once it does not answer, it is not asked again."""

from preheat.core.errors import HubUnavailable
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.hub import Hub, Reader


class NearMirror:
    """See Hub. `gone` has the mirrors that did not answer, by URL; all hubs of one stage share it."""

    def __init__(self, url: str, hub: Hub, gone: dict[str, HubUnavailable]) -> None:
        self._url = url
        self._hub = hub
        self._gone = gone

    @property
    def round_trip_s(self) -> float:
        """See Hub."""
        return self._hub.round_trip_s

    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub."""
        if self._url in self._gone:
            raise self._gone[self._url].again()
        try:
            return self._hub.resolve(ref)
        except HubUnavailable as error:
            if error.status == 0:
                self._gone[self._url] = error
            raise

    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """See Hub."""
        return self._hub.open(snapshot, file, start, stop)
