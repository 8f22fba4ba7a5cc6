"""Listing limit: how much one repository's list of files may be, over all its pages."""

import time

from preheat.core.errors import HubError
from preheat.core.ref import Ref

# A repository of 300,000 files has 300 pages with 90 MB in total.
MOST_PAGES, MOST_FILES, MOST_BYTES, MOST_S = 2_000, 500_000, 256 << 20, 1800.0


class ListingLimit:
    """Count the pages of a listing. `add` raises HubError when there are too many, or when they took too long."""

    def __init__(self, ref: Ref) -> None:
        self._ref = ref
        self._pages = self._files = self._size = 0
        self._began = time.monotonic()

    def add(self, files: int, size: int) -> None:
        """Count a page with this many files and bytes."""
        self._pages, self._files, self._size = self._pages + 1, self._files + files, self._size + size
        if self._pages >= MOST_PAGES or self._files > MOST_FILES or self._size > MOST_BYTES:
            raise HubError(f"the hub lists the files of {self._ref} without end", hint="try another --endpoint")
        if time.monotonic() - self._began > MOST_S:
            raise HubError(
                f"the hub needs more than {MOST_S / 60:.0f} minutes to list the files of {self._ref}",
                hint="try another --endpoint",
            )
