"""Lease: keep other processes from writing to or truncating a file; see F_SETLEASE in fcntl(2)."""

import contextlib
import errno
import fcntl
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def lease(descriptor: int) -> Iterator[Callable[[], bool]]:
    """Take a read lease on a file opened for reading; yield a function that returns whether it is still held.

    Call it often: a process that opens the file for writing blocks until the call after that, which releases the lease.
    The lease is not granted if the file is open for writing or owned by another user, or if the filesystem does not
    support leases.
    """
    held = True
    try:
        # The kernel signals a lease break by SIGIO, which kills the process by default; SIGURG is ignored by default.
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


def is_open_for_writing(descriptor: int) -> bool:
    """Return whether a process has the file open for writing; False if the kernel does not say."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    _let_go(descriptor)
    return False


def _let_go(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
