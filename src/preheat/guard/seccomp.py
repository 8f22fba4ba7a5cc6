"""Seccomp: the kernel's way to be told of a thread's system calls before they run, without root.

seccomp_unotify(2): a filter on the calling thread, inherited by all it starts, stops the calls that may talk to a
network; whoever holds the listener reads each and lets it go on. Nothing else is stopped, and nothing is changed.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct
import sys
from contextlib import suppress

from preheat.guard.value import dataclass

# asm/unistd.h: connect, sendto, sendmsg, sendmmsg, io_uring_setup, seccomp; linux/audit.h: AUDIT_ARCH.
_MACHINES = {
    "x86_64": (0xC000003E, 42, 44, 46, 307, 425, 317),
    "aarch64": (0xC00000B7, 203, 206, 211, 269, 425, 277),
}
_NAMES = ("connect", "sendto", "sendmsg", "sendmmsg", "io_uring_setup")

# linux/prctl.h, linux/seccomp.h
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER = 1
_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE = 1 << 5
_ALLOW = 0x7FFF0000
_NOTIFY = 0x7FC00000
_CONTINUE = 1
_RECEIVE = 0xC0502100
_SEND = 0xC0182101
_SET_FLAGS = 0x40082104
_SYNC_WAKE_UP = 1

# struct seccomp_notif: id, pid, flags, then struct seccomp_data: nr, arch, instruction pointer, six arguments.
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_RESPONSE = struct.Struct("=QqiI")

# linux/bpf_common.h: load a word of seccomp_data, jump if equal, return.
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_AT_NR, _AT_ARCH, _AT_ADDRESS_LOW, _AT_ADDRESS_HIGH = 0, 4, 48, 52


@dataclass(frozen=True)
class Call:
    """A system call that waits: its name, its arguments, and the thread that made it."""

    id: int
    thread: int
    name: str
    arguments: tuple[int, ...]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def supported() -> bool:
    """Whether this is a machine whose system calls are known here."""
    return sys.platform == "linux" and platform.machine() in _MACHINES and sys.maxsize > 2**32


def filter_this_thread() -> int:
    """Stop the calling thread's network calls, and those of all it starts; return the listener. Raise OSError.

    It cannot be undone: the thread should live for this alone. Once the listener is closed, such calls fail. Programs
    started from it gain no rights from set-user-ID bits (no_new_privs), which the kernel wants of those without root.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    seccomp = _MACHINES[platform.machine()][-1]
    code = _program()
    program = _Program(len(code) // 8, code)
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))))
    # Without the second flag (before Linux 5.19), a signal may make a call wait twice; it is still let go once.
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):
        listener = libc.syscall(
            ctypes.c_long(seccomp), ctypes.c_ulong(_SET_MODE_FILTER), ctypes.c_ulong(flags), ctypes.byref(program)
        )
        if listener >= 0 or ctypes.get_errno() != errno.EINVAL:
            break
    _checked(listener)
    # From Linux 6.6 on, the two sides take turns on one processor, which halves the wait.
    with suppress(OSError):
        fcntl.ioctl(listener, _SET_FLAGS, _SYNC_WAKE_UP)
    return int(listener)


def receive(listener: int) -> Call | None:
    """Take the next call that waits; None when its thread died in between."""
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    call_id, thread, _, number, _, _, *arguments = _NOTIFICATION.unpack(buffer)
    names = dict(zip(_MACHINES[platform.machine()][1:], _NAMES))
    return Call(call_id, thread, names.get(number, ""), tuple(arguments))


def let_go(listener: int, call: Call) -> bool:
    """Let the call run as if nothing had been; whether it was still there."""
    try:
        fcntl.ioctl(listener, _SEND, _RESPONSE.pack(call.id, 0, 0, _CONTINUE))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def _program() -> bytes:
    """Write the filter: jumps count the instructions between them and their aim."""
    arch, connect, sendto, sendmsg, sendmmsg, io_uring, _ = _MACHINES[platform.machine()]
    always = (connect, sendmsg, sendmmsg, io_uring)
    notify = 2 + 1 + len(always) + 1 + 4
    allow = notify + 1
    code = [(_LOAD, 0, 0, _AT_ARCH), (_JUMP_EQUAL, 0, allow - 2, arch), (_LOAD, 0, 0, _AT_NR)]
    for number in always:
        code.append((_JUMP_EQUAL, notify - len(code) - 1, 0, number))
    # sendto(2) with a null address is send(2), on a socket whose connect(2) was already seen.
    code.append((_JUMP_EQUAL, 0, allow - len(code) - 1, sendto))
    code.append((_LOAD, 0, 0, _AT_ADDRESS_LOW))
    code.append((_JUMP_EQUAL, 0, notify - len(code) - 1, 0))
    code.append((_LOAD, 0, 0, _AT_ADDRESS_HIGH))
    code.append((_JUMP_EQUAL, allow - len(code) - 1, notify - len(code) - 1, 0))
    code += [(_RETURN, 0, 0, _NOTIFY), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
