"""Console: says events, errors and results, to people on stderr or to programs as JSON lines."""

import sys
import threading
import time
from collections.abc import Mapping
from typing import IO, Protocol

import msgspec
from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from preheat.cli.pace import Pace
from preheat.cli.sentences import say_upkeep
from preheat.cli.words import say_seconds, say_size
from preheat.errors import AppError, ImageError, PreheatError
from preheat.events import (
    Adopted,
    Answered,
    AppChanged,
    Event,
    LayerPut,
    LeftOut,
    Mended,
    NetworkSeen,
    Noted,
    Placed,
    Read,
    Reading,
    Received,
    Resolved,
    Retrying,
    Rotten,
    Scanned,
    Serving,
    Stored,
    TrialStarted,
    Unneeded,
    Waiting,
)

_PROGRESS_EVERY_S = 0.5
_LINES_EVERY_S = 2.0


class Console(Protocol):
    """Listens to events, and has the last word."""

    def __call__(self, event: Event) -> None:
        """Say an event."""

    def done(self, figures: Mapping[str, object], sentence: str) -> None:
        """Say what came of it."""

    def error(self, error: PreheatError) -> None:
        """Say what went wrong, and what to do about it."""

    def close(self) -> None:
        """Stop drawing."""


class JsonLines:
    """One object a line, each with `event`; progress at most twice a second."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._turn = threading.Lock()
        self._pace: Pace | None = None
        self._said_at = 0.0

    def __call__(self, event: Event) -> None:
        """See Console."""
        now = time.monotonic()
        match event:
            case Received() | Read():
                pace = self._pace = self._pace or Pace(0, now)
                pace.add(event.size, now)
                if now - self._said_at >= _PROGRESS_EVERY_S:
                    self._said_at = now
                    self._line("progress", _progress(pace, now))
            case Resolved():
                self._pace = Pace(event.missing, now)
                self._line("resolved", msgspec.to_builtins(event) | {"ref": str(event.ref)})
            case Reading():
                self._pace = Pace(event.size, now)
                self._line("reading", msgspec.to_builtins(event))
            case Placed() | Adopted():
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

    def close(self) -> None:
        """See Console."""

    def _line(self, event: str, facts: Mapping[str, object]) -> None:
        # In one write, under a lock: servers and fetches speak from many threads.
        with self._turn:
            self._out.write(msgspec.json.encode({"event": event, **facts}).decode() + "\n")
            self._out.flush()


class People:
    """Sentences on stderr, with a bar where that is a terminal; `loud` 0 says errors and results only."""

    def __init__(self, loud: int) -> None:
        self._loud = loud
        self._terminal = Terminal(stderr=True, highlight=False, soft_wrap=True)
        self._pace: Pace | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._said_at = time.monotonic()

    def __call__(self, event: Event) -> None:
        """See Console."""
        now = time.monotonic()
        match event:
            case Received() | Read():
                self._received(event, now)
            case Reading():
                self._say(f"{say_size(event.size)} in {event.files} files to {event.purpose}")
                self._pace = Pace(event.size, now)
                self._said_at = now
            case Resolved() if event.missing_files:
                self._say(
                    f"{event.ref} is at {event.commit[:12]}: {say_size(event.size)} in {event.files} files, "
                    f"{say_size(event.missing)} to come"
                )
                self._pace = Pace(event.missing, now)
                self._said_at = now
            case Resolved():
                self._say(f"{event.ref} is at {event.commit[:12]}: {say_size(event.size)}, all here")
            case Waiting():
                if now - self._said_at >= _LINES_EVERY_S:
                    self._said_at = now
                    of = f"{say_size(event.done)} of {say_size(event.file.size)}"
                    self._say(f"  another preheat is fetching {event.file.path}: {of}")
            case Retrying():
                self._say(f"{event.what}: {event.reason}; again in {say_seconds(event.wait_s)}")
            case Stored():
                self._say(f"  {event.file.path} {say_size(event.file.size)} verified", at=2)
            case Placed() if event.copied:
                self._say(f"{event.ref} is placed at {event.path} ({event.kind}): {say_size(event.copied)} were copied")
            case Scanned() | Noted():
                self._say(f"{event.what}: {event.said}")
            case Placed():
                self._say(f"{event.ref} is placed at {event.path} ({event.kind})", at=2)
            case Rotten() | Mended() | Adopted() | LeftOut() | Unneeded():
                self._say(say_upkeep(event), at=2 if isinstance(event, Unneeded) else 1)
            case Serving():
                self._say(f"serving at {event.url} (Ctrl-C stops)")
            case Answered():
                self._say(f"{event.client} {event.method} {event.path} {event.status} {say_size(event.sent)}", at=2)
            case AppChanged():
                self._say(f"app {event.life} after {say_seconds(event.seconds)}: {event.detail}")
            case NetworkSeen():
                self._say(f"outbound requests: {event.outbound}, {event.lookups} of them to look up names")
                for line in (*event.places, *event.blind_spots):
                    self._say(f"  {line}")
            case LayerPut():
                self._say(f"  {event.name} {say_size(event.size)}: {event.how}", at=2)
            case TrialStarted():
                self._say(f"round {event.round} of {event.rounds}: {event.condition}")

    def done(self, figures: Mapping[str, object], sentence: str) -> None:  # noqa: ARG002 - figures are for programs
        """See Console."""
        self.close()
        if sentence:
            print(sentence, flush=True)

    def error(self, error: PreheatError) -> None:
        """See Console."""
        self.close()
        self._terminal.print("preheat:", style="bold red", end=" ")
        self._terminal.print(error.message, markup=False)
        for line in error.tail if isinstance(error, AppError) else ():
            self._terminal.print(f"   | {line}", markup=False)
        if error.hint:
            self._terminal.print("   hint:", style="bold", end=" ")
            self._terminal.print(error.hint, markup=False)

    def close(self) -> None:
        """See Console."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _received(self, event: Received | Read, now: float) -> None:
        if self._pace is None or self._loud == 0:
            return
        self._pace.add(event.size, now)
        if self._terminal.is_terminal:
            self._draw(self._pace, now)
        elif now - self._said_at >= _LINES_EVERY_S:
            self._said_at = now
            self._say(f"  {_progress_words(self._pace, now)}")

    def _draw(self, pace: Pace, now: float) -> None:
        if self._bar is None:
            columns = (BarColumn(bar_width=None), TextColumn("{task.fields[words]}"))
            self._bar = Progress(*columns, console=self._terminal, transient=True)
            self._task = self._bar.add_task("", total=pace.total, words="")
            self._bar.start()
        if now - self._said_at >= 0.1 and self._task is not None:
            self._said_at = now
            self._bar.update(self._task, completed=pace.done, words=_progress_words(pace, now))

    def _say(self, sentence: str, at: int = 1) -> None:
        if self._loud >= at:
            self._terminal.print(sentence, markup=False)


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

    def close(self) -> None:
        """See Console."""
        for one in self._consoles:
            one.close()


def console(*, json: bool, loud: int, out: IO[str] | None = None) -> Console:
    """Choose how to speak. `out` is where JSON lines go, default stdout."""
    return JsonLines(out or sys.stdout) if json else People(loud)


def _facts(error: PreheatError) -> dict[str, object]:
    facts: dict[str, object] = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, AppError):
        facts["tail"] = error.tail
    if isinstance(error, ImageError) and error.end:
        facts["end"] = error.end
    return facts


def _progress(pace: Pace, now: float) -> dict[str, object]:
    left_s = pace.left_s(now)
    return {
        "done": pace.done,
        "total": pace.total,
        "rate": round(pace.rate(now)),
        "left_s": None if left_s is None else round(left_s, 1),
    }


def _progress_words(pace: Pace, now: float) -> str:
    left_s = pace.left_s(now)
    words = f"{say_size(pace.done)} of {say_size(pace.total)}, {say_size(pace.rate(now))}/s"
    return words if left_s is None else f"{words}, {say_seconds(left_s)} left"
