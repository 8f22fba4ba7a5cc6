"""Access log: write one JSON line for each response and eviction, without tokens."""

import contextlib
import json
import sys
import threading
from datetime import UTC, datetime
from typing import TextIO

import msgspec

from preheat.core.errors import UsageError
from preheat.core.events import Answered, Event, Evicted

STDOUT = "-"


class AccessLog:
    """Listener that appends to the file `at`, or to stdout for `-`. Raise UsageError if the file cannot be opened."""

    def __init__(self, at: str) -> None:
        self._at = at
        self._turn = threading.Lock()
        self._out = self._open()

    def reopen(self) -> None:
        """Reopen the file by its name after log rotation.

        If that fails, raise UsageError and keep writing to the old file.
        """
        new = self._open()
        with self._turn:
            old, self._out = self._out, new
        if old is not sys.stdout:
            old.close()

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            if self._out is not sys.stdout:
                self._out.close()

    def __call__(self, event: Event) -> None:
        """See Listener. On a full disk lines are lost, and responses are unaffected."""
        facts = _facts(event)
        if facts is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = msgspec.json.encode({"time": now, **facts}).decode()
        if not line.isascii():
            # The log may be a terminal: C1 controls and letters that change the direction come from clients.
            line = json.dumps(json.loads(line))
        with self._turn, contextlib.suppress(OSError, ValueError):
            self._out.write(line + "\n")
            self._out.flush()

    def _open(self) -> TextIO:
        if self._at == STDOUT:
            return sys.stdout
        try:
            return open(self._at, "a", encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{self._at} cannot be written: {error.strerror}", hint="use another FILE for --access-log"
            ) from error


def _facts(event: Event) -> dict[str, object] | None:
    match event:
        case Answered():
            return {
                "client": event.client,
                "method": event.method,
                "path": event.path,
                "status": event.status,
                "sent": event.sent,
                "seconds": round(event.seconds, 4),
                "agent": event.agent,
            }
        case Evicted():
            return {"evicted": str(event.ref), "commit": event.commit, "size": event.size}
    return None
