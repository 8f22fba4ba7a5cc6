"""File checks: check each file that a mirror downloads once, a few at a time, and fairly between clients."""

import os
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from preheat.core.errors import CheckFailed, MirrorBusy, PreheatError
from preheat.core.snapshot import File

# A check scans in a process of its own, which may take 3 GiB of memory and 300 s.
MOST_AT_ONCE = min(4, max(2, os.cpu_count() or 1))
_WAIT_S = 60.0
_MOST_QUEUED = 10_000
_LAST_S = 10.0
_MOST_REMEMBERED = 100_000  # each takes about 200 bytes


class FairSlots:
    """Slots that clients wait for. The client with the fewest slots is next; one client gets at most half of them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._turn = threading.Condition()  # guards the two below
        self._holding: Counter[str] = Counter()
        self._waiting: list[tuple[object, str]] = []

    @contextmanager
    def slot(self, client: str, within_s: float) -> Iterator[None]:
        """Hold a slot; raise MirrorBusy if none is free within some seconds."""
        ticket = (object(), client)
        with self._turn:
            self._waiting.append(ticket)
            try:
                if not self._turn.wait_for(lambda: self._is_next(ticket), within_s):
                    raise MirrorBusy("this mirror is scanning other files", wait_s=10.0)
                self._holding[client] += 1
            finally:
                self._waiting.remove(ticket)
                self._turn.notify_all()
        try:
            yield
        finally:
            with self._turn:
                self._holding[client] -= 1
                self._holding += Counter()  # forgets clients that hold none
                self._turn.notify_all()

    def _is_next(self, ticket: tuple[object, str]) -> bool:
        if self._holding.total() >= self._count or self._holding[ticket[1]] >= max(1, self._count // 2):
            return False
        return min(self._waiting, key=lambda one: self._holding[one[1]]) is ticket


class FileChecks:
    """Call `check` with each file once; it raises CheckFailed for a file that must not be served.

    Requests for a file that is being checked wait for that check. Thread-safe.
    """

    def __init__(self, check: Callable[[File], None]) -> None:
        self._check = check
        self._slots = FairSlots(MOST_AT_ONCE)
        self._changed = threading.Condition()  # guards the two below
        self._running: set[File] = set()
        self._results: OrderedDict[File, CheckFailed | None] = OrderedDict()

    def __call__(self, file: File, client: str) -> None:
        """Check a file for a client; raise CheckFailed, or MirrorBusy if it cannot be checked within a minute."""
        with self._changed:
            if not self._changed.wait_for(lambda: file not in self._running, _WAIT_S):
                raise MirrorBusy(f"{file.path} is still being scanned", wait_s=10.0)
            if file in self._results:
                self._results.move_to_end(file)
                if (failed := self._results[file]) is not None:
                    raise failed.again()
                return
            self._running.add(file)
        try:
            with self._slots.slot(client, _WAIT_S):
                self._check(file)
            self._remember(file, None)
        except CheckFailed as error:
            self._remember(file, error.again())
            raise
        finally:
            with self._changed:
                self._running.discard(file)
                self._changed.notify_all()

    def _remember(self, file: File, failed: CheckFailed | None) -> None:
        with self._changed:
            self._results[file] = failed
            while len(self._results) > _MOST_REMEMBERED:
                self._results.popitem(last=False)


class ChecksBehind:
    """Call `check` with each file once, one at a time in a thread of its own, so that no client waits for it.

    A companion of the server. `skipped` is called with a file that was not checked, and the reason. Thread-safe.
    """

    def __init__(self, check: Callable[[File], None], skipped: Callable[[File, str], None]) -> None:
        self._check, self._skipped = check, skipped
        self._changed = threading.Condition()  # guards all below
        self._queue: deque[File] = deque()
        self._seen: OrderedDict[File, None] = OrderedDict()
        self._is_running = False

    def __call__(self, file: File, _client: str) -> None:
        """Queue a file, unless 10,000 are waiting; its client does not matter."""
        with self._changed:
            if file in self._seen:
                return
            is_full = len(self._queue) >= _MOST_QUEUED
            begins = not is_full and not self._is_running
            if not is_full:
                self._seen[file] = None
                if len(self._seen) > _MOST_REMEMBERED:
                    self._seen.popitem(last=False)
                self._queue.append(file)
                self._is_running = True
        if is_full:
            self._skipped(file, f"{_MOST_QUEUED} files are waiting for the scanner")
        if begins:
            try:
                threading.Thread(target=self._work, name="checks", daemon=True).start()
            except RuntimeError:  # too many threads: the next file starts one
                with self._changed:
                    self._is_running = False

    def start(self) -> None:
        """See Companion: the first file starts the thread."""

    def stop(self) -> None:
        """Wait up to 10 seconds for the files in the queue, and skip the rest."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_running, _LAST_S)
            rest = list(self._queue)
            self._queue.clear()
        for file in rest:
            self._skipped(file, "the mirror stopped first")

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._queue:
                    self._is_running = False
                    self._changed.notify_all()
                    return
                file = self._queue.popleft()
            try:
                self._check(file)
            except (PreheatError, OSError) as error:
                self._skipped(file, error.message if isinstance(error, PreheatError) else str(error))
