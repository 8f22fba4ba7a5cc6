"""Download lines: output lines in which an app reports a download, in a start that should be offline."""

from __future__ import annotations

import re
import threading

# As hubs' clients, torch hub, whisper, nltk and wget put it; and any bar that counts bytes a second.
_SAYS = re.compile(r"\bdownloading\b|\bfetching \d+ files\b|\d+%\|.*B/s\]|--\s+https?://\S+$", re.IGNORECASE)
_DENIES = re.compile(
    r"\b(?:not|no|never|without|skip\w*|instead of|disabled?|already|avoid\w*|finished)\b.{0,40}download"
    r"|downloading\b.{0,30}\b(?:disabled|skipped|not|off)\b",
    re.IGNORECASE,
)
_MOST, _LONGEST = 20, 200


def confesses(line: str) -> bool:
    """Whether a line says that something is fetched."""
    return _SAYS.search(line) is not None and _DENIES.search(line) is None


class Confessions:
    """The first such lines of several streams, each once. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: dict[int, bytes] = {}
        self._lines: dict[str, None] = {}

    def feed(self, stream: int, chunk: bytes) -> None:
        """Take in what `stream` said; a line may come in pieces, and a bar writes over itself."""
        with self._lock:
            *lines, begun = re.split(rb"[\r\n]", self._begun.get(stream, b"") + chunk)
            self._begun[stream] = begun[-4096:]
            for line in lines:
                self._hear(line.decode("utf-8", "replace").strip()[:_LONGEST])

    def lines(self) -> tuple[str, ...]:
        """List them, bars by what stands in front of their figures."""
        with self._lock:
            return tuple(self._lines)

    def _hear(self, line: str) -> None:
        if len(self._lines) < _MOST and confesses(line):
            self._lines[re.sub(r":?\s*\d+%\|.*", "", line)] = None
