"""Wakeup: wake the supervisor's loop from a thread or a signal handler, without polling."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import Callable


class Bell:
    """Wake a waiting loop through a pipe. `ring` never blocks and is safe in any thread or signal handler.

    Any byte written to the descriptor `writer` rings too, which is what signal.set_wakeup_fd needs.
    """

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self.writer, False)
        self._waiting = select.poll()
        self._waiting.register(self._reader, select.POLLIN)
        self._open = True

    def ring(self) -> None:
        """Wake the current `wait`, or the next one if none is waiting."""
        if self._open:
            # If the pipe is full, the reader wakes anyway; if it is closed, there is no reader.
            with suppress(OSError):
                os.write(self.writer, b"!")

    def wait(self, within_s: float) -> None:
        """Wait for a ring, at most `within_s` seconds."""
        if self._waiting.poll(max(0, int(within_s * 1000 + 0.999))):
            with suppress(BlockingIOError):
                os.read(self._reader, 4096)

    def close(self) -> None:
        """Ignore further rings. The pipe itself stays open until this object is deleted.

        If the pipe were closed here, a thread still in `ring` could write to another file that reuses the descriptor.
        """
        self._open = False

    def __del__(self) -> None:
        os.close(self._reader)
        os.close(self.writer)


def silent() -> None:
    """Do nothing: the default Ring."""


Ring = Callable[[], None]
