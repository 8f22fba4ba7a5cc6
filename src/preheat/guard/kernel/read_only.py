"""Read-only: folders that an app can read but not write, even as root.

mount_namespaces(7): the calling process gets mounts of its own, and there each folder a read-only one over itself. All
that it starts inherits them; nobody else sees them. Only who may mount can do so; everybody else has the files' mode.
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
# What a mount forbids already stays so: nosuid, nodev, noexec, noatime, nodiratime are the same bits in statvfs(3).
_KEPT = 2 | 4 | 8 | 1024 | 2048
_ST_RELATIME = 4096


def can_shield() -> bool:
    """Whether this process may mount: root, and let to (few containers let it)."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    with suppress(OSError, ValueError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


def shield(folders: Sequence[str]) -> bool:
    """Write-protect `folders` for this process and all that it starts; whether it could be done."""
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
        # What others mount later is seen here; what is mounted here is seen by nobody else.
        mount(None, "/", _MS_REC | _MS_SLAVE)
        for folder in folders:
            mount(folder, folder, _MS_BIND | _MS_REC)
            known = os.statvfs(folder).f_flag
            flags = known & _KEPT | (_MS_RELATIME if known & _ST_RELATIME else 0)
            mount(None, folder, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | flags)
    except OSError:
        return False
    return True
