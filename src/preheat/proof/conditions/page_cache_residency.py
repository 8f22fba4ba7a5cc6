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
_PLACES, _WINDOW = 64, 128  # windows of a large file, and their pages
_LOWEST = bytes(byte & 1 for byte in range(256))  # only the lowest bit of each answer has a meaning


def cached(paths: Iterable[str | Path], *, about: bool = False) -> int:
    """Count the bytes of these files that are in the page cache, rounded up to pages.

    With `about`, large files are looked at in some places only, so that it costs the same however large they are. What
    cannot be read, and what is no regular file, counts as nothing. Of files that are neither ours nor writable by us
    the kernel says that all is here (Linux 5.2 on).
    """
    return sum(_cached(path, _PLACES if about else 0) for path in paths)


def regular_files(folders: Iterable[Path]) -> Iterator[str]:
    """List the regular files below `folders`, in no order; links are not followed."""
    for folder in folders:
        for where, _folders, names in os.walk(folder):
            for name in names:
                path = os.path.join(where, name)  # noqa: PTH118 - tens of thousands of them
                # Whoever opens a pipe that nobody writes to waits for ever.
                with contextlib.suppress(OSError):
                    if stat.S_ISREG(os.lstat(path).st_mode):
                        yield path


def _cached(path: str | Path, places: int) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        size = os.fstat(descriptor).st_size
        # A private mapping, which may be written and so be pointed at, and is never touched.
        with mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY) as mapped:
            return min(_resident_pages(mapped, -(-size // mmap.PAGESIZE), places) * mmap.PAGESIZE, size + mmap.PAGESIZE)
    except (OSError, ValueError):
        return 0  # empty, or nothing that can be mapped
    finally:
        os.close(descriptor)


def _resident_pages(mapped: mmap.mmap, pages: int, places: int) -> int:
    """Count them; of more than `places` windows hold, look into so many windows, evenly spread (0: at all)."""
    window = pages if not places or pages <= places * _WINDOW else _WINDOW
    starts = [0] if window == pages else [(pages - window) * place // (places - 1) for place in range(places)]
    answer, here = ctypes.create_string_buffer(window), 0
    # The reference into the mapping must be gone before it is closed.
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
