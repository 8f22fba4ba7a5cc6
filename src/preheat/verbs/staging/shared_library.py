"""Shared library: a library on another filesystem, such as NFS, as a hub whose files are copied."""

import functools
from pathlib import Path

from preheat.core.errors import HubError, LibraryError, NotFound
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.disk.file_part import FilePart
from preheat.disk.regular_file import why
from preheat.hubs.hub import Reader
from preheat.library.library import Library


class SharedLibrary:
    """See Hub. The library is opened when it is first asked, and nothing is written to it."""

    round_trip_s = 0.0

    def __init__(self, root: Path) -> None:
        self._root = root

    @functools.cached_property
    def _library(self) -> Library:
        if not self._root.is_dir():
            raise HubError(f"the library {self._root} does not exist", hint="check that its filesystem is mounted")
        try:
            return Library(self._root)
        except LibraryError as error:
            raise HubError(error.message, hint=error.hint) from error

    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub. The snapshot may have files that are not in the library."""
        try:
            snapshot = self._library.find(ref)
        except LibraryError as error:
            raise HubError(error.message, hint=error.hint) from error
        if snapshot is None:
            raise NotFound(f"{ref} is not in {self._root}", hint=f"{ref.how_to_get} --library {self._root}")
        return snapshot

    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """See Hub."""
        try:
            return _SharedPart(self._library.location(file.digest), start, stop)
        except FileNotFoundError as error:
            raise NotFound(f"{file.path} of {snapshot.ref} is not in {self._root}") from error
        except OSError as error:
            raise _unreadable(error, file) from error


class _SharedPart(FilePart):
    """A range of a file whose disk is a server's, which may fail in the middle."""

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override] # as in FilePart
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise HubError(f"{self.name} cannot be read: {why(error)}") from error


def _unreadable(error: OSError, file: File) -> HubError:
    return HubError(f"{file.path} cannot be read: {why(error)}", hint="check the shared filesystem")
