"""Requests: the signals that ask the guard to stop its app."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Requests:
    """While it is entered, SIGINT, SIGTERM and SIGHUP only add to `received`; afterwards all is as before.

    What is ignored stays ignored (nohup(1)). Off the main thread, where Python takes no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self._before: dict[int, Any] = {}  # what signal.signal gives back: a function, a number or None

    def __enter__(self) -> Requests:
        if threading.current_thread() is threading.main_thread():
            for number in _ASKING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._append)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self) -> int:
        """Say which signal asked first, 0 when none has."""
        return self.received[0] if self.received else 0

    def hurry(self) -> bool:
        """Whether it was asked again."""
        return len(self.received) > 1

    def _append(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal.signal gives it
        self.received.append(number)
