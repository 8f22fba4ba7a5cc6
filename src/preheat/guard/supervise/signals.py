"""Signals: requests to stop the app or to restart it."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from preheat.guard.model.wakeup import Bell

_ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Requests:
    """Record SIGINT, SIGTERM and SIGHUP in `received` and ring the bell, as a context manager; then restore handlers.

    Signals that are ignored stay ignored (nohup(1)). Outside the main thread, where Python cannot handle signals, it
    does nothing. With `renews`, SIGHUP requests a planned restart instead of a stop.
    """

    def __init__(self, bell: Bell | None = None, *, renews: bool = False) -> None:
        self.received: list[int] = []
        self._bell = bell
        self._wakeup_before = -1
        self._renews = renews
        self._renewals = 0
        self._before: dict[int, Any] = {}  # as returned by signal.signal: a function, a number or None

    def __enter__(self) -> Requests:
        if threading.current_thread() is threading.main_thread():
            for number in _ASKING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._append)
            if self._bell is not None:
                # Let the C-level handler ring: Python's handler runs only in the main thread, and not while that is
                # blocked in a wait that began just after the signal arrived.
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
        """Return the first stop signal received, or 0."""
        return self.received[0] if self.received else 0

    def renewal(self) -> bool:
        """Return whether a planned restart was requested since the last call."""
        asked, self._renewals = self._renewals > 0, 0
        return asked

    def hurry(self) -> bool:
        """Return whether a second stop signal was received."""
        return len(self.received) > 1

    def _append(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - required by signal.signal
        if self._renews and number == signal.SIGHUP:
            self._renewals += 1
        else:
            self.received.append(number)
