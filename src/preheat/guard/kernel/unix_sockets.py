"""Unix sockets: hide from an app the sockets in the file system that other programs listen on.

A network namespace does not separate them: through the socket of a container daemon, of systemd or of a terminal
multiplexer, an app could have a program started outside.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import Sequence

from preheat.guard.kernel import namespaces

# NVIDIA's drivers use these, and respond to nothing else.
_VISIBLE = ("/run/nvidia-persistenced/", "/var/run/nvidia-persistenced/", "/tmp/nvidia-mps")  # noqa: S108 - its default


def bound() -> list[str]:
    """List the sockets in the file system that a process of this network namespace is bound to now."""
    found = set()
    with suppress(OSError), open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            # Num RefCount Protocol Flags Type St Inode Path
            path = line.rstrip("\n").split(None, 7)[7:]
            if path and path[0].startswith("/") and not path[0].startswith(_VISIBLE):
                found.add(path[0])
    return sorted(found)


def hide(paths: Sequence[str]) -> None:
    """Mount /dev/null over each socket; the mount namespace must be a new one. Skip those that do not exist here."""
    for path in paths:
        with suppress(OSError):
            if stat.S_ISSOCK(os.stat(path).st_mode):
                namespaces.mount("/dev/null", path, namespaces.BIND)
