"""Systemd notify: report readiness and state to systemd if NOTIFY_SOCKET is set: sd_notify(3)."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Mapping


def take_notify_socket() -> str:
    """Remove NOTIFY_SOCKET from this process's environment and return it, so that child processes cannot use it."""
    return os.environ.pop("NOTIFY_SOCKET", "")


def without_notify_socket(env: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of `env` without NOTIFY_SOCKET."""
    return {name: value for name, value in env.items() if name != "NOTIFY_SOCKET"}


def notify(address: str, *words: str) -> None:
    """Send assignments such as READY=1 to systemd; ignore errors, and do nothing if `address` is empty."""
    if address:
        import socket

        place = "\0" + address[1:] if address.startswith("@") else address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto("\n".join(words).encode("utf-8"), place)
