"""Console: print events, errors and results, as JSON lines for programs or as sentences for people."""

import sys
import threading
import time
from collections.abc import Collection, Mapping
from typing import IO, Protocol

import msgspec

from preheat.cli.output.progress import DownloadRate
from preheat.cli.output.sanitize import clean_deeply
from preheat.core.errors import AppError, ImageError, Incomplete, Occupied, PreheatError
from preheat.core.events import Adopted, Event, Evicted, Placed, Read, Reading, Received, Resolved, Stored, Waiting

_PROGRESS_EVERY_S = 0.5


class Console(Protocol):
    """Listens to events, and has the last word."""

    def __call__(self, event: Event) -> None:
        """Say an event."""

    def done(self, figures: Mapping[str, object], sentence: str) -> None:
        """Say what came of it."""

    def error(self, error: PreheatError) -> None:
        """Say what went wrong, and what to do about it."""

    def hide(self, secrets: Collection[str]) -> None:
        """Have these words in nothing that is said from now on."""

    def close(self) -> None:
        """Stop drawing."""


class JsonLines:
    """One object a line, each with `event`; progress at most twice a second."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._secrets: tuple[str, ...] = ()
        self._turn = threading.Lock()
        self._pace: DownloadRate | None = None
        self._said_at = 0.0

    def __call__(self, event: Event) -> None:
        """See Console."""
        now = time.monotonic()
        match event:
            case Received() | Read():
                pace = self._pace = self._pace or DownloadRate(0, now)
                pace.add(event.size, now)
                if now - self._said_at >= _PROGRESS_EVERY_S:
                    self._said_at = now
                    self._line("progress", _progress(pace, now))
            case Resolved():
                self._pace = DownloadRate(event.missing, now)
                self._line("resolved", msgspec.to_builtins(event) | {"ref": str(event.ref)})
            case Reading():
                self._pace = DownloadRate(event.size, now)
                self._line("reading", msgspec.to_builtins(event))
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
        # In one write, under a lock: servers and fetches speak from many threads.
        with self._turn:
            said = clean_deeply(msgspec.to_builtins({"event": event, **facts}), self._secrets)
            self._out.write(msgspec.json.encode(said).decode() + "\n")
            self._out.flush()


class Both:
    """Two consoles that are told the same."""

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


def console(*, json: bool, loud: int, out: IO[str] | None = None) -> Console:
    """Choose how to speak. `out` is where JSON lines go, default stdout."""
    if json:
        return JsonLines(out or sys.stdout)
    # Only here: what draws for people takes longer to load than many a command to run.
    from preheat.cli.output.human import People

    return People(loud)


def _facts(error: PreheatError) -> dict[str, object]:
    # What was done has the same fields in an error as in the end of a verb that did all of it.
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
