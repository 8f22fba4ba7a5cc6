"""Human output: events, errors and results as sentences on stderr, with a progress bar on a terminal."""

import functools
import sys
import threading
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from preheat.cli.output.progress import DownloadRate
from preheat.cli.output.progress_line import ProgressLine, progress_words
from preheat.cli.output.proof_lines import say_plan, say_step, say_trial, say_whole
from preheat.cli.output.sanitize import clean
from preheat.core.errors import AppError, PreheatError
from preheat.core.events import (
    Adopted,
    Answered,
    AppChanged,
    Away,
    Event,
    Evicted,
    LayerPut,
    LeftOut,
    Mended,
    MovedAside,
    NetworkSeen,
    Noted,
    OptionalMissing,
    Placed,
    ProofPlanned,
    Read,
    Reading,
    Received,
    Retrying,
    Rotten,
    Scanned,
    Serving,
    Stored,
    TrialProgress,
    TrialStarted,
    Unneeded,
    Waiting,
)
from preheat.core.pulls.planned_pull import Planned, Resolved, say_missing
from preheat.core.ref import MADE
from preheat.core.units import say_count, say_seconds, say_size

if TYPE_CHECKING:
    from rich.console import Console as Terminal

# Lines are for logs; a terminal has the bar.
_LINES_EVERY_S, _WAITING_EVERY_S, _BAR_EVERY_S = 60.0, 1.0, 0.1
_SILENT_S = 19.0  # with an event every ten seconds, a proof prints a line within 30 seconds
_PACKAGES = frozenset(("site-packages", "dist-packages"))
_NAMED = 3  # outbound targets named in one line
_WORTH_SAYING = 1_000_000  # bytes copied; configuration files are always copied


