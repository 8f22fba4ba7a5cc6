"""Idle watch: when to end an app that no client uses, so that its memory is saved and the front holds its port."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from preheat.guard.memory_snapshot.memory_snapshots import MemorySnapshots
    from preheat.guard.model.wakeup import Ring
    from preheat.guard.net.port_relay import Front
    from preheat.guard.supervise.instances import Instances


class IdleWatch:
    """Decides when the serving instance may be ended, and when a client requires it again; for the supervisor's loop.

    Without a front, or without memory snapshots and their policy's `idle_after_s`, an app is never idle. `ring` is
    called when a client waits, and when there is a notice about a memory snapshot.
    """

    def __init__(self, front: Front | None, memory: MemorySnapshots | None, instances: Instances, ring: Ring) -> None:
        self._after_s = 0.0 if memory is None else memory.policy.idle_after_s
        self._front = front if self._after_s > 0 else None
        self._memory = memory
        self._instances = instances
        self._next_try = 0.0
        if memory is not None:
            memory.ring = ring
        if front is not None:
            front.on_held = ring

    def may_end(self) -> bool:
        """Return whether the instance, which is ready, may be ended now; from then on the front holds new clients.

        Begins a memory snapshot of an instance that has not been used for long enough, if there is none since.
        """
        front, memory = self._front, self._memory
        if front is None or memory is None:
            return False
        now = time.monotonic()
        unused_s = front.unused_s()
        if unused_s < self._after_s:
            return False
        if memory.saved_at > now - unused_s:
            return front.hold()
        if now >= self._next_try and self._instances.freeze_soon(again=True):
            self._next_try = now + self._after_s
        return False

    def is_wanted(self) -> bool:
        """Return whether a client waits for an app that was ended."""
        return self._front is not None and self._front.holds_clients()

    def next_look_s(self) -> float:
        """Return the seconds until `may_end` could change."""
        if self._front is None or self._memory is None:
            return float("inf")
        return max(0.5, self._after_s - self._front.unused_s())
