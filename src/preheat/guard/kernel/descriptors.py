"""Descriptors: limits of open files, what is inherited, and opening files without waiting."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import List, TextIO, Tuple

# The limits before `raise_limit`; empty if it changed nothing.
_before: List[Tuple[int, int]] = []


def raise_limit(wanted: int) -> int:
    """Raise the soft limit to `wanted` open files, or as far as the hard limit permits; return the limit."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):
        return soft
    _before.append((soft, hard))
    return most


def restore_limit() -> None:
    """Restore the limit that this process was started with: programs that use select(2) rely on a low one."""
    if _before:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, _before[0])


def inherit_none() -> None:
    """Let programs that this process executes inherit no descriptor above 2, not even those that it inherited."""
    try:
        here = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return
    for descriptor in here:
        if descriptor > 2:
            with suppress(OSError):
                os.set_inheritable(descriptor, False)


def discard_standard_streams() -> None:
    """Lead standard input, output and error of this process to /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)


def open_text(path: str) -> TextIO:
    """Open a regular file to read it as UTF-8. Raise OSError for anything else."""
    return open(open_regular(path), encoding="utf-8")


def open_regular(path: str, *, follow: bool = True) -> int:
    """Open a regular file to read it, perhaps through a symlink if `follow`. Raise OSError for anything else."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    descriptor = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor
