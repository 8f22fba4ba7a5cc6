"""Listing commit: derive a commit ID from a file list, for hubs without commits."""

import hashlib
from collections.abc import Iterable

from preheat.core.snapshot import File


def listing_commit(files: Iterable[File]) -> str:
    """Return 40 hexadecimal digits that depend only on the files, not on their order.

    They are the SHA-1 over `DIGEST SIZE PATH` and a NUL for each file, sorted by path.
    """
    naming = hashlib.sha1(usedforsecurity=False)
    for file in sorted(files, key=lambda file: file.path):
        naming.update(f"{file.digest} {file.size} {file.path}\0".encode())
    return naming.hexdigest()
