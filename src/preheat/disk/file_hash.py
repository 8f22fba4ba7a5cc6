"""File hash: hash a file from the page cache, without copying its bytes to user space."""

import ctypes
import mmap
import os
from collections.abc import Callable, Iterable

from preheat.core.digest import Hasher

_WINDOW = 4 << 20
_COPIED = 256 << 10  # stays in a core's cache, and is little where hundreds of threads do so
_WORTH_MAPPING = 256 << 10
_POPULATE_READ = 22  # linux/mman.h, since 5.14: map what is there, read what is not, and say if that fails
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_int64)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def always() -> bool:
    """Say that nobody else writes to a file: it is ours, and has no other name."""
    return True


def feed(
    descriptor: int, start: int, stop: int, hashers: Iterable[Hasher], is_alone: Callable[[], bool] = always
) -> int:
    """Give bytes `start` up to `stop` to all `hashers`; return where it ended, before `stop` if the file does.

    What is mapped must not become shorter meanwhile, or a signal ends this process: where `is_alone` says that somebody
    may be writing to the file, it is copied. Raise OSError if it cannot be read. Other threads run meanwhile.
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


def _mapped(descriptor: int, start: int, stop: int, hashers: tuple[Hasher, ...]) -> int:
    """Feed a window that is mapped; return its size, 0 where that cannot be.

    Memory is only touched that the kernel has said it could read, so that a disk's error is no signal that ends us.
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
    """Feed what is read; return how much there was."""
    buffer = memoryview(bytearray(min(_COPIED, stop - start)))
    at = start
    while at < stop and (count := os.preadv(descriptor, [buffer[: stop - at]], at)):
        for one in hashers:
            one.update(buffer[:count])
        at += count
    return at - start
