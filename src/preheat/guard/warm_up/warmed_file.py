"""Warmed file: the ranges of a regular file to read ahead; it is opened without waiting for a FIFO or a device."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Iterable, List, NamedTuple

from preheat.guard.kernel.descriptors import open_regular

_LOOK_EVERY = 16 * 1024
_MOST_LOOKS = 16


class FileRange(NamedTuple):
    """The bytes of a file from `start` up to but excluding `stop`; `stop` 0 means the end of the file.

    Without `follow`, the path itself must be the file, and no symlink to it.
    """

    path: str
    start: int = 0
    stop: int = 0
    follow: bool = True


class OpenFile:
    """A regular file that is open for reading, and closed after `done` was called `users` times."""

    def __init__(self, one: FileRange) -> None:
        """Open the file of a range. Raise OSError, also for anything but a regular file, which is not even opened."""
        if not stat.S_ISREG(os.stat(one.path, follow_symlinks=one.follow).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", one.path)
        self.descriptor = open_regular(one.path, follow=one.follow)
        self.users = 1
        self.size = os.fstat(self.descriptor).st_size

    def done(self) -> None:
        """Count one user less."""
        self.users -= 1
        if not self.users:
            os.close(self.descriptor)

    def ask_for(self, at: int, size: int) -> bool:
        """Return whether a part is in the page cache, sampled every 16 kB; if not, start read-ahead of the part.

        Sampling an uncached byte makes the kernel read the pages around it, and a fast disk may deliver them before the
        call returns. With only three samples of 4 MB, a cold part sometimes appeared cached on a busy machine.
        """
        if self.holds(at, size):
            return True
        with suppress(OSError):
            os.posix_fadvise(self.descriptor, at, size, os.POSIX_FADV_WILLNEED)
        return False

    def holds(self, at: int, size: int) -> bool:
        """Return whether all sampled bytes of a part are in the page cache."""
        looks = max(1, min(_MOST_LOOKS, size // _LOOK_EVERY))
        return all(self._cached(at + (size - 1) * number // max(looks - 1, 1)) for number in range(looks))

    def _cached(self, at: int) -> bool:
        """Return whether the byte at `at` is in the page cache; False where the kernel cannot report it."""
        try:
            return os.preadv(self.descriptor, [bytearray(1)], at, os.RWF_NOWAIT) == 1
        except OSError as error:
            return error.errno not in (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
        except AttributeError:
            return False

    def read(self, buffer: bytearray, at: int, size: int) -> int:
        """Read a part, up to the end of the file, and forget its bytes; return how many they were."""
        done = 0
        while done < size:
            count = os.preadv(self.descriptor, [memoryview(buffer)[done:size]], at + done)
            if not count:
                break
            done += count
        return done


def read_ranges(lines: Iterable[str]) -> List[FileRange]:
    """Parse file ranges, one per line: `PATH` or `PATH TAB START TAB STOP`, in the order to read them.

    Empty lines and lines that start with `#` are skipped.
    """
    ranges = []
    for line in lines:
        path, _, rest = line.rstrip("\n").partition("\t")
        start, _, stop = rest.partition("\t")
        if path and not path.startswith("#"):
            ranges.append(FileRange(path, int(start or 0), int(stop or 0)))
    return ranges


def looks_cached(ranges: Iterable[FileRange]) -> bool:
    """Return whether ranges are in the page cache, as far as samples show."""
    for one in ranges:
        try:
            file = OpenFile(one)
        except (OSError, ValueError):
            continue  # it is not on this machine
        try:
            size = min(one.stop or file.size, file.size) - one.start
            if size > 0 and not file.holds(one.start, size):
                return False
        except OSError:
            continue
        finally:
            file.done()
    return True
