"""Decoded files: a cache of decoded small files, valid while the files are unchanged."""

import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Value = TypeVar("Value")
_Stat = tuple[int, ...]  # device, inode, size, mtime, ctime; empty if it is unknown
_LOCKS = 16


class Decoded(Generic[Value]):
    """An LRU cache of decoded values by path, up to a total weight of `heaviest`. Thread-safe.

    `decode` returns the value and the stat result of the file that it read, or None for a missing file. A read of a
    cached value costs an lstat(2). The first read opens the file at once, which is a round trip less on a share; with
    `looks_first`, it begins with the lstat(2) too, for files that are often missing. A file is decoded again when its
    inode, size, mtime or ctime changes. With `settled_s`, a file that changed less than that ago is decoded each time:
    a filesystem's clock is coarse, and inode numbers are used again. Threads that read the same file at once wait for
    one decode. Exceptions of `decode` are raised and not cached.
    """

    def __init__(
        self,
        decode: Callable[[Path], tuple[Value, os.stat_result] | None],
        weigh: Callable[[Value], int],
        heaviest: int = 60_000,
        settled_s: float = 0.0,
        *,
        looks_first: bool = False,
    ) -> None:
        self._looks_first = looks_first
        self._settled_s = settled_s
        self._decode = decode
        self._weigh = weigh
        self._heaviest = heaviest
        self._turn = threading.Lock()  # guards the three below
        self._kept: OrderedDict[str, tuple[_Stat, Value]] = OrderedDict()
        self._weight = 0
        self._alone = [threading.Lock() for _ in range(_LOCKS)]

    def read(self, path: Path | str) -> Value | None:
        """Return the decoded content of the file, or None if the file is missing."""
        path = str(path)
        if not self._opens_first(path):
            stat = _stat(path)
            if stat is None:
                return None
            known = self._known(path, stat)
            if known is not None:
                return known
        with self._alone[hash(path) % _LOCKS]:
            known = None if self._opens_first(path) else self._known(path, _stat(path))
            if known is not None:
                return known
            decoded = self._decode(Path(path))
            if decoded is None:
                return None
            known, stat = decoded[0], _fields(decoded[1])
            if stat == _stat(path) and self._is_settled(stat):
                self._keep(path, stat, known)
        return known

    def wrote(self, path: Path | str, inode: int, value: Value) -> None:
        """Cache the value of a file that this process just wrote, if the file still has the inode number `inode`."""
        path = str(path)
        stat = _stat(path)
        if stat and stat[1] == inode:
            self._keep(path, stat, value)

    def touch(self, path: Path | str) -> None:
        """Set the file's times to now without invalidating its cached value; raise OSError."""
        path = str(path)
        before = _stat(path)
        os.utime(path, follow_symlinks=False)
        known, after = self._known(path, before), _stat(path)
        if known is not None and before and after and before[:3] == after[:3]:
            self._keep(path, after, known)

    def _opens_first(self, path: str) -> bool:
        """Return whether to open the file without an lstat(2) first, because its value is not cached."""
        with self._turn:
            return not self._looks_first and path not in self._kept

    def _is_settled(self, stat: _Stat) -> bool:
        return not self._settled_s or time.time() - max(stat[3:]) / 1e9 > self._settled_s

    def _known(self, path: str, stat: _Stat | None) -> Value | None:
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

    def _keep(self, path: str, stat: _Stat, value: Value) -> None:
        with self._turn:
            before = self._kept.pop(path, None)
            self._weight += self._weigh(value) - (self._weigh(before[1]) if before is not None else 0)
            self._kept[path] = stat, value
            while self._weight > self._heaviest and len(self._kept) > 1:
                _, (_, oldest) = self._kept.popitem(last=False)
                self._weight -= self._weigh(oldest)


def _stat(path: str) -> _Stat | None:
    """Return a file's stat; None if it is missing."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ()  # `decode` raises the error
    if stat.S_ISLNK(status.st_mode):
        try:
            status = os.stat(path)  # noqa: PTH116 - faster than Path: a mirror does this for each request
        except OSError:
            return ()
    return _fields(status)


def _fields(status: os.stat_result) -> _Stat:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
