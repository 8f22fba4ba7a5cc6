"""Units: format sizes, counts, lists, times and paths for people; sizes in decimal units, as for disks and links."""

import os
from collections.abc import Sequence


def say_size(size: float) -> str:
    """Format a size in bytes: `138.7 MB`."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if abs(size) >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} B"


def say_count(number: int, noun: str) -> str:
    """Format a number of things: `1 file`, `2 files`. `noun` is the singular of one whose plural ends in s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def say_some(names: Sequence[str], most: int = 1) -> str:
    """Join the first `most` names, and add how many are left: `a.bin, b.bin and 3 more`."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")


def say_seconds(seconds: float) -> str:
    """Format a time in seconds: `0.84 s`, `12.3 s`, `28 min 12 s`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def say_path(path: os.PathLike[str] | str) -> str:
    """Format a path; its bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
