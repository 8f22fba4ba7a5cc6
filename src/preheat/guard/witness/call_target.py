"""Call target: the address and data of a waiting system call, read from the caller's memory.

Another thread of the app may change that memory between this look and the kernel's own: what is read is a count and a
name for people, and no barrier.
"""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from typing import Tuple

from preheat.guard.kernel.seccomp import MOST_ASKED, MOST_PARTS, Call
from preheat.guard.witness.sockaddr import Address, read_sockaddr

_LONGEST = 128  # struct sockaddr_storage
_MSGHDR, _MMSGHDR = 32, 64  # as much of a struct msghdr as is read here; all of a struct mmsghdr
_MOST_MESSAGES = 1024  # UIO_MAXIOV
_PART = struct.Struct("=QQ")  # struct iovec

_Place = Tuple[int, int]


@dataclass(frozen=True)
class Message:
    """Where a call sends one message, None for where its socket is connected to; and where its first bytes lie.

    `parts` are places in the thread's memory and their sizes; `vector` is the place of a struct iovec array and its
    length, for calls that have one.
    """

    address: Address | None
    parts: tuple[_Place, ...] = ()
    vector: _Place | None = None

    def read(self, thread: int) -> bytes:
        """Read its first bytes, as many as a question for a name can have. Raise OSError where that cannot be."""
        parts = list(self.parts)
        if self.vector is not None:
            place, count = self.vector
            listed = _read(thread, place, _PART.size * min(count, MOST_PARTS))
            parts = [(place, size) for place, size in _PART.iter_unpack(listed[: len(listed) // 16 * 16])]
        found = b""
        for place, size in parts:
            room = MOST_ASKED - len(found)
            if room > 0:
                found += _read(thread, place, min(size, room))
        return found


def messages(call: Call) -> list[Message]:
    """List what a call sends, and where. Raise OSError where its memory cannot be read, or nobody is left.

    A connect(2) is a message of no bytes.
    """
    words, thread = call.arguments, call.thread
    if call.name == "connect":
        return [Message(_address(thread, words[1], words[2]))]
    if call.name == "sendto":
        return [Message(_address(thread, words[4], words[5]), ((words[1], words[2]),))]
    if call.name == "write":
        return [Message(None, ((words[1], words[2]),))]
    if call.name == "writev":
        return [Message(None, (), (words[1], words[2]))]
    if call.name == "sendmsg":
        return _headers(thread, _read(thread, words[1], _MSGHDR))
    if call.name == "sendmmsg":
        count = min(words[2] & 0xFFFFFFFF, _MOST_MESSAGES)
        return _headers(thread, _read(thread, words[1], _MMSGHDR * count))
    return []


def _headers(thread: int, headers: bytes) -> list[Message]:
    """Read from message headers where each has its address and its bytes."""
    found = []
    for start in range(0, len(headers) - _MSGHDR + 1, _MMSGHDR):
        place, size, vector, count = struct.unpack_from("=QIxxxxQQ", headers, start)
        found.append(Message(_address(thread, place, size), (), (vector, count)))
    return found


def _address(thread: int, place: int, size: int) -> Address | None:
    return read_sockaddr(_read(thread, place, min(size & 0xFFFFFFFF, _LONGEST))) if place else None


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
