"""Console: print events, errors and results, as JSON lines for programs or as sentences for people."""

import io
import sys
import threading
import time
from collections.abc import Collection, Mapping
from typing import IO, Protocol

import msgspec

from preheat.cli.output.progress import DownloadRate
from preheat.cli.output.sanitize import clean_deeply
from preheat.core.errors import AppError, ImageError, Incomplete, Occupied, PreheatError
from preheat.core.events import (
    Adopted,
    Event,
    Evicted,
    Placed,
    Read,
    Reading,
    Received,
    Stored,
    Waiting,
)
from preheat.core.pulls.planned_pull import Planned, Resolved

_PROGRESS_EVERY_S = 0.5


class Console(Protocol):
    """Prints events, and at the end the result or the error."""

    def __call__(self, event: Event) -> None:
        """Print an event."""

    def done(self, figures: Mapping[str, object], sentence: str) -> None:
        """Print the result: `figures` as JSON, or `sentence` for people."""

    def error(self, error: PreheatError) -> None:
        """Print an error with its hint."""

    def hide(self, secrets: Collection[str]) -> None:
        """Replace these secrets in all later output."""

    def close(self) -> None:
        """Remove the progress bar."""


class JsonLines:
    """Prints one JSON object per line, each with `event`; progress at most twice a second. Thread-safe."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._secrets: tuple[str, ...] = ()
        self._turn = threading.RLock()  # guards the two below, and each line: events come from many threads
        self._pace: DownloadRate | None = None
        self._said_at = 0.0

    def __call__(self, event: Event) -> None:
        """See Console."""
        with self._turn:
            self._event(event, time.monotonic())

    def _event(self, event: Event, now: float) -> None:
        match event:
            case Received() | Read():
                pace = self._pace = self._pace or DownloadRate(0, now)
                pace.add(event.size, now)
                if now - self._said_at >= _PROGRESS_EVERY_S:
                    self._said_at = now
                    self._line("progress", _progress(pace, now))
            case Resolved():
                self._line("resolved", msgspec.to_builtins(event) | {"ref": str(event.ref)})
            case Planned() | Reading():
                self._pace = DownloadRate(event.missing if isinstance(event, Planned) else event.size, now)
                self._line(type(event).__name__.lower(), msgspec.to_builtins(event))
            case Placed() | Adopted() | Evicted():
                self._line(type(event).__name__.lower(), msgspec.to_builtins(event) | {"ref": str(event.ref)})
            case Waiting():
                if now - self._said_at >= _PROGRESS_EVERY_S:
                    self._said_at = now
                    self._line("waiting", {"path": event.file.path, "done": event.done, "size": event.file.size})
            case Stored():
                file = event.file
                self._line("stored", {"path": file.path, "size": file.size, "digest": str(file.digest)})
            case _:
                name = "".join(f"-{c.lower()}" if c.isupper() else c for c in type(event).__name__).lstrip("-")
                self._line(name, msgspec.to_builtins(event))

    def done(self, figures: Mapping[str, object], sentence: str) -> None:  # noqa: ARG002 - the sentence is for people
        """See Console."""
        self._line("done", figures)

    def error(self, error: PreheatError) -> None:
        """See Console."""
        self._line("error", _facts(error))

    def hide(self, secrets: Collection[str]) -> None:
        """See Console."""
        self._secrets = tuple(secrets)

    def close(self) -> None:
        """See Console."""

    def _line(self, event: str, facts: Mapping[str, object]) -> None:
        with self._turn:
            line = clean_deeply(msgspec.to_builtins({"event": event, **facts}), self._secrets)
            self._out.write(msgspec.json.encode(line).decode() + "\n")
            self._out.flush()


class TwoConsoles:
    """Prints everything on two consoles."""

    def __init__(self, one: Console, other: Console) -> None:
        self._consoles = (one, other)

    def __call__(self, event: Event) -> None:
        """See Console."""
        for one in self._consoles:
            one(event)

    def done(self, figures: Mapping[str, object], sentence: str) -> None:
        """See Console."""
        for one in self._consoles:
            one.done(figures, sentence)

    def error(self, error: PreheatError) -> None:
        """See Console."""
        for one in self._consoles:
            one.error(error)

    def hide(self, secrets: Collection[str]) -> None:
        """See Console."""
        for one in self._consoles:
            one.hide(secrets)

    def close(self) -> None:
        """See Console."""
        for one in self._consoles:
            one.close()


def console(*, json: bool, verbosity: int, out: IO[str] | None = None) -> Console:
    """Return a console for JSON lines to `out` (default: stdout), or for people.

    `verbosity` is 0 for errors and results only, 1 for normal and 2 for verbose output.
    """
    if json:
        out = out or sys.stdout
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(encoding="utf-8")  # in any locale: RFC 8259
        return JsonLines(out)
    # Imported only when needed: it takes longer to import than many commands take to run.
    from preheat.cli.output.human import HumanConsole

    return HumanConsole(verbosity)


def _facts(error: PreheatError) -> dict[str, object]:
    # A partly completed verb has the same fields in its error as a completed one in `done`.
    done = error.figures if isinstance(error, Incomplete) else {}
    facts = done | {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, AppError):
        facts["tail"] = error.tail
    if isinstance(error, Occupied):
        facts["paths"] = error.paths
    if isinstance(error, ImageError) and error.end:
        facts["end"] = error.end
    return facts


def _progress(pace: DownloadRate, now: float) -> dict[str, object]:
    left_s = pace.left_s(now)
    return {
        "done": pace.done,
        "total": pace.total,
        "rate": round(pace.rate(now)),
        "left_s": None if left_s is None else round(left_s, 1),
    }
