"""Call target: read the address and data of a suspended system call from the caller's memory.

Another thread of the app may change that memory before the kernel reads it. So the result is good for a report, but not
for a security decision.
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
_MSGHDR, _MMSGHDR = 32, 64  # the part of a struct msghdr that is read; a whole struct mmsghdr
_MOST_MESSAGES = 1024  # UIO_MAXIOV
_PART = struct.Struct("=QQ")  # struct iovec

_Place = Tuple[int, int]


@dataclass(frozen=True)
class Message:
    """One message that a call sends: its destination, and the location of its data.

    `address` is None if the socket is connected already. `parts` are addresses in the thread's memory and their sizes
    in bytes; `vector` is the address and length of a struct iovec array, for calls that use one.
    """

    address: Address | None
    parts: tuple[_Place, ...] = ()
    vector: _Place | None = None

    def read(self, thread: int) -> bytes:
        """Read its first bytes, at most the size of a name query. Raise OSError if they are not readable."""
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
    """List the messages that a call sends; connect(2) is a message without data.

    Raise OSError if the caller's memory cannot be read, or the thread has died.
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
    """Parse an array of struct mmsghdr, or a single struct msghdr."""
    found = []
    for start in range(0, len(headers) - _MSGHDR + 1, _MMSGHDR):
        place, size, vector, count = struct.unpack_from("=QIxxxxQQ", headers, start)
        found.append(Message(_address(thread, place, size), (), (vector, count)))
    return found


def _address(thread: int, place: int, size: int) -> Address | None:
    return read_sockaddr(_read(thread, place, min(size & 0xFFFFFFFF, _LONGEST))) if place else None


def _read(thread: int, place: int, size: int) -> bytes:
    """Read a thread's memory; empty for an invalid address, for which the kernel will fail the call."""
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
