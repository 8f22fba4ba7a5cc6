"""Listing commit: a commit ID made from a file list, for hubs that have none."""

import hashlib
from collections.abc import Iterable

from preheat.core.snapshot import File


def listing_commit(files: Iterable[File]) -> str:
    """Make 40 hexadecimal digits of the files, whatever their order: the same files make the same ones.

    SHA-1 over `DIGEST SIZE PATH` and a NUL for each file, in the order of their paths.
    """
    naming = hashlib.sha1(usedforsecurity=False)
    for file in sorted(files, key=lambda file: file.path):
        naming.update(f"{file.digest} {file.size} {file.path}\0".encode())
    return naming.hexdigest()
