"""Enclosure: keep an app's processes together, so that none survives a stop or the end of the guard, and isolate them.

In the order of preference, for an app that is `contained`:

- a cgroup (kernel/cgroup.py), which changes nothing for the app
- for root, and for an isolated app, a PID namespace: the app sees only its own processes, and the kernel kills all of
  them when the first one, the warden, ends (pid_namespaces(7))
- otherwise the warden kills its descendants until none is left; a process that was detached, and kills the warden,
  survives

A user namespace, which a PID namespace requires for other users, is entered only for an isolated app, and for one whose
memory is saved: sudo does not work in it, and files of other users appear to belong to nobody.
"""

from __future__ import annotations

import functools
import os
from contextlib import suppress
from typing import NamedTuple, Sequence

from preheat.guard.kernel import cgroup, namespaces, unix_sockets
from preheat.guard.kernel.read_only import shield
from preheat.guard.model.app import App
from preheat.guard.process import warden

# An app that runs as root could make the kernel start programs outside through these (core(5), cgroups(7)).
_SETTINGS = ("/proc/sys", "/sys")


# Enough PIDs for CRIU below those of an app that it restores; and all below the smallest default of pid_max.
_LOW_PIDS, _PIDS = 300, 30_000
WARDEN = b"warden:"  # begins the line with the PID of the warden outside of its namespace


class Enclosure(NamedTuple):
    """How the processes of one start are kept together: the folder of a cgroup, or a PID namespace, or neither.

    `own_user`: the PID namespace is in a user namespace, where the user is root. `unprivileged`: the app has no
    privileges outside its namespaces; `hidden`: the sockets that it must not see.
    """

    cgroup: str = ""
    own_pids: bool = False
    own_user: bool = False
    unprivileged: bool = False
    hidden: Sequence[str] = ()

    @classmethod
    def of(cls, app: App) -> Enclosure:
        """Return the enclosure of a new start of an app; creates its cgroup."""
        if app.isolated:
            return cls("", _permits(True, True), unprivileged=_permits(True, False), hidden=unix_sockets.bound())
        if app.freezable:
            return cls(own_pids=True, own_user=os.geteuid() != 0)
        folder = cgroup.create() if app.contained else ""
        return cls(folder, app.contained and not folder and os.geteuid() == 0 and _permits(False, True))

    @property
    def holds(self) -> bool:
        """Return whether no process can leave it, short of writing to another cgroup."""
        return bool(self.cgroup) or self.own_pids

    def enter_pids(self, startup: int, restored: bool = False) -> None:
        """Continue in a child process, the first in a new PID namespace. Raise OSError.

        Its PID is written to `startup`, after `WARDEN`. The calling process only waits for it, and then exits; if it is
        killed, the kernel kills the child. An app that is `restored` needs its old PIDs: the low ones are left to CRIU.
        """
        if not self.own_pids:
            return
        if self.own_user:
            namespaces.own_user(namespaces.PIDS, as_root=True)
        else:
            namespaces.unshare(namespaces.PIDS)
        outside = os.getpid()
        first = os.fork()
        if first == 0:
            warden.die_with(0)  # the parent is not visible here
            if not restored:
                namespaces.count_pids_from(outside % _PIDS + _LOW_PIDS)
            return
        try:
            os.write(startup, WARDEN + b"%d\n" % first)
            warden.stand_by(first)
        finally:
            os._exit(1)

    def enter(self, read_only: Sequence[str]) -> None:
        """Move this process, which becomes the app, into the enclosure, with `read_only` folders write-protected."""
        if self.cgroup:
            with suppress(OSError):
                cgroup.enter(self.cgroup)
        if self.own_pids or self.unprivileged:
            namespaces.own_mounts()
        if self.own_pids:
            namespaces.mount_proc()
        shield(read_only)
        if self.unprivileged:
            unix_sockets.hide(self.hidden)
            for settings in _SETTINGS:
                with suppress(OSError):
                    namespaces.mount_read_only(settings)
            namespaces.give_up_privileges()

    def clear(self, app: int) -> None:
        """As the warden of `app`, before it exits: kill all remaining processes."""
        if not self.own_pids:  # otherwise the kernel kills them when the warden exits
            self.end()
            warden.sweep(app)

    def end(self) -> None:
        """Kill all processes in the cgroup, if there is one, and remove it."""
        if self.cgroup:
            cgroup.end(self.cgroup)


def weakness(app: App) -> str:
    """Return a sentence about how an app could escape its enclosure on this system, or "" if it cannot."""
    enclosure = Enclosure.of(app)
    enclosure.end()
    if app.isolated and not enclosure.unprivileged:
        return "the app could leave its network namespace if it runs as root: see docs/guard.md"
    if not enclosure.holds:
        return "no cgroup or PID namespace is permitted here: a process that kills the app's warden can survive"
    return ""


@functools.lru_cache(maxsize=None)
def _permits(isolated: bool, own_pids: bool) -> bool:
    """Return whether this process can create these namespaces; child processes try it."""

    def enter() -> None:
        from preheat.guard.net import network_namespace

        if isolated:
            network_namespace.enter()
        if own_pids:
            namespaces.unshare(namespaces.PIDS)

    def inside() -> None:
        namespaces.own_mounts()
        if own_pids:
            namespaces.mount_proc()
        if isolated:
            namespaces.give_up_privileges()

    return namespaces.succeed(enter, inside)
