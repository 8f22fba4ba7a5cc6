"""Aim: where a system call that waits wants to go, read from the memory of who made it."""

from __future__ import annotations

import errno
import os
import struct

from preheat.guard.seccomp import Call
from preheat.guard.sockaddr import Address, read_sockaddr

_LONGEST = 128  # struct sockaddr_storage
_MSGHDR, _MMSGHDR = 16, 64  # as much of a struct msghdr as is read here; all of a struct mmsghdr
_MOST_MESSAGES = 1024  # UIO_MAXIOV


def aims(call: Call) -> list[Address]:
    """Read from its memory where a call wants to go. Raise OSError where that cannot be read, or nobody is left."""
    if call.name == "connect":
        places = [(call.arguments[1], call.arguments[2])]
    elif call.name == "sendto":
        places = [(call.arguments[4], call.arguments[5])]
    elif call.name == "sendmsg":
        places = _names(_read(call.thread, call.arguments[1], _MSGHDR))
    elif call.name == "sendmmsg":
        count = min(call.arguments[2] & 0xFFFFFFFF, _MOST_MESSAGES)
        places = _names(_read(call.thread, call.arguments[1], _MMSGHDR * count))
    else:
        places = []
    found = (
        read_sockaddr(_read(call.thread, place, min(size & 0xFFFFFFFF, _LONGEST))) for place, size in places if place
    )
    return [address for address in found if address is not None]


def _names(headers: bytes) -> list[tuple[int, int]]:
    """List where each message header says that its address lies, and how long it is."""
    starts = range(0, len(headers) - _MSGHDR + 1, _MMSGHDR)
    return [struct.unpack_from("=QI", headers, start) for start in starts]


def _read(thread: int, place: int, size: int) -> bytes:
    """Read a thread's memory; nothing where there is none, which is how the kernel will find it too."""
    memory = os.open(f"/proc/{thread}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(memory, size, place)
    except OSError as error:
        if error.errno == errno.EIO:
            return b""
        raise
    except OverflowError:
        return b""
    finally:
        os.close(memory)
