"""Access log: write one JSON line for each response and eviction, without tokens."""

import contextlib
import json
import sys
import threading
from datetime import UTC, datetime
from typing import BinaryIO

import msgspec

from preheat.core.errors import UsageError
from preheat.core.events import Answered, Event, Evicted
from preheat.disk.regular_file import open_to_write, why

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
        if old is not None:
            old.close()

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            if self._out is not None:
                self._out.close()

    def __call__(self, event: Event) -> None:
        """See Listener. On a full disk, or in a full pipe, lines are lost, and responses are unaffected."""
        facts = _facts(event)
        if facts is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = msgspec.json.encode({"time": now, **facts}).decode()
        if not line.isascii():
            # The log may be a terminal: C1 controls and letters that change the direction come from clients.
            line = json.dumps(json.loads(line))
        with self._turn, contextlib.suppress(OSError, ValueError):
            if self._out is not None:
                self._out.write((line + "\n").encode())
            else:
                sys.stdout.write(line + "\n")
                sys.stdout.flush()

    def _open(self) -> BinaryIO | None:
        if self._at == STDOUT:
            return None
        try:
            return open_to_write(self._at, append=True)
        except OSError as error:
            raise UsageError(
                f"{self._at} cannot be written: {why(error)}", hint="use another FILE for --access-log"
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
