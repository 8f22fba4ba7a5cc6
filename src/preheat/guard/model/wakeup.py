"""Wakeup: wakes the supervisor's loop from a thread or a signal handler, so that it need not poll."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import Callable


class Bell:
    """A pipe to oneself. `ring` may be called from anywhere and never waits; `close` ends it.

    Whatever is written to `writer` rings too: signal.set_wakeup_fd does.
    """

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self.writer, False)
        self._waiting = select.poll()
        self._waiting.register(self._reader, select.POLLIN)
        self._open = True

    def ring(self) -> None:
        """Wake who waits, or who will wait next."""
        if self._open:
            # A pipe that is full wakes as well as one that is not; a closed one has nobody left to wake.
            with suppress(OSError):
                os.write(self.writer, b"!")

    def wait(self, within_s: float) -> None:
        """Wait for a ring, at most `within_s`."""
        if self._waiting.poll(max(0, int(within_s * 1000 + 0.999))):
            with suppress(BlockingIOError):
                os.read(self._reader, 4096)

    def close(self) -> None:
        """Ring no more. The pipe itself is closed with this object, which everybody who may ring holds.

        Closed now, its number could be another file's by the time that a thread that is ringing writes to it.
        """
        self._open = False

    def __del__(self) -> None:
        os.close(self._reader)
        os.close(self.writer)


def silent() -> None:
    """Ring nobody's bell."""


Ring = Callable[[], None]
