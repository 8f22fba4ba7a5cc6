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
    (
        r"([^:\s]+): command not found$|^\S*sh: \d+: ([^:\s]+): not found$|^\S*env: \W?([^:\s]+?)\W?: No such file or",
        "there is no program {0} in its PATH",
    ),
    (r"can't open file '(.+)': \[Errno 2\]", "there is no file {0}"),
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
# Last errors that a restart cannot change, with the exit statuses that go with them: Python's own, and argparse's.
_LASTING = (
    (1, r"(?:\w+\.)*ModuleNotFoundError: |\S*python[\d.]*: (?:No module named|Error while finding module)"),
    (1, r"ImportError: (?:cannot import name |.*cannot open shared object file)"),
    (1, r"(?:SyntaxError|IndentationError|TabError): "),
    (2, r"\S*python[\d.]*: can't open file "),
    (
        2,
        r".*: error: (?:unrecognized arguments|the following arguments are required|argument .*: (?:invalid|expected))",
    ),
)
# Shells end so for a program that does not exist, or that they cannot execute: exec(1p).
_NOT_FOUND, _NOT_EXECUTED = 127, 126
# The parent of the process that failed prints these lines, after the error itself.
_PASSED_ON = re.compile(r"\s|$|Traceback \(most recent call last\):$|subprocess\.CalledProcessError: ")


def diagnose(tail: tuple[str, ...], python: str = "") -> str:
    """Return the likely reason from the last lines of output, or "" if no known pattern matches.

    `python` is the path of the app's interpreter, if the app is a Python program.
    """
    for line in reversed(tail):
        for pattern, meaning in _KNOWN:
            found = re.search(pattern, line)
            if found:
                return meaning.format(*filter(None, found.groups()), of=f" ({python})" if python else "")
    return ""


def is_lasting(status: int, tail: tuple[str, ...]) -> bool:
    """Return whether an app that ended with `status` lacks a module or a program, or was called wrongly.

    Only the last error of its output counts: an app may report a missing module and go on without it.
    """
    last = next((line for line in reversed(tail) if not _PASSED_ON.match(line)), "")
    if status in (_NOT_FOUND, _NOT_EXECUTED):
        return not re.search("busy", last, re.IGNORECASE)  # a file that is being written
    return any(status == its_status and re.match(pattern, last) for its_status, pattern in _LASTING)


def end_kind(ending: str, tail: tuple[str, ...]) -> str:
    """Return a text that is equal for ends of the same kind, with numbers and addresses replaced."""
    return re.sub(_CHANGING, "N", "\n".join((ending, *tail[-1:])))
