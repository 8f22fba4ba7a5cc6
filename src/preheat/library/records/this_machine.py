"""Names of this machine in a library that several machines or containers share."""

import functools
import os
from binascii import crc32
from contextlib import suppress
from pathlib import Path

from preheat.library.records.process_ids import kernel

_MACHINE_ID = Path("/etc/machine-id")
_MOUNTS = Path("/proc/self/mountinfo")


def machine() -> str:
    """Return a unique file name for this machine: its host name and the start of its boot ID."""
    return f"{host_name()}-{kernel()[:8]}"


@functools.cache
def host_name() -> str:
    """Return this machine's host name, as it can be part of a file name."""
    return "".join(c if c.isalnum() or c in "._" else "_" for c in os.uname().nodename)[:64] or "unknown"


@functools.cache
def root_id() -> str:
    """Return 8 hex digits for this machine's root filesystem, which differs between containers on one host.

    It changes if the system is installed again, or its disk gets another name.
    """
    return f"{crc32(os.fsencode(f'{_installation()} {_root_filesystem()}')):08x}"


def is_here(host: str, root: str) -> bool:
    """Return whether a file of the library that names a host and a root was written on this machine.

    `root` is empty in files of earlier versions: then the host's name decides.
    """
    return host == host_name() and root in ("", root_id())


def _installation() -> str:
    """Return the ID of the installed system, or the boot ID if it has none, as many containers."""
    with suppress(OSError):
        if found := _MACHINE_ID.read_text(encoding="utf-8", errors="replace").strip():
            return found
    return kernel().partition(" ")[0]


def _root_filesystem() -> str:
    """Return the source of the root mount: a disk, or in a container its upper folder. See proc(5), mountinfo."""
    root = Path("/").stat()
    found = f"{root.st_dev} {root.st_ino}"
    with suppress(OSError, ValueError):
        for line in _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            mount, _, filesystem = line.partition(" - ")
            words, (kind, source, options) = mount.split(" "), filesystem.split(" ", 2)
            if words[4] == "/":  # the last one covers the others
                changes = [option for option in options.split(",") if option.startswith("upperdir=")]
                # The number of an overlay's root may change when it is mounted again.
                found = " ".join((words[3], kind, source, *(changes or [str(root.st_ino)])))
    return found
