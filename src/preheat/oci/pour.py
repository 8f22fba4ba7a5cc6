"""Pour: put an image's content into a file in one pass, with the hash taken beside the write."""

import hashlib
import os
import queue
import threading
from collections.abc import Callable

from preheat.oci.clone import clone
from preheat.oci.content import CHUNK, Content, Span, opened, shorter
from preheat.oci.tar import PAGE

Told = Callable[[int], None]
_BUFFERS = 6
_FLUSH = 32 << 20


def pour(content: Content, out: int, at: int, told: Told) -> tuple[str, int]:
    """Write `content` at byte `at` of the open file `out`, its end so far; tell bytes as they are done.

    Return the SHA-256 in hexadecimal digits of what was written, and how many bytes were shared and not written. Where
    the digest can be trusted and extents can be shared, nothing is read. Raise OSError when it cannot be written,
    ImageError when it cannot be read.
    """
    sharing = _sharing(content, out, at)
    if sharing and content.trusted and content.digest is not None:
        shared = _pour(content, out, at, told, None)
        return content.digest.hex, shared
    with _Hashing() as hashing:
        shared = _pour(content, out, at, told, hashing, sharing=sharing)
    return hashing.hexdigest(), shared


def _pour(content: Content, out: int, at: int, told: Told, hashing: "_Hashing | None", *, sharing: bool = True) -> int:
    shared, flushed = 0, at
    buffers = hashing or _Spare()
    for piece in content.pieces():
        if not isinstance(piece, Span):
            _write_all(out, memoryview(piece), at)
            if hashing is not None:
                hashing.add(memoryview(piece), None)
            at += len(piece)
            told(len(piece))
            continue
        with opened(piece.path) as file:
            source = file.fileno()
            whole = sharing and _on_pages(piece, at) and clone(source, piece.start, piece.stop, out, at)
            if whole:
                shared += piece.stop - piece.start
            if whole and hashing is None:
                at += piece.stop - piece.start
                told(piece.stop - piece.start)
                continue
            start = piece.start
            while start < piece.stop:
                buffer = buffers.take()
                count = os.preadv(source, [buffer[: min(CHUNK, piece.stop - start)]], start)
                if not count:
                    raise shorter(piece.path)
                if not whole:
                    _write_all(out, buffer[:count], at)
                buffers.add(buffer[:count], buffer)
                start, at = start + count, at + count
                told(count)
                if at - flushed >= _FLUSH and not whole:
                    # Has the kernel begin to write now, and not when all of it has to be on disk.
                    os.posix_fadvise(out, flushed, at - flushed, os.POSIX_FADV_DONTNEED)
                    flushed = at
    return shared


def _sharing(content: Content, out: int, at: int) -> bool:
    """Whether extents of the content's first piece on a page can be shared with `out`, tried on one page of it."""
    if not content.local:
        return False
    here = at
    for piece in content.pieces():
        if isinstance(piece, Span) and _on_pages(piece, here) and piece.stop - piece.start >= PAGE:
            with opened(piece.path) as file:
                return clone(file.fileno(), piece.start, piece.start + PAGE, out, here)
        here += piece.stop - piece.start if isinstance(piece, Span) else len(piece)
        if here > at + (64 << 20):
            break
    return False


def _on_pages(piece: Span, at: int) -> bool:
    return piece.start % PAGE == 0 and at % PAGE == 0


def _write_all(out: int, data: memoryview, at: int) -> None:
    while data:
        count = os.pwrite(out, data, at)
        data, at = data[count:], at + count


class _Spare:
    """One buffer, for when nobody else reads it."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(CHUNK))

    def take(self) -> memoryview:
        return self._buffer

    def add(self, data: memoryview, buffer: memoryview | None) -> None:
        """Nobody wants it."""


class _Hashing:
    """A thread that hashes what it is given, and gives the buffers back."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._full: queue.SimpleQueue[tuple[memoryview, memoryview | None] | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._made = 0
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "_Hashing":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._full.put(None)
        self._thread.join()

    def take(self) -> memoryview:
        """Wait for a buffer that is free."""
        if self._made < _BUFFERS and self._free.empty():
            self._made += 1
            return memoryview(bytearray(CHUNK))
        return self._free.get()

    def add(self, data: memoryview, buffer: memoryview | None) -> None:
        """Have `data` hashed; `buffer`, which it lies in, is free then."""
        self._full.put((data, buffer))

    def hexdigest(self) -> str:
        """Say the hash, once all is in."""
        return self._hash.hexdigest()

    def _work(self) -> None:
        while (item := self._full.get()) is not None:
            data, buffer = item
            self._hash.update(data)
            if buffer is not None:
                self._free.put(buffer)
