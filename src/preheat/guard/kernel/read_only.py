"""Read-only: write-protect folders for an app, even if it runs as root.

The calling process enters its own mount namespace and bind-mounts each folder read-only over itself
(mount_namespaces(7)). Child processes inherit the mounts; other processes do not see them. This requires permission to
mount; without it, only the file modes protect the folders.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from typing import Sequence

# linux/sched.h, linux/mount.h, linux/capability.h
_CLONE_NEWNS = 0x00020000
_MS_RDONLY = 1
_MS_REMOUNT = 32
_MS_BIND = 4096
_MS_REC = 16384
_MS_SLAVE = 1 << 19
_MS_RELATIME = 1 << 21
_CAP_SYS_ADMIN = 21
# Mount flags to preserve: nosuid, nodev, noexec, noatime and nodiratime have the same bits in statvfs(3).
_KEPT = 2 | 4 | 8 | 1024 | 2048
_ST_RELATIME = 4096


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
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str | None, target: str, flags: int) -> None:
        where = None if source is None else os.fsencode(source)
        if libc.mount(where, os.fsencode(target), None, ctypes.c_ulong(flags), None) != 0:
            raise OSError(ctypes.get_errno(), "mount", target)

    try:
        if libc.unshare(_CLONE_NEWNS) != 0:
            return False
        # Slave mounts: later mounts of the host still appear here, but mounts made here stay private.
        mount(None, "/", _MS_REC | _MS_SLAVE)
        for folder in folders:
            mount(folder, folder, _MS_BIND | _MS_REC)
            known = os.statvfs(folder).f_flag
            flags = known & _KEPT | (_MS_RELATIME if known & _ST_RELATIME else 0)
            mount(None, folder, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | flags)
    except OSError:
        return False
    return True
