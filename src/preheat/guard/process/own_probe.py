"""Own probe: a probe of an app that does not take another program's port for the app's."""

from __future__ import annotations

import os
from typing import Callable

from preheat.guard.kernel.ports import Holder, port_of_others
from preheat.guard.kernel.process_tree import name
from preheat.guard.probes.probes import Probe, parse_probe, port_of
from preheat.guard.process.process import Process

# These programs start an app whose port is held by a service of theirs.
_LAUNCHERS = frozenset(("docker", "podman", "nerdctl", "docker-compose", "kubectl", "ssh"))


class OwnPortProbe:
    """Ready when `probe` is ready and no process but the app's listens on the local port that it connects to.

    For an app in a network namespace of its own, the guard must be the process that listens. Once that has been
    verified, it is not verified again. `on_other` is called once with the process that has the port. It is not called
    for an app that ends: while the kernel ends its threads, its port stays open, and no process seems to have it.
    """

    def __init__(self, probe: Probe, port: int, process: Process, on_other: Callable[[Holder], None]) -> None:
        self._probe = probe
        self._port = port
        self._process = process
        self._on_other = on_other
        self._verified = self._told = False
        self._unknown_before = False

    def ready(self) -> bool:
        """See Probe."""
        if not self._probe.ready():
            return False
        if not self._verified:
            # In a network namespace of its own, the app's port is published by the guard.
            pids = {os.getpid()} if self._process.app.isolated else self._process.pids()
            other = None if _LAUNCHERS.intersection(map(name, pids)) else port_of_others(self._port, pids)
            if other is not None and other.pid in self._process.pids():
                return False  # a process that the app has just started; the next look finds it
            if other is not None and self._is_other(other, pids):
                self._told = True
                self._on_other(other)
            self._verified = other is None
        return self._verified

    def _is_other(self, other: Holder, pids: set[int]) -> bool:
        """Return whether to report that another process has the port, and not an app that ends."""
        # Read after the search for the holder, and set before the signal that ends the app.
        if self._told or self._process.stopping or not pids or not self._process.alive():
            return False
        known, self._unknown_before = bool(other.pid) or self._unknown_before, not other.pid
        return known


def own_probe(
    text: str, process: Process, on_other: Callable[[Holder], None] = lambda _other: None, *, each_time: bool = False
) -> Probe:
    """Return the probe `text` of the app that runs in `process`; raise ValueError as `parse_probe` does."""
    app = process.app
    probe = parse_probe(text, process.tail, env=app.env, cwd=app.cwd, each_time=each_time)
    port = port_of(text)
    return probe if port is None else OwnPortProbe(probe, port, process, on_other)
