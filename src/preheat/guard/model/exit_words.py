"""Exit words: describe how a process ended, as a sentence and as a shell exit status."""

from __future__ import annotations

import signal

_LIKELY = {
    signal.SIGKILL: "out of memory?",
    signal.SIGSEGV: "it crashed",
    signal.SIGBUS: "it crashed, or a file it had mapped was truncated",
    signal.SIGILL: "built for another processor?",
    signal.SIGABRT: "it aborted",
}


def describe_exit(returncode: int, cause: str = "") -> str:
    """Describe how a process ended: with exit status `returncode`, or by signal N for -N; `cause` may be empty."""
    if returncode >= 0:
        return f"ended with status {returncode}" + (f" ({cause})" if cause else "")
    try:
        number = signal.Signals(-returncode)
    except ValueError:
        return f"killed by signal {-returncode}"
    likely = cause or _LIKELY.get(number)
    return f"killed by {number.name}" + (f" ({likely})" if likely else "")


def shell_status(returncode: int) -> int:
    """Return the exit status that a shell reports in `$?`: 128+N for signal N."""
    return returncode if returncode >= 0 else 128 - returncode
