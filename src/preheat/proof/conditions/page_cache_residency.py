"""Page cache residency: how much of a file is in the page cache (mincore(2))."""

import contextlib
import ctypes
import mmap
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_PLACES, _WINDOW = 64, 128  # windows of a large file, and pages per window
_LOWEST = bytes(byte & 1 for byte in range(256))  # mincore defines only the lowest bit of each byte


def cached(paths: Iterable[str | Path], *, about: bool = False) -> int:
    """Return how many bytes of these files are in the page cache, rounded up to pages.

    With `about`, large files are sampled, so the cost does not grow with their size. Unreadable and non-regular files
    count as 0. For files that this user neither owns nor may write, the kernel reports every page as cached
    (Linux 5.2 and later).
    """
    return sum(_cached(path, _PLACES if about else 0) for path in paths)


def regular_files(folders: Iterable[Path]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the regular files below `folders` with their status, unordered. Symlinks are not followed."""
    for folder in folders:
        for where, _folders, names in os.walk(folder):
            for name in names:
                path = os.path.join(where, name)  # noqa: PTH118 - tens of thousands of them
                # Opening a pipe without a writer would block.
                with contextlib.suppress(OSError):
                    status = os.lstat(path)
                    if stat.S_ISREG(status.st_mode):
                        yield path, status


def _cached(path: str | Path, places: int) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        size = os.fstat(descriptor).st_size
        # A private mapping is writable, as from_buffer requires; it is never written.
        with mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY) as mapped:
            return min(_resident_pages(mapped, -(-size // mmap.PAGESIZE), places) * mmap.PAGESIZE, size + mmap.PAGESIZE)
    except (OSError, ValueError):
        return 0  # empty, or cannot be mapped
    finally:
        os.close(descriptor)


def _resident_pages(mapped: mmap.mmap, pages: int, places: int) -> int:
    """Return the number of the file's pages that are in the page cache.

    For large files, estimate the number from `places` evenly spread windows; with 0, count all pages.
    """
    window = pages if not places or pages <= places * _WINDOW else _WINDOW
    starts = [0] if window == pages else [(pages - window) * place // (places - 1) for place in range(places)]
    answer, here = ctypes.create_string_buffer(window), 0
    # The reference into the mapping must be deleted before the mapping is closed.
    first = ctypes.c_char.from_buffer(mapped)
    try:
        address = ctypes.addressof(first)
        for start in starts:
            if _LIBC.mincore(address + start * mmap.PAGESIZE, window * mmap.PAGESIZE, answer):
                return 0
            here += answer.raw.translate(_LOWEST).count(1, 0, window)
    finally:
        del first
    return here * pages // (window * len(starts))
