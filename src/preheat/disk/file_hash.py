"""File hash: hash a file from the page cache, without copying its bytes to user space."""

import ctypes
import errno
import fcntl
import mmap
import os
from collections.abc import Callable, Iterable

from preheat.core.digest import Hasher
from preheat.disk.huge_buffer import make_buffer

_WINDOW = 4 << 20
_COPIED = 256 << 10  # fits into a core's cache, and is small enough for hundreds of threads at once
_WORTH_MAPPING = 256 << 10
_REPORT_EVERY = 16 << 20
_DIRECT = 4 << 20  # huge pages; a disk's seek is short beside it
_POPULATE_READ = 22  # MADV_POPULATE_READ in linux/mman.h, since 5.14: read and map all pages, or fail with an errno
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_int64)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def always() -> bool:
    """Return True. This is the default for `is_alone`: no other process can write to the file."""
    return True


def feed(
    descriptor: int, start: int, stop: int, hashers: Iterable[Hasher], is_alone: Callable[[], bool] = always
) -> int:
    """Update all `hashers` with bytes `start` to `stop` of a file; return the end offset, less than `stop` at EOF.

    Maps the file if `is_alone` returns True, else reads it into a buffer: if another process truncates a mapped file,
    SIGBUS kills this process. Releases the GIL. Raises OSError on read errors.
    """
    hashers = tuple(hashers)
    at = start
    while at < stop:
        end = min((at // _WINDOW + 1) * _WINDOW, stop)
        fed = _mapped(descriptor, at, end, hashers) if end - at >= _WORTH_MAPPING and is_alone() else 0
        fed = fed or _copied(descriptor, at, end, hashers)
        at += fed
        if not fed:
            break
    return at


def feed_all(
    descriptor: int,
    hashers: Iterable[Hasher],
    on_read: Callable[[int], None],
    is_alone: Callable[[], bool] = always,
) -> int:
    """Update `hashers` with a whole file, as `feed` does; return its size.

    Calls `on_read` with the number of bytes of each step.
    """
    hashers, at = tuple(hashers), 0
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    while True:
        start, at = at, feed(descriptor, at, at + _REPORT_EVERY, hashers, is_alone)
        on_read(at - start)
        if at - start < _REPORT_EVERY:
            return at


def feed_directly(
    descriptor: int,
    hashers: Iterable[Hasher],
    on_read: Callable[[int], None],
    is_alone: Callable[[], bool] = always,
) -> int:
    """Update `hashers` with a whole file, as `feed_all` does, but past the page cache, if the filesystem supports that.

    For many large files that are not read again soon: in the page cache, they would evict others, and filling its pages
    takes longer than hashing, most of all for holes.
    """
    hashers, at = tuple(hashers), 0
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    buffer = make_buffer(_DIRECT)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        while (count := os.preadv(descriptor, [buffer], at)) == _DIRECT:
            is_alone()
            for one in hashers:
                one.update(buffer)
            at += count
            on_read(count)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    while start_at := at:  # the end of a file need not be a whole block
        at = feed(descriptor, start_at, start_at + _REPORT_EVERY, hashers, is_alone)
        on_read(at - start_at)
        if at - start_at < _REPORT_EVERY:
            return at
    return feed_all(descriptor, hashers, on_read, is_alone)


def _mapped(descriptor: int, start: int, stop: int, hashers: tuple[Hasher, ...]) -> int:
    """Hash a window through mmap; return its size, or 0 if it cannot be mapped and read.

    MADV_POPULATE_READ reads the pages first: a disk error is then an errno instead of a fatal SIGBUS.
    """
    first = start // mmap.PAGESIZE * mmap.PAGESIZE
    length = stop - first
    if os.fstat(descriptor).st_size < stop:
        return 0
    address = _libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, first)
    if address == _FAILED:
        return 0
    try:
        if _libc.madvise(address, length, _POPULATE_READ):
            return 0
        window = memoryview((ctypes.c_char * length).from_address(address)).cast("B")[start - first :]
        for one in hashers:
            one.update(window)
        return stop - start
    finally:
        _libc.munmap(address, length)


def _copied(descriptor: int, start: int, stop: int, hashers: tuple[Hasher, ...]) -> int:
    """Hash a window through read(2); return the number of bytes read."""
    buffer = memoryview(bytearray(min(_COPIED, stop - start)))
    at = start
    while at < stop and (count := os.preadv(descriptor, [buffer[: stop - at]], at)):
        for one in hashers:
            one.update(buffer[:count])
        at += count
    return at - start
