"""Download lines: find output lines in which an app reports a download, in a start that should be offline."""

from __future__ import annotations

import re
import threading

# As printed by hub clients, torch hub, whisper, nltk and wget; and any progress bar in bytes per second.
_SAYS = re.compile(r"\bdownloading\b|\bfetching \d+ files\b|\d+%\|.*B/s\]|--\s+https?://\S+$", re.IGNORECASE)
_DENIES = re.compile(
    r"\b(?:not|no|never|without|skip\w*|instead of|disabled?|already|avoid\w*|finished)\b.{0,40}download"
    r"|downloading\b.{0,30}\b(?:disabled|skipped|not|off)\b",
    re.IGNORECASE,
)
_MOST, _LONGEST = 20, 200


def reports_download(line: str) -> bool:
    """Return whether a line reports a download."""
    return _SAYS.search(line) is not None and _DENIES.search(line) is None


class DownloadLines:
    """Collect the first 20 distinct lines of several streams that report a download. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: dict[int, bytes] = {}
        self._lines: dict[str, None] = {}

    def feed(self, stream: int, chunk: bytes) -> None:
        """Add output of `stream`; a chunk may end in the middle of a line, and a carriage return ends a line."""
        with self._lock:
            *lines, begun = re.split(rb"[\r\n]", self._begun.get(stream, b"") + chunk)
            self._begun[stream] = begun[-4096:]
            for line in lines:
                self._add_line(line.decode("utf-8", "replace").strip()[:_LONGEST])

    def lines(self) -> tuple[str, ...]:
        """Return the lines; progress bars without their figures."""
        with self._lock:
            return tuple(self._lines)

    def _add_line(self, line: str) -> None:
        if len(self._lines) < _MOST and reports_download(line):
            self._lines[re.sub(r":?\s*\d+%\|.*", "", line)] = None
