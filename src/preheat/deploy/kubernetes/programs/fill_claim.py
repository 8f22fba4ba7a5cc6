"""Fill claim: copy folders of this image to a volume, under a name that appears only when all of them are there."""

import fcntl
import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Optional, Sequence

DONE = "complete"
LOCK = "preheat-fill.lock"
# A lock on the first ones is the same on all nodes; the others are of one node only.
NETWORKS = ("nfs", "nfs4", "ceph")
DISKS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay")
# Options of mounts, whose locks other nodes do not see.
ALONE = ("nolock", "local_lock=all", "local_lock=flock")


def fill(volume: Path, name: str, folders: Sequence[str]) -> bool:
    """Copy `folders` to `volume`/`name`; return whether this call did.

    Remove first what fillers that were killed have left, of any name.
    """
    if has_shared_locks(volume):
        for one in list(volume.glob(".*")):
            remove_abandoned(one)
    target = volume / name
    if (target / DONE).exists():
        return False
    aside = Path(tempfile.mkdtemp(dir=str(volume), prefix=f".{name}-"))
    locked = None
    try:
        locked = new_lock(aside)
        copy = aside / "copy"
        for folder in folders:
            to = copy / folder.lstrip("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, str(to), symlinks=True)
        copy.chmod(0o755)
        (copy / DONE).touch()
        os.sync()
        if locked is not None and not is_same(locked, aside / LOCK):
            raise OSError(f"another filler removed {aside}: the volume lost this one's lock")
        try:
            copy.rename(target)
        except OSError:
            # Another pod may have filled it first.
            if not (target / DONE).exists():
                raise
            return False
        os.sync()
        return True
    finally:
        # First, since NFS keeps the name of a file that is open.
        if locked is not None:
            os.close(locked)
        remove(aside)


def has_shared_locks(volume: Path) -> bool:
    """Whether a lock on a file of `volume` is seen by all nodes that may have it; False if that is unknown."""
    mounted = volume.resolve()
    while not os.path.ismount(str(mounted)):
        mounted = mounted.parent
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
    except OSError:
        return False
    return is_shared(mounts, str(mounted))


def is_shared(mounts: str, mounted: str) -> bool:
    """The same, from the text of mountinfo and a mount point. The last mount there covers the others."""
    shared = False
    for line in mounts.splitlines():
        fields, _, of_filesystem = line.partition(" - ")
        if fields.split(" ")[4] == mounted.replace(" ", "\\040"):
            kind, _, options = of_filesystem.split(" ", 2)
            shared = kind in DISKS or (kind in NETWORKS and not set(ALONE) & set(options.split(",")))
    return shared


def new_lock(folder: Path) -> Optional[int]:
    """Make the lock of a folder and return its descriptor, or None and no lock if they are not supported.

    It has its name only when it is locked: a folder with a lock that is free has no filler.
    """
    made = folder / "new.lock"
    # NFS locks only files that are open for writing.
    locked = os.open(str(made), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(locked)
        made.unlink()
        return None
    made.rename(folder / LOCK)
    return locked


def remove_abandoned(folder: Path) -> None:
    """Remove a folder whose lock no process has."""
    try:
        held = os.open(str(folder / LOCK), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return
    print(f"removing {folder}: its filler was killed", flush=True)
    # The lock last: if this process is killed, the next one continues.
    remove(folder / "copy")
    os.close(held)
    remove(folder)


def is_same(opened: int, path: Path) -> bool:
    """Whether `path` is the file that is open."""
    return path.exists() and os.path.samestat(os.fstat(opened), path.stat())


def remove(folder: Path) -> None:
    """Remove a folder if it is there and can be removed, also if folders in it are read-only."""
    for at, _, _ in os.walk(str(folder)):
        # It may be another user's, or another filler may have removed it.
        with suppress(OSError):
            Path(at).chmod(0o700)
    shutil.rmtree(str(folder), ignore_errors=True)


def stop(*_: object) -> None:
    """End by an exception, so that what is half done is removed."""
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    # The first process of a container ignores a signal without a handler.
    signal.signal(signal.SIGTERM, stop)
    print("filled" if fill(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]) else "filled before", flush=True)
