"""Read-only: write-protect folders for an app, even if it runs as root.

The calling process enters its own mount namespace and bind-mounts each folder read-only over itself
(mount_namespaces(7)). Child processes inherit the mounts; other processes do not see them. This requires permission to
mount; without it, only the file modes protect the folders.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Sequence

from preheat.guard.kernel import namespaces

_CAP_SYS_ADMIN = 21  # linux/capability.h


def can_shield() -> bool:
    """Return whether this process may mount: root with CAP_SYS_ADMIN, which few containers grant."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    with suppress(OSError, ValueError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


def shield(folders: Sequence[str]) -> bool:
    """Write-protect `folders` for this process and its future children; return whether that succeeded."""
    if not folders or not can_shield():
        return False
    try:
        namespaces.own_mounts()
        for folder in folders:
            namespaces.mount_read_only(folder)
    except OSError:
        return False
    return True
