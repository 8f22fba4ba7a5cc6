"""Direct download: a small file, downloaded with one request by the thread that serves it.

A download of `transfer` has several threads and can use several sources, which costs more than a small file itself.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from preheat.core.errors import HubUnavailable, IntegrityError, LibraryError
from preheat.core.events import Listener, Noted
from preheat.core.snapshot import File
from preheat.library.library import Library
from preheat.net.interrupt import Interrupt
from preheat.transfer.part_download import SILENT_S
from preheat.transfer.route import Way

# Bytes; no byte of such a file is sent before its digest matches, so clients do not wait longer for the first one.
LARGEST = 64 << 10
_LOOK_EVERY_S, _SETTLE_EVERY_S = 0.25, 4.0
_QUIET_S = 5.0  # without a download, before the thread that watches them ends
_REST_S = 1.0  # after an upstream failed


@dataclass(slots=True, eq=False)
class _Request:
    """A request in progress; `answered`: its response has begun."""

    interrupt: Interrupt
    is_stopped: Callable[[], bool]
    answered: bool = False


class DirectDownloads:
    """Download small files into the library, each in the calling thread.

    One thread watches all of them: it interrupts those that are stopped or receive nothing, and makes the names of
    their blobs durable, every 4 s for all. Thread-safe.
    """

    def __init__(self, library: Library, on_event: Listener) -> None:
        self._library = library
        self._on_event = on_event
        self._turn = threading.Lock()  # guards all below
        self._requests: set[_Request] = set()
        self._rests: dict[str, float] = {}
        self._unsettled = False
        self._is_watched = False

    def suits(self, file: File, way: Way) -> bool:
        """Return whether a file is small enough, and its source has not just failed."""
        with self._turn:
            return file.size <= LARGEST and time.monotonic() >= self._rests.get(way.name, 0.0)

    def bring(self, file: File, way: Way, is_stopped: Callable[[], bool]) -> None:
        """Download a file with one request, verify it and store it; its name becomes durable within seconds.

        `is_stopped` is called from another thread. Raise HubError if the source fails, IntegrityError if it sends other
        bytes, Busy if another process downloads the file, and LibraryError for the disk. Nothing is retried.
        """
        data = memoryview(bytearray(file.size))
        try:
            self._read(file, way, data, is_stopped)
        except HubUnavailable as error:
            with self._turn:
                self._rests[way.name] = time.monotonic() + max(error.wait_s or 0.0, _REST_S)
            raise
        partial = self._library.begin(file)
        if partial is None:
            return
        try:
            partial.write(0, data)
            self._library.keep(partial)
        except IntegrityError:
            partial.discard()
            raise
        finally:
            partial.close()
        with self._turn:
            self._unsettled = True

    def _read(self, file: File, way: Way, data: memoryview, is_stopped: Callable[[], bool]) -> None:
        """Fill `data` with the file; raise HubUnavailable if the source ends early."""
        request = _Request(Interrupt(), is_stopped)
        try:
            self._enter(request)
            with request.interrupt.guarding():
                reader = way.hub.open(way.snapshot, file, 0, file.size)
                request.answered = True
                try:
                    at = 0
                    while at < file.size:
                        count = reader.readinto(data[at:])
                        if count == 0:
                            raise HubUnavailable(f"{way.name} ended its response early")
                        at += count
                finally:
                    reader.close()
        finally:
            with self._turn:
                self._requests.discard(request)
            request.interrupt.close()

    def _enter(self, request: _Request) -> None:
        with self._turn:
            self._requests.add(request)
            begins, self._is_watched = not self._is_watched, True
        if begins:
            try:
                threading.Thread(target=self._watch, name="direct", daemon=True).start()
            except RuntimeError as error:
                with self._turn:
                    self._is_watched = False
                raise HubUnavailable("this mirror is too busy to download another file", wait_s=5.0) from error

    def _watch(self) -> None:
        quiet_since = settled_at = time.monotonic()
        while True:
            time.sleep(_LOOK_EVERY_S)
            now = time.monotonic()
            with self._turn:
                requests, unsettled = list(self._requests), self._unsettled
                if requests or unsettled:
                    quiet_since = now
                elif now - quiet_since > _QUIET_S:
                    self._is_watched = False
                    return
            for request in requests:
                silent = request.answered and now - request.interrupt.received_at > SILENT_S
                if silent or request.is_stopped():
                    request.interrupt.set()
            if unsettled and now - settled_at >= _SETTLE_EVERY_S:
                settled_at = now
                self._settle()

    def _settle(self) -> None:
        with self._turn:
            self._unsettled = False
        try:
            self._library.settle()
        except LibraryError as error:
            self._on_event(Noted("library", f"names of files may be lost in a power cut: {error.message}"))