class HumanConsole:
    """Prints sentences on stderr, with a progress bar on a terminal; `verbosity` 0 prints only errors and results.

    Thread-safe.
    """

    def __init__(self, verbosity: int) -> None:
        self._verbosity = verbosity
        self._secrets: tuple[str, ...] = ()
        self._turn = threading.RLock()  # guards all below
        self._life = ""
        # stderr is None if it is closed, as by `2>&-`.
        self._at_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._pace: DownloadRate | None = None
        self._line = ProgressLine(lambda: self._terminal)
        self._said_at = time.monotonic()
        self._away_at = -_LINES_EVERY_S
        self._printed_at = self._said_at

    def __call__(self, event: Event) -> None:
        """See Console."""
        with self._turn:
            self._event(event, time.monotonic())

    def _event(self, event: Event, now: float) -> None:
        match event:
            case Received() | Read():
                self._received(event, now)
            case Reading():
                self._begin(event.size, now)
                if event.files:
                    self._say(f"{say_size(event.size)} in {say_count(event.files, 'file')} to {event.purpose}")
            case Resolved() if event.missing_files:
                self._say(
                    f"{event.ref} is at {event.commit[:12]}: {say_size(event.size)} in "
                    f"{say_count(event.files, 'file')}, {say_missing(event.missing, event.local)}"
                )
            case Resolved():
                self._say(f"{event.ref} is at {event.commit[:12]}: {say_size(event.size)}, all cached")
            case Planned():
                self._begin(event.missing, now)
                if event.models > 1 and event.missing_files:
                    self._say(
                        f"{event.models} models: {say_size(event.size)}, {say_missing(event.missing, event.local)}"
                    )
            case Waiting():
                self._waiting(event, now)
            case Away():
                self._away(event, now)
            case Retrying():
                self._say(f"{event.what}: {event.reason}; retrying in {say_seconds(event.wait_s)}")
            case Stored():
                self._say(f"  {event.file.path} {say_size(event.file.size)} verified", at=2)
            case MovedAside():
                self._say(f"moved aside: {event.path} to {event.to}")
            case Placed():
                self._say(_say_placed(event), at=1 if _is_notable(event) else 2)
            case Scanned() | Noted():
                self._say(f"{event.what}: {event.said}")
            case OptionalMissing():
                self._say(f"{event.ref}: left out, as it is optional: {event.reason}")
            case Rotten() | Mended() | Adopted() | Evicted() | LeftOut() | Unneeded():
                from preheat.cli.output.upkeep_lines import say_upkeep  # an app that starts does not wait for it

                self._say(say_upkeep(event), at=2 if isinstance(event, Unneeded) else 1)
            case Serving():
                self._say(f"serving at {event.url} (Ctrl-C stops)")
            case Answered():
                self._say(f"{event.client} {event.method} {event.path} {event.status} {say_size(event.sent)}", at=2)
            case AppChanged():
                self._app_changed(event)
            case NetworkSeen():
                self._say(f"outbound attempts: {event.outbound}{_targets(event.places)}")
                for line in (*event.places, *event.blind_spots):
                    self._say(f"  {line}")
            case LayerPut():
                self._say(f"  {event.name} {say_size(event.size)}: {event.how}", at=2)
            case ProofPlanned():
                self._say(say_plan(event))
            case TrialStarted():
                self._clear()
                self._say(say_step(event))
            case TrialProgress():
                self._trial(event, now)

    def done(self, figures: Mapping[str, object], sentence: str) -> None:  # noqa: ARG002 - figures are for programs
        """See Console."""
        self._line.end()
        if sentence:
            print(clean(sentence, self._secrets), flush=True)

    def hide(self, secrets: Collection[str]) -> None:
        """See Console."""
        self._secrets = tuple(secrets)

    def error(self, error: PreheatError) -> None:
        """See Console."""
        self._line.end()
        # The app's last output comes first, so that the cause is in the last lines, also after a long traceback.
        for line in error.tail if isinstance(error, AppError) else ():
            self._say(f"   | {line}", at=0)
        self._say(error.message, at=0, first="preheat:", style="bold red")
        if error.hint:
            self._say(error.hint, at=0, first="   hint:", style="bold")

    def close(self) -> None:
        """See Console."""
        self._line.close()

    def _app_changed(self, event: AppChanged) -> None:
        """Print a new state, or a notice in the same state. A fatal state is followed by an error with its reason."""
        why = f": {event.detail}" if event.detail else ""
        said = f"still {event.life} at" if event.life == self._life else f"{event.life} after"
        self._say(f"app {said} {say_seconds(event.seconds)}{why}", at=2 if event.life == "fatal" else 1)
        self._life = event.life

    def _trial(self, event: TrialProgress, now: float) -> None:
        """Show what a proof is doing: on a terminal all the time, elsewhere if nothing was printed for 20 seconds."""
        if self._verbosity == 0:
            return
        if self._at_terminal:
            if self._pace is None or self._pace.is_complete:  # else there is a bar
                self._line.words(say_trial(event))
        elif now - self._printed_at >= _SILENT_S:
            self._say(f"  {say_trial(event)}")

    def _clear(self) -> None:
        """Remove the progress bar of what came before."""
        self._pace = None
        self.close()

    def _begin(self, total: int, now: float) -> None:
        """Begin to count bytes: remove the previous bar; a new one appears with the first bytes."""
        self.close()
        self._pace, self._said_at = DownloadRate(total, now), now

    def _waiting(self, event: Waiting, now: float) -> None:
        """Show the progress of another process with a file; without a terminal, print one line a minute."""
        of = f"{say_size(event.done)} of {say_size(event.file.size)}"
        words = f"another process is downloading {event.file.path}: {of}"
        if self._verbosity == 0:
            return
        if self._at_terminal:
            if now - self._said_at >= _WAITING_EVERY_S:
                self._said_at = now
                self._line.parts(event.done, event.file.size, words)
        elif now - self._said_at >= _LINES_EVERY_S:
            self._said_at = now
            self._say(f"  {words}")

    def _away(self, event: Away, now: float) -> None:
        """Show a countdown on a terminal; elsewhere, print a line a minute."""
        again = f"retrying in {say_whole(event.wait_s)}" if event.wait_s > 0 else "retrying"
        words = f"{event.reason}: {again}, giving up in {say_whole(event.left_s)}"
        if self._verbosity == 0:
            return
        if self._at_terminal:
            self._line.words(words)
        elif now - self._away_at >= _LINES_EVERY_S:
            self._away_at = now
            self._say(f"  {words}")

    def _received(self, event: Received | Read, now: float) -> None:
        if self._pace is None or self._verbosity == 0:
            return
        self._pace.add(event.size, now)
        if self._pace.is_complete:
            # The next step, such as verifying the last bytes, does not move this bar.
            self.close()
        elif self._at_terminal:
            if now - self._said_at >= _BAR_EVERY_S:
                self._said_at = now
                self._line.bytes(self._pace)
        elif now - self._said_at >= _LINES_EVERY_S:
            self._said_at = now
            self._say(f"  {progress_words(self._pace, now)}")

    def _say(self, sentence: str, at: int = 1, first: str = "", style: str = "") -> None:
        """Print a sentence, unless the user asked for less output than level `at`.

        `first`: a word to print before the sentence; `style` is its style on a terminal.
        """
        if self._verbosity < at or sys.stderr is None:
            return
        self._printed_at = time.monotonic()
        sentence = clean(sentence, self._secrets)
        if not self._at_terminal:
            print(*([first] if first else []), sentence, file=sys.stderr, flush=True)
            return
        if first:
            self._terminal.print(first, style=style, end=" ")
        self._terminal.print(sentence, markup=False)

    @functools.cached_property
    def _terminal(self) -> "Terminal":
        # Imported only for a terminal: it takes longer to import than many commands take to run.
        from rich.console import Console as Terminal

        return Terminal(stderr=True, highlight=False, soft_wrap=True)


def _is_notable(event: Placed) -> bool:
    """Return whether a view cost time, or put files where the app's packages or its own made files are."""
    outside = event.ref.hub == MADE or _PACKAGES.intersection(event.path.split("/"))
    return event.copied >= _WORTH_SAYING or bool(event.links and outside)


def _say_placed(event: Placed) -> str:
    copied = f": {say_size(event.copied)} copied" if event.copied >= _WORTH_SAYING else ""
    files = f", {say_count(sum(event.links.values()), 'file')}" if event.links else ""
    kept = f"; kept as they were: {say_count(event.kept, 'file')}" if event.kept else ""
    return f"placed {event.ref} at {event.path} ({event.kind}{files}){copied}{kept}"


def _targets(places: tuple[str, ...]) -> str:
    """Return the first targets in short form: host and port, or the name that was looked up."""
    named = list(dict.fromkeys(place.partition(" at ")[0].partition(" by ")[0] for place in places))
    more = ["…"] if len(named) > _NAMED else []
    return f" ({'; '.join(named[:_NAMED] + more)})" if named else ""
