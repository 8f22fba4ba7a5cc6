"""Kept hub: a library as a hub, for files that no other hub has: those that an app's start made, and members."""

from preheat.core.errors import NotFound
from preheat.core.ref import MADE, Ref
from preheat.core.snapshot import File, Snapshot
from preheat.disk.file_part import FilePart
from preheat.hubs.hub import Reader
from preheat.library.library import Library


class KeptHub:
    """See Hub. Has only versions whose files are all in the library."""

    round_trip_s = 0.0

    def __init__(self, library: Library) -> None:
        self._library = library

    def has(self, ref: Ref) -> bool:
        """Return whether the library has all files of the version."""
        snapshot = self._library.find(ref)
        return snapshot is not None and not self._library.missing(snapshot)

    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub. Raise NotFound if a file is missing."""
        snapshot = self._library.find(ref)
        if snapshot is None or self._library.missing(snapshot):
            state = "is not" if snapshot is None else "is incomplete"
            raise NotFound(
                f"{ref} {state} in {self._library.root}{_WHAT if ref.hub == MADE else ''}", hint=ref.how_to_get
            )
        return snapshot

    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """See Hub."""
        try:
            return FilePart(self._library.held_location(file.digest), start, stop)
        except OSError as error:
            raise NotFound(f"{file.path} of {snapshot.ref} is not in the library any more") from error


_WHAT = ", and no hub has it: the app's first start wrote it on the machine where it was traced"
