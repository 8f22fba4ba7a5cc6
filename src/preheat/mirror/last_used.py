"""Last used: when each version was last requested, on disk, so that it survives a restart."""

import threading
import time

from preheat.core.snapshot import Snapshot
from preheat.library.records.records import Records

# Frequent enough to rank versions by use, rare enough to cost nothing.
_NOTED_EVERY_S = 60.0
_MOST = 10_000


class Uses:
    """Record when versions are used, at most once a minute each. Thread-safe."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._turn = threading.Lock()
        self._noted: dict[tuple[str, ...], float] = {}

    def note(self, snapshot: Snapshot) -> None:
        """Record that a version is used now."""
        ref, now = snapshot.ref, time.monotonic()
        version = ref.hub, ref.kind, ref.repo, snapshot.commit
        with self._turn:
            if now - self._noted.get(version, float("-inf")) < _NOTED_EVERY_S:
                return
            if len(self._noted) >= _MOST:
                self._noted.clear()
            self._noted[version] = now
        self._records.used(ref.at(snapshot.commit))
