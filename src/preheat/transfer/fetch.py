"""Fetch: carry a snapshot's missing files from a hub into the library, over many connections."""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from preheat.errors import Busy, HubError
from preheat.events import Event, Listener, Received, Stored
from preheat.hub import Hub
from preheat.library.library import Library
from preheat.library.partial import Partial
from preheat.snapshot import File, Snapshot
from preheat.transfer.plan import Part, Policy, cut, order, part_size

_BUFFER = 256 << 10
_LOOK_AGAIN_S = 0.2


def fetch(
    snapshot: Snapshot, missing: Iterable[File], hub: Hub, library: Library, policy: Policy, on_event: Listener
) -> None:
    """Bring the `missing` files in; return when all are in the library, whole and verified.

    `policy.connections` threads ask for parts; the one that brings a file's last part seals it, so hashing runs
    beside other downloads. Events come from those threads, one at a time. What another process is fetching is
    waited for, and taken over if that process dies. The first error ends the fetch and is raised; what arrived
    by then is kept for the next one. A KeyboardInterrupt does not wait for reads under way.
    """
    board = _Board(order(missing), library, policy)
    speaking = threading.Lock()

    def tell(event: Event) -> None:
        with speaking:
            on_event(event)

    def work() -> None:
        buffer = memoryview(bytearray(_BUFFER))
        try:
            while (task := board.take()) is not None:
                if task.part is not None:
                    _carry(task, snapshot, hub, buffer, board, tell)
                if board.done(task):
                    library.keep(task.partial)
                    tell(Stored(task.partial.file))
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, which raises it
            board.fail(error)

    threads = [threading.Thread(target=work, name=f"fetch-{n}", daemon=True) for n in range(policy.connections)]
    try:
        for thread in threads:
            thread.start()
        board.wait(threads)
    finally:
        board.stop()


@dataclass(frozen=True, slots=True)
class _Task:
    """A part to carry, or, without a part, a file that only wants sealing."""

    partial: Partial
    part: Part | None


class _Board:
    """What is left to do, shared by the threads."""

    def __init__(self, files: list[File], library: Library, policy: Policy) -> None:
        self._library = library
        self._files = deque(files)
        self._part_size = part_size(sum(file.size for file in files), policy.connections)
        self._tasks: deque[_Task] = deque()
        self._left: dict[Partial, int] = {}
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self.stopping = False

    def take(self) -> _Task | None:
        """Hand out the next task; wait while only other processes' files are left; None when there is no more."""
        with self._changed:
            while not self.stopping:
                if self._tasks or self._begin_a_file():
                    return self._tasks.popleft()
                if not self._files:
                    return None
                self._changed.wait(_LOOK_AGAIN_S)
            return None

    def done(self, task: _Task) -> bool:
        """Strike out a task; say whether it was its file's last."""
        with self._changed:
            self._left[task.partial] -= 1
            if self._left[task.partial] or self.stopping:
                return False
            del self._left[task.partial]
            return True

    def fail(self, error: BaseException) -> None:
        """Stop everybody; the first error is the one to raise."""
        with self._changed:
            self._error = self._error or error
            self.stopping = True
            self._changed.notify_all()

    def wait(self, threads: list[threading.Thread]) -> None:
        """Wait until all is done; raise what went wrong."""
        for thread in threads:
            while thread.is_alive() and not self.stopping:
                thread.join(_LOOK_AGAIN_S)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Stop everybody, and let go of what is not finished."""
        with self._changed:
            self.stopping = True
            for partial in self._left:
                partial.close()

    def _begin_a_file(self) -> bool:
        """Open the next file that no other process has; say whether that made tasks."""
        for _ in range(len(self._files)):
            file = self._files.popleft()
            try:
                partial = self._library.begin(file)
            except Busy:
                self._files.append(file)
                continue
            if partial is None:
                continue
            parts: list[Part | None] = [*cut(partial.gaps, self._part_size)] or [None]
            self._left[partial] = len(parts)
            self._tasks.extend(_Task(partial, part) for part in parts)
            return True
        return False


def _carry(task: _Task, snapshot: Snapshot, hub: Hub, buffer: memoryview, board: _Board, tell: Listener) -> None:
    """Bring one part from the hub to the disk."""
    assert task.part is not None
    start, stop = task.part
    partial = task.partial
    reader = hub.open(snapshot, partial.file, start, stop)
    try:
        while start < stop and not board.stopping:
            count = reader.readinto(buffer[: stop - start])
            if count == 0:
                raise HubError(f"{partial.file.path} ended {stop - start} bytes early", hint="pull again")
            partial.write(start, buffer[:count])
            start += count
            tell(Received(partial.file, count))
    finally:
        reader.close()
    partial.follow()
