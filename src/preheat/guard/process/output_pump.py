"""Output pump: copies an app's output to its destinations, byte for byte."""

from __future__ import annotations

import os
import select
from typing import Callable

_CHUNK = 64 * 1024


def pump(source: int, target: int | None, on_chunk: Callable[[bytes], None]) -> None:
    """Carry `source` to `target` until its end, and tell each chunk.

    A target that is gone, or None, does not stop it: the app would hang on a full pipe.
    """
    while True:
        chunk = os.read(source, _CHUNK)
        if not chunk:
            return
        on_chunk(chunk)
        if target is not None and not _write(target, chunk):
            target = None


def _write(target: int, chunk: bytes) -> bool:
    """Write all of a chunk; whether there is still somebody to write to."""
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
        # Somebody who shares the descriptor, often a terminal, has made it non-blocking.
        room = select.poll()
        room.register(target, select.POLLOUT)
        room.poll()
        return 0
