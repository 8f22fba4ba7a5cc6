"""Diagnosis: why an app ended, recognized in its last output; pure."""

from __future__ import annotations

import re

# What is said, and what it means; the first that fits the latest line wins.
_KNOWN = (
    (r"CUDA out of memory|OutOfMemoryError: CUDA|CUBLAS_STATUS_ALLOC_FAILED", "the GPU has too little memory left"),
    (
        r"CUDA driver version is insufficient|no CUDA-capable device|Found no NVIDIA driver",
        "there is no GPU it can use",
    ),
    (r"No module named '?([\w.]+)", "Python finds no {0}: is this the app's own environment?"),
    (r"cannot import name '(\w+)' from '([\w.]+)'", "{1} has no {0}: another version is installed than it wants"),
    (r"[Aa]ddress already in use|Cannot find empty port", "its port is taken"),
    (r"Too many open files", "it may not open more files: ulimit -n"),
    (r"Cannot allocate memory|MemoryError|DefaultCPUAllocator: can't allocate", "there is too little memory"),
    (r"No space left on device.*/shm/|[Bb]us error.*shared memory", "it has too little shared memory: --shm-size"),
    (r"No space left on device", "the disk is full"),
    (r"LocalEntryNotFoundError|OfflineModeIsEnabled|couldn't connect to 'https", "it wants a model that is not here"),
    (
        r"SafetensorError|PytorchStreamReader failed|invalid load key|unexpected EOF",
        "a weight file is cut or not whole",
    ),
    (r"GLIBC_[\d.]+' not found|cannot open shared object file", "a library that it wants is not on this system"),
    (r"PermissionError|Permission denied", "it may not read or write something"),
)
_CHANGING = r"0x[0-9a-fA-F]+|\d+"


def diagnose(tail: tuple[str, ...]) -> str:
    """Say what the last words mean, empty when they mean nothing known."""
    for line in reversed(tail):
        for pattern, meaning in _KNOWN:
            found = re.search(pattern, line)
            if found:
                return meaning.format(*found.groups())
    return ""


def likeness(ending: str, tail: tuple[str, ...]) -> str:
    """Put an end into words that are the same for two ends of the same kind: numbers and addresses are left out."""
    return re.sub(_CHANGING, "N", "\n".join((ending, *tail[-1:])))
