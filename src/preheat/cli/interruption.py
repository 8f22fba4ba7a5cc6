"""Interruption: Ctrl-C and SIGTERM end a verb by an exception, so that it cleans up; exit status 130 and 143."""

import signal
from types import FrameType

# What is kept when a verb is interrupted, and how to continue.
_RESUME = "downloaded data is kept: run the same command again to resume"
_HINTS = {
    "pull": _RESUME,
    "run": _RESUME,
    "stage": _RESUME,
    "adopt": "adopted models are kept: run the same command again for the others",
    "build": "layers that were written are kept: run the same command again for the others",
    "verify": "what was verified is noted; to continue: preheat verify --since 24h",
}


class Terminated(KeyboardInterrupt):
    """Raised in the main thread at SIGTERM, where Ctrl-C raises KeyboardInterrupt."""


def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal.signal passes both
    """Handle SIGTERM. Raise Terminated."""
    raise Terminated


def ends_next_time() -> None:
    """Let the next signal end the process at once: it is about to exit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def status_of(error: KeyboardInterrupt) -> int:
    """Return the exit status for an interruption: 128 plus the signal's number, as shells report it."""
    return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)


def words_of(error: KeyboardInterrupt, verb: str) -> tuple[str, str]:
    """Return the message and the hint for an interruption of a verb."""
    return "ended by SIGTERM" if isinstance(error, Terminated) else "interrupted", _HINTS.get(verb, "")
