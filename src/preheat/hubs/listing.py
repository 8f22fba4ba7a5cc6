"""Listing: limit a repository's file list: its pages, files, bytes and seconds."""

import time

from preheat.core.errors import HubError
from preheat.core.events import Listener, Noted
from preheat.core.ref import Ref

# A repository of 300,000 files has 300 pages with 90 MB in total.
MOST_PAGES, MOST_FILES, MOST_BYTES, MOST_S = 2_000, 500_000, 256 << 20, 1800.0
TELL_EVERY_S = 5.0


class ListingLimit:
    """Count the pages of a listing. `add` raises HubError when there are too many, or when they took too long.

    A long wait is reported to `on_event` every few seconds.
    """

    def __init__(self, ref: Ref, on_event: Listener = lambda _: None) -> None:
        self._ref = ref
        self._on_event = on_event
        self._pages = self._files = self._size = 0
        self._began = self._told_at = time.monotonic()

    def add(self, files: int, size: int) -> None:
        """Count a page with this many files and bytes."""
        self._pages, self._files, self._size = self._pages + 1, self._files + files, self._size + size
        if self._pages >= MOST_PAGES or self._files > MOST_FILES or self._size > MOST_BYTES:
            raise HubError(f"the hub lists the files of {self._ref} without end", hint="try another --endpoint")
        now = time.monotonic()
        if now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            self._on_event(Noted(str(self._ref), f"the hub has listed {self._files} files so far"))
        if now - self._began > MOST_S:
            raise HubError(
                f"the hub needs more than {MOST_S / 60:.0f} minutes to list the files of {self._ref}",
                hint="try another --endpoint",
            )
