"""Seccomp: receive a notification of a thread's network system calls before they run, without root.

A filter on the calling thread, inherited by its children, suspends the calls that may use the network; the owner of the
listener inspects each call and lets it continue unchanged (seccomp_unotify(2)). Other calls are not suspended.

Of the calls that send on a connected socket, only those with the size of a DNS query are suspended: send(2) and
write(2) of `LEAST_ASKED` to `MOST_ASKED` bytes, and writev(2) of at most `MOST_PARTS` parts. Writes to descriptors 0 to
2 are never suspended.
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
from dataclasses import dataclass

# linux/audit.h: AUDIT_ARCH; asm/unistd.h: the calls of _NAMES in their order, and seccomp.
_MACHINES = {
    "x86_64": (0xC000003E, 42, 44, 46, 307, 425, 1, 20, 317),
    "aarch64": (0xC00000B7, 203, 206, 211, 269, 425, 64, 66, 277),
}
_NAMES = ("connect", "sendto", "sendmsg", "sendmmsg", "io_uring_setup", "write", "writev")
# A host name has at most 255 bytes; a query to DNS, systemd-resolved or nscd stays below this limit.
LEAST_ASKED, MOST_ASKED, MOST_PARTS = 17, 512, 4

# linux/prctl.h, linux/seccomp.h
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER = 1
_SPEC_ALLOW = 1 << 2
_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE = 1 << 5
_ALLOW = 0x7FFF0000
_NOTIFY = 0x7FC00000
_CONTINUE = 1
_RECEIVE = 0xC0502100
_SEND = 0xC0182101
_SET_FLAGS = 0x40082104
_SYNC_WAKE_UP = 1
# SPEC_ALLOW (Linux 4.17 and later) keeps the kernel from disabling speculative store bypass, which would slow down the
# app. Without WAIT_KILLABLE (before 5.19), a signal may make a call wait twice; it still runs only once.
_FLAGS = (
    _NEW_LISTENER | _SPEC_ALLOW | _WAIT_KILLABLE,
    _NEW_LISTENER | _SPEC_ALLOW,
    _NEW_LISTENER,
)

# struct seccomp_notif: id, pid, flags, then struct seccomp_data: nr, arch, instruction pointer, six arguments.
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_RESPONSE = struct.Struct("=QqiI")

# linux/bpf_common.h: load a word of seccomp_data; jump if equal, if above, if at least; return.
_LOAD, _IF_EQUAL, _IF_ABOVE, _IF_LEAST, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x06
_AT_NR, _AT_ARCH = 0, 4
_STDERR = 2


@dataclass(frozen=True)
class Call:
    """A suspended system call: its name, its arguments, and the ID of the thread that made it."""

    id: int
    thread: int
    name: str
    arguments: tuple[int, ...]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def supported() -> bool:
    """Return whether this is 64-bit Linux on a processor whose system call numbers are in _MACHINES."""
    return sys.platform == "linux" and platform.machine() in _MACHINES and sys.maxsize > 2**32


def filter_this_thread() -> int:
    """Install the filter on the calling thread and its future children; return the listener. Raise OSError.

    The filter cannot be removed, so use a dedicated thread. After the listener is closed, the filtered calls fail.
    Set-user-ID programs gain no privileges (no_new_privs), which the kernel requires for filters without root.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    seccomp = _MACHINES[platform.machine()][-1]
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))))
    for flags in _FLAGS:
        # Without WAIT_KILLABLE, signals interrupt suspended calls: exempt writes, where programs do not expect EINTR.
        code = _program(writes=bool(flags & _WAIT_KILLABLE))
        program = _Program(len(code) // 8, code)
        listener = libc.syscall(
            ctypes.c_long(seccomp), ctypes.c_ulong(_SET_MODE_FILTER), ctypes.c_ulong(flags), ctypes.byref(program)
        )
        if listener >= 0 or ctypes.get_errno() != errno.EINVAL:
            break
    _checked(listener)
    # With Linux 6.6 and later, both sides take turns on one processor, which halves the wait.
    with suppress(OSError):
        fcntl.ioctl(listener, _SET_FLAGS, _SYNC_WAKE_UP)
    return int(listener)


def receive(listener: int) -> Call | None:
    """Return the next suspended call, or None if its thread has died. Raise OSError."""
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
    """Let a suspended call run; return whether it was still waiting. Raise OSError."""
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


def _argument(number: int, *, high: bool = False) -> int:
    """Return the offset of an argument, or of its upper 32 bits, in struct seccomp_data."""
    return 16 + 8 * number + 4 * high


def _program(*, writes: bool) -> bytes:
    """Return the BPF program of the filter; `writes` includes write(2) and writev(2) with the size of a query."""
    arch, connect, sendto, sendmsg, sendmmsg, io_uring, write, writev, _ = _MACHINES[platform.machine()]
    # Each instruction: its label, opcode, jump labels if true and if false (empty: next instruction), and operand.
    code: list[tuple[str, int, str, str, int]] = [
        ("", _LOAD, "", "", _AT_ARCH),
        ("", _IF_EQUAL, "", "allow", arch),
        ("", _LOAD, "", "", _AT_NR),
        *(("", _IF_EQUAL, "notify", "", number) for number in (connect, sendmsg, sendmmsg, io_uring)),
        ("", _IF_EQUAL, "sendto", "", sendto),
        ("", _IF_EQUAL, "write" if writes else "allow", "", write),
        ("", _IF_EQUAL, "writev" if writes else "allow", "allow", writev),
        # sendto(2) with a null address is send(2), on a socket whose connect(2) was already notified.
        ("sendto", _LOAD, "", "", _argument(4)),
        ("", _IF_EQUAL, "", "notify", 0),
        ("", _LOAD, "", "", _argument(4, high=True)),
        ("", _IF_EQUAL, "size", "notify", 0),
        ("write", _LOAD, "", "", _argument(0)),
        ("", _IF_ABOVE, "size", "allow", _STDERR),
        ("writev", _LOAD, "", "", _argument(0)),
        ("", _IF_ABOVE, "", "allow", _STDERR),
        ("", _LOAD, "", "", _argument(2)),
        ("", _IF_ABOVE, "allow", "notify", MOST_PARTS),
        ("size", _LOAD, "", "", _argument(2)),
        ("", _IF_LEAST, "", "allow", LEAST_ASKED),
        ("", _IF_ABOVE, "allow", "notify", MOST_ASKED),
        ("notify", _RETURN, "", "", _NOTIFY),
        ("allow", _RETURN, "", "", _ALLOW),
    ]
    labels = {label: index for index, (label, *_) in enumerate(code) if label}
    made = b""
    for here, (_, what, yes, no, value) in enumerate(code):
        jumps = [labels[aim] - here - 1 if aim else 0 for aim in (yes, no)]
        made += struct.pack("=HBBI", what, *jumps, value)
    return made
