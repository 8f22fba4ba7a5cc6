"""Lease: no other process can write or truncate a file while it is held; F_SETLEASE in fcntl(2)."""

import contextlib
import fcntl
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def lease(descriptor: int) -> Iterator[Callable[[], bool]]:
    """Hold a file that is open to be read; the caller asks often whether it is still held, and lets go when it is not.

    Who wants to write to it waits for that answer. It is never held where somebody has it open for writing, where it is
    another user's, or where the filesystem knows no leases.
    """
    held = True
    try:
        # The kernel tells the holder by SIGIO, which would end it; nobody minds this one.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        held = False

    def is_held() -> bool:
        nonlocal held
        if held and fcntl.fcntl(descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK:
            held = False
            _let_go(descriptor)
        return held

    try:
        yield is_held
    finally:
        if held:
            _let_go(descriptor)


def _let_go(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
