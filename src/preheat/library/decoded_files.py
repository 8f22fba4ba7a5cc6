"""Decoded files: a cache of decoded small files, valid while the files are unchanged."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Value = TypeVar("Value")
_Stat = tuple[int, int, int, int, int]
_LOCKS = 16


class Decoded(Generic[Value]):
    """An LRU cache of decoded values by path, up to a total weight of `heaviest`. Thread-safe.

    Every read costs a stat(2). A file is decoded again when its inode, size, mtime or ctime changes. Threads that read
    the same file at once wait for one decode. Exceptions of `decode` are raised and not cached.
    """

    def __init__(
        self, decode: Callable[[Path], Value | None], weigh: Callable[[Value], int], heaviest: int = 60_000
    ) -> None:
        self._decode = decode
        self._weigh = weigh
        self._heaviest = heaviest
        self._turn = threading.Lock()  # guards the three below
        self._kept: OrderedDict[Path, tuple[_Stat, Value]] = OrderedDict()
        self._weight = 0
        self._alone = [threading.Lock() for _ in range(_LOCKS)]

    def read(self, path: Path) -> Value | None:
        """Return the decoded content of the file, or None if the file is missing."""
        stat = _stat(path)
        known = self._known(path, stat)
        if known is not None:
            return known
        with self._alone[hash(path) % _LOCKS]:
            stat = _stat(path)
            known = self._known(path, stat)
            if known is None:
                known = self._decode(path)
                if known is not None and stat is not None and stat == _stat(path):
                    self._keep(path, stat, known)
        return known

    def wrote(self, path: Path, inode: int, value: Value) -> None:
        """Cache the value of a file that this process just wrote, if the file still has the inode number `inode`."""
        stat = _stat(path)
        if stat is not None and stat[1] == inode:
            self._keep(path, stat, value)

    def touch(self, path: Path) -> None:
        """Set the file's times to now without invalidating its cached value; raise OSError."""
        before = _stat(path)
        os.utime(path, follow_symlinks=False)
        known, after = self._known(path, before), _stat(path)
        if known is not None and before is not None and after is not None and before[:3] == after[:3]:
            self._keep(path, after, known)

    def _known(self, path: Path, stat: _Stat | None) -> Value | None:
        with self._turn:
            kept = self._kept.get(path)
            if kept is None:
                return None
            if kept[0] != stat:
                del self._kept[path]
                self._weight -= self._weigh(kept[1])
                return None
            self._kept.move_to_end(path)
            return kept[1]

    def _keep(self, path: Path, stat: _Stat, value: Value) -> None:
        with self._turn:
            before = self._kept.pop(path, None)
            self._weight += self._weigh(value) - (self._weigh(before[1]) if before is not None else 0)
            self._kept[path] = stat, value
            while self._weight > self._heaviest and len(self._kept) > 1:
                _, (_, oldest) = self._kept.popitem(last=False)
                self._weight -= self._weigh(oldest)


def _stat(path: Path) -> _Stat | None:
    try:
        status = path.stat()
    except OSError:
        return None  # `decode` raises the error
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
