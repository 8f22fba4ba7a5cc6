"""Eviction: put files out of the page cache, so that the next read is from disk."""

import os
from collections.abc import Iterable
from pathlib import Path


def evict(folders: Iterable[Path]) -> None:
    """Drop the cached pages of all regular files below `folders`, as far as the kernel will (posix_fadvise(2)).

    Pages that are dirty, mapped or of files that cannot be read stay.
    """
    for folder in folders:
        for where, _folders, names in os.walk(folder):
            for name in names:
                _drop(os.path.join(where, name))  # noqa: PTH118 - tens of thousands of them


def _drop(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        pass  # a pipe or a socket has no pages
    finally:
        os.close(descriptor)
