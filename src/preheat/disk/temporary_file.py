"""Temporary file: a file written beside its target, and the cleanup of those that a killed process left.

All such names are made here: `.NAME.RANDOM.new` in the folder of NAME. The writer holds an flock(2) on the file until
it has its name, so that others can see that it is in use. What nobody has locked was left behind, and may be removed.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

# Folders in a library that last as long as a proof or trace; a lock on the file `in-use` shows that it goes on.
PROOF, TRACE, IN_USE = "proof-", "trace-", "in-use"
_RANDOM_BYTES = 6
_FORM = re.compile(r"\.(.+)\.[0-9a-f]{12}\.new", re.DOTALL)
_LONGEST_BYTES = 200  # of NAME, so that the rest fits into the 255 of a file's name
# A symlink cannot be locked. It gets its name at once, so one this old was left behind.
_LINK_AGE_S = 60.0
_TRIES = 5
_FOLDER_TRIES = 100

_Made = TypeVar("_Made")


def beside(at: Path) -> Path:
    """Return a new name beside `at`; containers may have one process number between them."""
    return at.with_name(f".{_name(at)}.{secrets.token_hex(_RANDOM_BYTES)}.new")


def create(at: Path, mode: int = 0o666) -> tuple[Path, int]:
    """Make a file beside `at`; return it with its descriptor, which holds its lock. Raise OSError."""
    while True:
        path = beside(at)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        lock(descriptor)
        if _has(path, descriptor):
            return path, descriptor
        os.close(descriptor)  # taken for one left behind, before it was locked


def lock(descriptor: int) -> None:
    """Show that a file is in use until it is closed, where the filesystem can."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write_whole(path: Path, data: bytes) -> int:
    """Write a file so that it is never seen in part: aside, to disk, renamed. Return its inode.

    The file aside is locked as long as it is written, so that `prune` can tell one that a crash has left.
    """
    aside, descriptor = _new(path)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            aside.rename(path)
            return os.fstat(file.fileno()).st_ino
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def put(at: Path, make: Callable[[Path], _Made]) -> _Made:
    """Have `make` make a file beside `at`, and put it there in one step. Raise OSError; nothing is then left aside."""
    for tries_left in reversed(range(_TRIES)):
        path = beside(at)
        try:
            made = make(path)
            path.replace(at)
        except FileNotFoundError:
            # Another process may have taken it for one left behind, before it was locked or had its name.
            if not tries_left or path.exists() or not at.parent.is_dir():
                _remove(path)
                raise
        except BaseException:
            _remove(path)
            raise
        else:
            return made
    raise AssertionError("the last try raises")


def left(folder: Path) -> list[Path]:
    """List the files aside in `folder` that were left behind; none where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            names = [one.name for one in entries if one.name.endswith(".new") and _FORM.fullmatch(one.name)]
    except OSError:
        return []
    return [path for name in names if is_left(path := folder / name)]


def left_below(folder: Path) -> list[Path]:
    """List those in all folders below `folder` too; links to folders are not followed."""
    return [path for place, _, _ in os.walk(folder) for path in left(Path(place))]


def tidy(at: Path, among: Iterable[Path] | None = None) -> None:
    """Remove what was to become `at` and was left behind, `among` what `left` has listed in its folder."""
    for path in left(at.parent) if among is None else among:
        if is_for(path, at):
            _remove(path)


def is_for(path: Path, at: Path) -> bool:
    """Whether a file aside was to become `at`."""
    found = _FORM.fullmatch(path.name)
    return found is not None and found[1] == _name(at)


def is_left(path: Path) -> bool:
    """Whether nobody is writing a file any more. False where that cannot be found out, as on some shares."""
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


def _new(path: Path) -> tuple[Path, int]:
    for _ in range(_FOLDER_TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another process has just removed the folder, which was empty
            return create(path)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))


def _has(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
