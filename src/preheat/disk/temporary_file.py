"""Temporary file: write a file beside its target, and clean up temporary files of killed processes.

All temporary names have the form `.NAME.RANDOM.new`, in the folder of NAME. The writer holds an flock(2) on the file
until it renames it. A temporary file without a lock was left behind and may be removed.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

# Temporary folders of a proof or trace in a library; each has a file `in-use` that is locked while the process runs.
PROOF, TRACE, IN_USE = "proof-", "trace-", "in-use"
KEPT = ".preheat-kept-"  # folders with an app's own files during a proof, in or beside the app's folder
_RANDOM_BYTES = 6
_FORM = re.compile(r"\.(.+)\.[0-9a-f]{12}\.new", re.DOTALL)
_LONGEST_BYTES = 200  # of NAME; a file name may have 255 bytes
# A symlink cannot be locked, but it is renamed at once: one of this age was left behind.
_LINK_AGE_S = 60.0
_TRIES = 5
_FOLDER_TRIES = 100

_Made = TypeVar("_Made")


def beside(at: Path) -> Path:
    """Return a new temporary path beside `at`. It is random, because processes in two containers may share a PID."""
    return at.with_name(f".{_name(at)}.{os.urandom(_RANDOM_BYTES).hex()}.new")


def create(at: Path, mode: int = 0o666) -> tuple[Path, int]:
    """Create a temporary file beside `at`; return its path and its locked descriptor. Raise OSError."""
    while True:
        path = beside(at)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        lock(descriptor)
        if _has(path, descriptor):
            return path, descriptor
        os.close(descriptor)  # another process removed it as left behind, before it was locked


def lock(descriptor: int) -> None:
    """Lock a file until it is closed, if the filesystem supports locks, to mark it as in use."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write_whole(path: Path, data: bytes, mode: int = 0o666, *, durable: bool = True) -> int:
    """Write a file atomically: to a temporary file, fsync if `durable`, rename. Return its inode number. Raise OSError.

    The temporary file is locked while it is written, which keeps `prune` from removing it.
    """
    aside, descriptor = _new(path, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
            aside.rename(path)
            return os.fstat(file.fileno()).st_ino
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def put(at: Path, make: Callable[[Path], _Made]) -> _Made:
    """Create a file with `make` beside `at`, and rename it to `at`. On an error, remove it and raise OSError."""
    for tries_left in reversed(range(_TRIES)):
        path = beside(at)
        try:
            made = make(path)
            path.replace(at)
        except FileNotFoundError:
            # Another process may have removed it as left behind, before it was locked or renamed.
            if not tries_left or path.exists() or not at.parent.is_dir():
                _remove(path)
                raise
        except BaseException:
            _remove(path)
            raise
        else:
            return made
    raise AssertionError("the last try raises")


def sync_folder(folder: Path) -> None:
    """Fsync a folder, to make the names in it durable. Ignore filesystems that do not support that (EINVAL)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise OSError(error.errno, error.strerror, str(folder)) from error
    finally:
        os.close(descriptor)


def left(folder: Path) -> list[Path]:
    """List the temporary files in `folder` that were left behind; empty if the folder cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = [one.name for one in entries if one.name.endswith(".new") and _FORM.fullmatch(one.name)]
    except OSError:
        return []
    return [path for name in names if is_left(path := folder / name)]


def left_below(folder: Path) -> list[Path]:
    """List the temporary files left behind in `folder` and all folders below it, without following symlinks."""
    return [path for place, _, _ in os.walk(folder) for path in left(Path(place))]


def tidy(at: Path, among: Iterable[Path] | None = None) -> None:
    """Remove temporary files for `at` that were left behind; `among` is the result of `left`, if already known."""
    for path in left(at.parent) if among is None else among:
        if is_for(path, at):
            _remove(path)


def is_for(path: Path, at: Path) -> bool:
    """Return whether `path` is a temporary file for `at`."""
    found = _FORM.fullmatch(path.name)
    return found is not None and found[1] == _name(at)


def is_left(path: Path) -> bool:
    """Return whether a temporary file was left behind. False if unknown, for example on shares without locks."""
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            return time.time() - status.st_mtime > _LINK_AGE_S
        if not stat.S_ISREG(status.st_mode):
            return False
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _name(at: Path) -> str:
    return os.fsencode(at.name)[:_LONGEST_BYTES].decode("utf-8", "ignore")


def _new(path: Path, mode: int) -> tuple[Path, int]:
    for _ in range(_FOLDER_TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another process has just removed the empty folder
            return create(path, mode)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))


def _has(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
