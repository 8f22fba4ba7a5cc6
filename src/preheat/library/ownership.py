"""Ownership: in a library that a group shares, follow no symlink of another user, and append to no file of theirs.

Another member could otherwise lead a process to a file outside the library, or keep a file open and change it after it
was verified. Symlinks of this user and of root are followed: a library's folders may be on several disks.
"""

import errno
import os
import stat
from pathlib import Path

from preheat.core.errors import LibraryError

# The library's folders, with those that preheat.verbs, preheat.mirror and preheat.scan keep in it.
FOLDERS = (
    "apps", "blobs", "blobs/sha256", "blobs/git-sha1", "claims", "images", "mirror", "partial", "pins", "placed",
    "quarantine", "memory-snapshots", "records", "seals", "stages", "starts", "trash", "unread", "verdicts", "views",
)  # fmt: skip
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW


def open_to_read(path: Path | str) -> int:
    """Open a file and return its descriptor; never wait for a FIFO. Raise OSError, also for another user's symlink."""
    try:
        return os.open(path, _READ | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        if not _follows(os.lstat(path)):
            raise OSError(errno.ELOOP, "a symlink of another user", str(path)) from error
    return os.open(path, _READ)


def open_to_append(path: Path) -> int:
    """Open or create a log, and return its descriptor. Raise OSError, also for a symlink or a device."""
    descriptor = os.open(path, _APPEND, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def require_own_folders(*folders: Path | str) -> None:
    """Raise LibraryError if one of the folders is a symlink of another user; ignore those that do not exist."""
    for folder in folders:
        try:
            status = os.lstat(folder)
        except OSError:
            continue
        if not _follows(status):
            raise LibraryError(
                f"{folder} is a symlink that user {status.st_uid} made, so its target is not used",
                hint="remove it, if you do not know what it is for",
            )


def _follows(status: os.stat_result) -> bool:
    return not stat.S_ISLNK(status.st_mode) or status.st_uid in (0, os.geteuid())
