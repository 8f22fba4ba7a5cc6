"""Tail: the last lines of an app's output."""

from __future__ import annotations

import re
import threading
from collections import deque
from typing import Deque

MOST_LINES = 200
MOST_BYTES = 64 * 1024


class LineMatcher:
    """Match a pattern against a tail's lines; `seen` stays true after the first match."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self.seen = False

    def match(self, line: str) -> None:
        """Match one line."""
        self.seen = self.seen or self._pattern.search(line) is not None


class Tail:
    """Store the last 200 lines, at most 64 KiB, of several streams, in the order of the line ends. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: Deque[bytes] = deque()
        self._size = 0
        self._begun: dict[int, bytes] = {}
        self._sights: list[LineMatcher] = []

    def feed(self, stream: int, chunk: bytes) -> None:
        """Add output of `stream`; a chunk may end in the middle of a line."""
        with self._lock:
            *lines, begun = (self._begun.get(stream, b"") + chunk).split(b"\n")
            self._begun[stream] = begun[-MOST_BYTES:]
            for line in lines:
                self._add(line)
            if begun:
                # Match unfinished lines too: a prompt or banner may have no line end.
                self._show(begun)

    def lines(self, count: int = MOST_LINES) -> tuple[str, ...]:
        """Return the last `count` lines, unfinished ones last."""
        with self._lock:
            lines = [*self._lines, *(begun for begun in self._begun.values() if begun)]
            return tuple(_text(line) for line in lines[-count:]) if count else ()

    def watch(self, pattern: re.Pattern[str]) -> LineMatcher:
        """Return a matcher of `pattern`, applied to the stored lines and all later ones."""
        matcher = LineMatcher(pattern)
        with self._lock:
            for line in (*self._lines, *self._begun.values()):
                matcher.match(_text(line))
            self._sights.append(matcher)
        return matcher

    def _add(self, line: bytes) -> None:
        self._show(line)
        kept = line[-MOST_BYTES:]
        self._lines.append(kept)
        self._size += len(kept)
        while self._size > MOST_BYTES or len(self._lines) > MOST_LINES:
            self._size -= len(self._lines.popleft())

    def _show(self, line: bytes) -> None:
        for matcher in self._sights:
            if not matcher.seen:
                matcher.match(_text(line))


def _text(line: bytes) -> str:
    # A progress bar overwrites itself: keep only the text after the last carriage return, as a terminal does.
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
