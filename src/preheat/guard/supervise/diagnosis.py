"""Diagnosis: find in an app's last output the reason why it ended; pure."""

from __future__ import annotations

import re

# Patterns and their meanings. The last line of output that matches a pattern wins; for one line, the first pattern.
_KNOWN = (
    (r"CUDA out of memory|OutOfMemoryError: CUDA|CUBLAS_STATUS_ALLOC_FAILED", "not enough GPU memory"),
    (
        r"CUDA driver version is insufficient|no CUDA-capable device|Found no NVIDIA driver",
        "there is no GPU it can use",
    ),
    (r"No module named '?([\w.]+)", "Python{of} cannot import {0}: is this the app's environment?"),
    (
        r"cannot import name '(\w+)' from '([\w.]+)'",
        "{1} has no {0}: the app requires another version",
    ),
    (r"[Aa]ddress already in use|Cannot find empty port", "its port is already in use"),
    (r"Too many open files", "it reached the limit of open files: ulimit -n"),
    (r"Cannot allocate memory|MemoryError|DefaultCPUAllocator: can't allocate", "not enough memory"),
    (r"No space left on device.*/shm/|[Bb]us error.*shared memory", "not enough shared memory: --shm-size"),
    (r"No space left on device", "the disk is full"),
    (
        r"LocalEntryNotFoundError|OfflineModeIsEnabled|couldn't connect to 'https",
        "it requires a model that is not downloaded",
    ),
    (
        r"SafetensorError|PytorchStreamReader failed|invalid load key|unexpected EOF",
        "a weight file is truncated or corrupt",
    ),
    (r"Exec format error|wrong ELF class|invalid ELF header", "a file that it starts or loads is for another machine"),
    (r"GLIBC_[\d.]+' not found|cannot open shared object file", "a shared library that it requires is missing"),
    (r"PermissionError|Permission denied", "permission denied for a file or device"),
)
_CHANGING = r"0x[0-9a-fA-F]+|\d+"


def diagnose(tail: tuple[str, ...], python: str = "") -> str:
    """Return the likely reason from the last lines of output, or "" if no known pattern matches.

    `python` is the path of the app's interpreter, if the app is a Python program.
    """
    for line in reversed(tail):
        for pattern, meaning in _KNOWN:
            found = re.search(pattern, line)
            if found:
                return meaning.format(*found.groups(), of=f" ({python})" if python else "")
    return ""


def end_kind(ending: str, tail: tuple[str, ...]) -> str:
    """Return a text that is equal for ends of the same kind, with numbers and addresses replaced."""
    return re.sub(_CHANGING, "N", "\n".join((ending, *tail[-1:])))
