"""Signals: requests to stop the app or to restart it."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from preheat.guard.model.wakeup import Bell

_ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Requests:
    """While it is entered, SIGINT, SIGTERM and SIGHUP only add to `received` and ring; afterwards all is as before.

    What is ignored stays ignored (nohup(1)). Off the main thread, where Python takes no signals, it does nothing. With
    `renews`, SIGHUP asks for a planned restart instead of the end.
    """

    def __init__(self, bell: Bell | None = None, *, renews: bool = False) -> None:
        self.received: list[int] = []
        self._bell = bell
        self._wakeup_before = -1
        self._renews = renews
        self._renewals = 0
        self._before: dict[int, Any] = {}  # what signal.signal gives back: a function, a number or None

    def __enter__(self) -> Requests:
        if threading.current_thread() is threading.main_thread():
            for number in _ASKING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._append)
            if self._bell is not None:
                # Rung by the kernel's own handler: Python's runs in the main thread alone, and not while that sleeps,
                # which it may have begun to a moment after the signal came.
                self._wakeup_before = signal.set_wakeup_fd(self._bell.writer, warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._bell is not None and threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._wakeup_before)

    def asked(self) -> int:
        """Say which signal asked first, 0 when none has."""
        return self.received[0] if self.received else 0

    def renewal(self) -> bool:
        """Whether a planned restart was asked for since this was last asked."""
        asked, self._renewals = self._renewals > 0, 0
        return asked

    def hurry(self) -> bool:
        """Whether it was asked again."""
        return len(self.received) > 1

    def _append(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal.signal gives it
        if self._renews and number == signal.SIGHUP:
            self._renewals += 1
        else:
            self.received.append(number)
