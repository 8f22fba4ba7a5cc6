"""Persistent: a hub that asks again, and goes on where the line broke."""

from collections.abc import Callable

from preheat.errors import HubUnavailable
from preheat.events import Listener, Retrying
from preheat.hub import Hub, Reader
from preheat.ref import Ref
from preheat.retry import Patience, persist
from preheat.snapshot import File, Snapshot


class Persistent:
    """A hub that has patience with another."""

    def __init__(self, hub: Hub, patience: Patience, on_event: Listener) -> None:
        self._hub = hub
        self._patience = patience
        self._on_event = on_event

    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub."""
        return persist(lambda: self._hub.resolve(ref), self._patience, self._telling(str(ref)))

    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """See Hub. The reader opens itself anew where it broke, and never ends early."""

        def reopen(at: int) -> Reader:
            return self._hub.open(snapshot, file, at, stop)

        return _PersistentReader(reopen, start, stop, self._patience, self._telling(file.path))

    def _telling(self, what: str) -> Callable[[HubUnavailable, float], None]:
        return lambda error, wait_s: self._on_event(Retrying(what, error.message, wait_s))


class _PersistentReader:
    """Bytes that keep coming; patience begins anew with each that arrives."""

    def __init__(
        self,
        reopen: Callable[[int], Reader],
        start: int,
        stop: int,
        patience: Patience,
        on_wait: Callable[[HubUnavailable, float], None],
    ) -> None:
        self._reopen = reopen
        self._at = start
        self._stop = stop
        self._patience = patience
        self._on_wait = on_wait
        self._reader: Reader | None = None

    def readinto(self, buffer: memoryview) -> int:
        """See Reader."""
        if self._at >= self._stop:
            return 0
        count = persist(lambda: self._read(buffer), self._patience, self._on_wait)
        self._at += count
        return count

    def close(self) -> None:
        """See Reader."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _read(self, buffer: memoryview) -> int:
        if self._reader is None:
            self._reader = self._reopen(self._at)
        try:
            count = self._reader.readinto(buffer)
            if count == 0:
                raise HubUnavailable("the hub ended its answer early", hint="pull again: it goes on where it was")
        except HubUnavailable:
            self.close()
            raise
        return count
