"""Memory snapshots of one app: which one may be restored, and when to make one."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Callable, Iterator, Mapping, Sequence

from preheat.guard.memory_snapshot.criu import CannotFreeze, Criu, machine_identity, require_permission
from preheat.guard.memory_snapshot.freeze import Freezable, freeze
from preheat.guard.memory_snapshot.intact import Unusable
from preheat.guard.memory_snapshot.restore import Restorable
from preheat.guard.memory_snapshot.saved_memory import erase, is_written, read_saved, remove, unname
from preheat.guard.model.app import App
from preheat.guard.model.tail import Tail
from preheat.guard.model.wakeup import Ring, silent
from preheat.guard.probes.probes import CommandProbe, parse_probe

_READY_WITHIN_S, _GLANCE_S = 10.0, 0.01
_ALONE_WITHIN_S = 30.0  # a restore takes seconds


@dataclass(frozen=True)
class MemoryPolicy:
    """Where an app's memory snapshots are stored, and what they depend on.

    `identity` is a text with everything that was given to the app when it started: command, variables, models. `first`
    is the app's first use, a probe (guard/probes): it must succeed before a snapshot is made, and after each restore.
    `first_within_s` is how long a command may take for it. An app that no client has been connected to for
    `idle_after_s` seconds, behind its front, is saved and ended; 0: never. `code` are the folders with the app's code
    and packages.
    """

    folder: str
    identity: str
    first: str = ""
    first_within_s: float = 600.0
    idle_after_s: float = 0.0
    code: Sequence[str] = ()


class MemorySnapshots:
    """The memory snapshots of the app that a guard supervises; `ring` is called when there is a new notice.

    Raise CannotFreeze if none can be made or restored here, ValueError for an invalid first use.
    """

    ring: Ring = staticmethod(silent)

    def __init__(self, policy: MemoryPolicy, environ: Mapping[str, str]) -> None:
        require_permission()
        self.policy = policy
        self._notices: SimpleQueue[str] = SimpleQueue()
        self._criu = Criu.find(environ)
        identity = f"{machine_identity(self._criu)}\0{os.geteuid()}\0{policy.identity}"
        self.key = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
        self._place = os.path.join(policy.folder, self.key[:16])
        if policy.first:
            parse_probe(policy.first, Tail(), env=environ)
        self.saved_at = float("-inf")  # when the last snapshot was begun, as time.monotonic()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._eraser: threading.Thread | None = None

    def notices(self) -> Iterator[str]:
        """Yield the notices for the user since the last call."""
        with suppress(Empty):
            while True:
                yield self._notices.get_nowait()

    def find(self) -> Restorable | None:
        """Return the memory snapshot to restore; None if there is none that may be restored."""
        try:
            saved = read_saved(self._place, self.key)
        except (Unusable, OSError) as error:
            self.discard(str(error))
            return None
        return None if saved is None else Restorable(saved, self._criu)

    @contextmanager
    def alone(self, within_s: float = _ALONE_WITHIN_S) -> Iterator[None]:
        """Wait until no other guard restores a snapshot of this app, and keep others from it meanwhile.

        After `within_s` seconds, go on: a guard that hangs, or was stopped, must not keep this one from its app.
        """
        descriptor = os.open(self.policy.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        deadline = time.monotonic() + within_s
        try:
            while time.monotonic() < deadline:
                with suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(_GLANCE_S)
            yield
        finally:
            os.close(descriptor)

    def discard(self, why: str) -> None:
        """Remove the memory snapshot, and report why the app is started instead."""
        # The app does not wait until the files are deleted.
        self._eraser = threading.Thread(target=erase, args=(unname(self._place),), name="erase", daemon=True)
        self._eraser.start()
        self._say(f"memory snapshot not used: {why}; the app is started as usual")

    def fault(self, app: App, ready: Callable[[], bool], hurry: Callable[[], bool]) -> str:
        """Return why a restored app does not work, "" if it is ready within 10 s and its first use succeeds.

        `hurry` returns whether a second stop signal was received; then the app is not tried any further.
        """
        deadline = time.monotonic() + _READY_WITHIN_S
        while not ready():
            if hurry():
                return ""
            if time.monotonic() > deadline:
                return "the restored app was not ready"
            time.sleep(_GLANCE_S)
        return self._first_use(app)

    def freeze_soon(self, frozen: Freezable, app: App | None) -> bool:
        """Make a memory snapshot in a thread, unless one is being made; return whether one was begun.

        With `app`, its first use must succeed before, and nothing is done if there is a snapshot already.
        """
        busy = self._thread is not None and self._thread.is_alive()
        if busy or self._closed.is_set() or (app is not None and os.path.isdir(self._place)):
            return False
        self._thread = threading.Thread(target=self._freeze, args=(frozen, app), name="freeze", daemon=True)
        self._thread.start()
        return True

    def stop(self) -> None:
        """Make no more snapshots."""
        self._closed.set()

    def wait(self) -> None:
        """Wait for the snapshot that is being made, which fails once the app is stopped, or for one to be deleted."""
        for thread in (self._thread, self._eraser):
            if thread is not None:
                thread.join()

    def _say(self, words: str) -> None:
        self._notices.put(words)
        self.ring()

    def _first_use(self, app: App) -> str:
        if not self.policy.first:
            return ""
        probe = parse_probe(self.policy.first, Tail(), env=app.env, cwd=app.cwd, each_time=True)
        if isinstance(probe, CommandProbe):
            probe = probe._replace(within_s=self.policy.first_within_s)
        return "" if probe.ready() else f"its first use failed: {self.policy.first}"

    def _freeze(self, frozen: Freezable, app: App | None) -> None:
        try:
            fault = "" if app is None else self._first_use(app)
            if fault:
                raise CannotFreeze(fault)
            began = time.monotonic()
            saved = freeze(frozen, self._criu, self._place, self.key, self._closed.is_set)
        except CannotFreeze as error:
            if not self._closed.is_set():
                self._say(f"no memory snapshot: {error}")
            return
        self.saved_at = began
        self._remove_others()
        self._say(
            f"memory snapshot made: {saved.size / 1e6:.0f} MB for {saved.resident / 1e6:.0f} MB of memory;"
            " the next start restores it"
        )

    def _remove_others(self) -> None:
        for name in os.listdir(self.policy.folder):
            if os.path.join(self.policy.folder, name) != self._place and not is_written(name):
                remove(os.path.join(self.policy.folder, name))
