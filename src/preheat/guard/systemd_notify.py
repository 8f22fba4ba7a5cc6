"""Systemd notify: report readiness and state to systemd if NOTIFY_SOCKET is set: sd_notify(3)."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Mapping, NamedTuple

_NOT_FOR_THE_APP = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_SELDOM_S = 3600.0


class Systemd(NamedTuple):
    """The service manager that started this process: its socket, empty for none, and its watchdog.

    `beat_every_s` is how often the watchdog expects `beat`, in seconds: half of the unit's WatchdogSec=.
    """

    socket: str = ""
    beat_every_s: float = _SELDOM_S

    def beat(self) -> None:
        """Report to the watchdog that the guard's loop still runs."""
        if self.beat_every_s < _SELDOM_S:
            notify(self.socket, "WATCHDOG=1")


def take_systemd() -> Systemd:
    """Remove systemd's variables from this process's environment and return what they mean to it: sd_notify(3)."""
    socket, timeout, pid = (os.environ.pop(name, "") for name in _NOT_FOR_THE_APP)
    if not timeout.isdecimal() or pid not in ("", str(os.getpid())):
        return Systemd(socket)
    return Systemd(socket, min(_SELDOM_S, int(timeout) / 2e6))


def without_systemd(env: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of `env` without systemd's variables, so that the app cannot report in the guard's place."""
    return {name: value for name, value in env.items() if name not in _NOT_FOR_THE_APP}


def notify(address: str, *words: str) -> None:
    """Send assignments such as READY=1 to systemd; ignore errors, and do nothing if `address` is empty."""
    if address:
        import socket

        place = "\0" + address[1:] if address.startswith("@") else address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto("\n".join(words).encode("utf-8"), place)
