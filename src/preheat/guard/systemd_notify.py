"""Systemd notify: report readiness and state to systemd, if it asks for that: sd_notify(3)."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Mapping


def take_notify_socket() -> str:
    """Take systemd's address out of the environment: what it starts shall not speak in the guard's name."""
    return os.environ.pop("NOTIFY_SOCKET", "")


def without_notify_socket(env: Mapping[str, str]) -> dict[str, str]:
    """Leave systemd's address out of an environment that was copied before it was taken."""
    return {name: value for name, value in env.items() if name != "NOTIFY_SOCKET"}


def notify(address: str, *words: str) -> None:
    """Send words such as READY=1; nowhere without an address. A systemd that is gone is no trouble of the app's."""
    if address:
        import socket

        place = "\0" + address[1:] if address.startswith("@") else address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto("\n".join(words).encode("utf-8"), place)
