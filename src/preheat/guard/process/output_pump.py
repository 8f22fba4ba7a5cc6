"""Output pump: copy an app's output to its destinations, byte for byte."""

from __future__ import annotations

import os
import select
from typing import Callable

_CHUNK = 64 * 1024


def pump(source: int, target: int | None, on_chunk: Callable[[bytes], None]) -> None:
    """Copy descriptor `source` to `target` until EOF, and call `on_chunk` with each chunk.

    Reading continues if `target` is None or fails, because the app would block on a full pipe.
    """
    while True:
        chunk = os.read(source, _CHUNK)
        if not chunk:
            return
        on_chunk(chunk)
        if target is not None and not _write(target, chunk):
            target = None


def _write(target: int, chunk: bytes) -> bool:
    """Write the whole chunk; return False if the target is closed."""
    left = memoryview(chunk)
    try:
        while left:
            left = left[_write_some(target, left) :]
    except OSError:
        return False
    return True


def _write_some(target: int, chunk: memoryview) -> int:
    try:
        return os.write(target, chunk)
    except BlockingIOError:
        # Another process that shares the descriptor, often a terminal, may have made it non-blocking.
        room = select.poll()
        room.register(target, select.POLLOUT)
        room.poll()
        return 0
