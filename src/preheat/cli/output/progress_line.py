"""Progress line: the line at the bottom of a terminal, with a bar while the total is known; removed when it is done."""

import functools
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from preheat.cli.output.progress import DownloadRate
from preheat.core.units import say_seconds, say_size

if TYPE_CHECKING:
    from rich.console import Console as Terminal
    from rich.progress import Progress, TaskID

_IDLE_S = 5.0
_PER_SECOND = 2  # how often the rate is drawn while nothing arrives


class ProgressLine:
    """Draws one line; `terminal` returns rich's console, which is imported only when a line is drawn."""

    def __init__(self, terminal: "Callable[[], Terminal]") -> None:
        self._terminal = terminal
        self._drawn: Progress | None = None
        self._task: TaskID | None = None
        # Some verbs emit events from several threads, and a thread may still do so after Ctrl-C.
        self._turn = threading.RLock()
        self._ended = False
        self._of: object = None  # what the line shows: bytes at a rate, bytes of a total, or only words

    def bytes(self, pace: DownloadRate) -> None:
        """Show the bytes done, their rate and the time left; the rate falls while nothing arrives."""
        words = _Words(functools.partial(progress_words, pace))
        self._draw(pace, words, (pace.done, pace.total) if pace.total else None)

    def parts(self, done: int, total: int, words: str) -> None:
        """Show words and a bar, filled by `done` of `total`."""
        self._draw("parts", words, (done, total))

    def words(self, words: str) -> None:
        """Show words alone."""
        self._draw("words", words, None)

    def close(self) -> None:
        """Remove the line, and show the cursor again."""
        with self._turn:
            if self._drawn is not None:
                self._drawn.stop()
                self._drawn = None

    def end(self) -> None:
        """Remove the line for good."""
        with self._turn:
            self._ended = True
            self.close()

    def _draw(self, of: object, words: object, parts: tuple[int, int] | None) -> None:
        with self._turn:
            if not self._ended:
                self._draw_now(of, words, parts)

    def _draw_now(self, of: object, words: object, parts: tuple[int, int] | None) -> None:
        if self._drawn is not None and self._of is not of:
            self.close()
        if self._drawn is None:
            from rich.progress import BarColumn, Progress, TextColumn

            bar = () if parts is None else (BarColumn(bar_width=None),)
            # Words change only when they are drawn again: no thread is needed, whose work `prove` would measure.
            self._drawn = Progress(
                *bar,
                TextColumn("{task.fields[words]}", markup=False),
                console=self._terminal(),
                transient=True,
                auto_refresh=isinstance(of, DownloadRate),
                refresh_per_second=_PER_SECOND,
            )
            self._of, self._task = of, self._drawn.add_task("", words="")
            self._drawn.start()
        if self._task is not None:
            done, total = parts or (0, 1)
            self._drawn.update(self._task, total=total, completed=done, words=words, refresh=True)


class _Words:
    """Words that are made when they are drawn, since a rate falls while nothing arrives."""

    def __init__(self, words_at: Callable[[float], str]) -> None:
        self._words_at = words_at

    def __str__(self) -> str:
        return self._words_at(time.monotonic())


def progress_words(pace: DownloadRate, now: float) -> str:
    """Return the bytes done, the rate and the time left, or for how long nothing has arrived."""
    words = f"{say_size(pace.done)} of {say_size(pace.total)}"
    if (idle_s := pace.idle_s(now)) >= _IDLE_S:
        return f"{words}, nothing arrived for {idle_s:.0f} s"
    left_s = pace.left_s(now)
    words = f"{words}, {say_size(pace.rate(now))}/s"
    return words if left_s is None else f"{words}, {say_seconds(left_s)} left"
