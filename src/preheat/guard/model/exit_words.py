"""Exit words: how a process ended, as a sentence and as a shell's exit status."""

from __future__ import annotations

import signal

_LIKELY = {
    signal.SIGKILL: "out of memory?",
    signal.SIGSEGV: "it crashed",
    signal.SIGBUS: "it crashed, or a file it had mapped was cut",
    signal.SIGILL: "built for another processor?",
    signal.SIGABRT: "it gave up",
}


def describe_exit(returncode: int, cause: str = "") -> str:
    """Say how it ended, from its status, or -N for signal N; and why, where `cause` is known."""
    if returncode >= 0:
        return f"ended with status {returncode}" + (f" ({cause})" if cause else "")
    try:
        number = signal.Signals(-returncode)
    except ValueError:
        return f"killed by signal {-returncode}"
    likely = cause or _LIKELY.get(number)
    return f"killed by {number.name}" + (f" ({likely})" if likely else "")


def shell_status(returncode: int) -> int:
    """Say what a shell's `$?` would be: 128+N for signal N."""
    return returncode if returncode >= 0 else 128 - returncode
