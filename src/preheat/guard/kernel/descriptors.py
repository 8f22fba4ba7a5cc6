"""Descriptors: raise this process's limit of open files (RLIMIT_NOFILE), and restore it for the app."""

from __future__ import annotations

from typing import List, Tuple

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
