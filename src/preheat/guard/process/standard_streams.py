"""Standard streams: open /dev/null in place of each one that the caller has closed."""

from __future__ import annotations

import os
import sys


def open_closed_streams() -> None:
    """Open /dev/null in place of closed standard streams; otherwise the next file to be opened would become one."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # returns the lowest free descriptor, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for good
