"""Restore: let CRIU make an app's processes again from its saved memory, in place of starting it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Callable

from preheat.guard.kernel.descriptors import discard_standard_streams, inherit_none
from preheat.guard.memory_snapshot.criu import Criu
from preheat.guard.memory_snapshot.saved_memory import SavedMemory

_STDOUT, _STDERR = 198, 199  # CRIU and the restored app use the low descriptors


@dataclass(frozen=True)
class Restorable:
    """A memory snapshot that was verified, and the CRIU that restores it."""

    saved: SavedMemory
    criu: Criu


def restore(found: Restorable, enter: Callable[[], None], stdout: int, stderr: int) -> int:
    """As the warden, restore an app as a child of this process; return its PID, or 0 if CRIU failed.

    `enter` prepares the namespaces in the process that becomes CRIU. The app's output goes to the descriptors `stdout`
    and `stderr`.
    """
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            enter()
            inherit_none()
            os.dup2(stdout, _STDOUT, inheritable=True)
            os.dup2(stderr, _STDERR, inheritable=True)
            discard_standard_streams()
            pipes = dict(zip(found.saved.pipes, (_STDOUT, _STDERR)))
            command = found.criu.restore(found.saved.folder, pipes)
            os.execv(command[0], command)  # noqa: S606 - CRIU
        finally:
            os._exit(127)
    with suppress(ChildProcessError):
        if os.waitpid(child, 0)[1] == 0:
            return found.saved.pid
    return 0
