"""Listing: a repository's list of files; the commit ID derived from it, and how much it may be over all its pages."""

import hashlib
import time
from collections.abc import Iterable

from preheat.core.errors import HubError
from preheat.core.ref import Ref
from preheat.core.snapshot import File

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


def listing_commit(files: Iterable[File]) -> str:
    """Return 40 hexadecimal digits that depend only on the files, not on their order.

    They are the SHA-1 over `DIGEST SIZE PATH` and a NUL for each file, sorted by path.
    """
    naming = hashlib.sha1(usedforsecurity=False)
    for file in sorted(files, key=lambda file: file.path):
        naming.update(f"{file.digest} {file.size} {file.path}\0".encode())
    return naming.hexdigest()
