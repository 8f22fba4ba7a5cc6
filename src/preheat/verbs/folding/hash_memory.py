"""Hash memory: the sha256 and kind of files outside the library that were hashed before, in this user's state.

A file is known again by device, inode, size and mtime. Only if its ctime, which programs cannot set, is also the same,
its bytes are certainly those that were hashed; otherwise they are hashed again before they become a blob.
"""

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from preheat.disk.temporary_file import write_whole
from preheat.library.small_files import read_small

_VERSION = 1
_MOST = 1 << 30  # bytes; a file has 150
# A second change within the resolution of timestamps would not be seen: milliseconds, but 2 s on FAT and the like,
# whose times are multiples of 10 ms.
_TOO_YOUNG_NS, _COARSE_NS, _TOO_YOUNG_IF_COARSE_NS = 10**8, 10**7, 3 * 10**9


class _KnownHash(msgspec.Struct, frozen=True, array_like=True):
    size: int
    mtime_ns: int
    ctime_ns: int
    sha256: str


class _HashFile(msgspec.Struct, frozen=True):
    version: int
    files: dict[str, _KnownHash]
    kinds: dict[str, str] = {}


class HashMemory:
    """The hashes in one file, which `save` replaces. Thread-safe. A file that cannot be read counts as empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()  # guards `_files`, `_kinds` and `_changed`
        self._files: dict[str, _KnownHash] = {}
        self._kinds: dict[str, str] = {}
        self._changed = False
        with suppress(OSError, msgspec.DecodeError, ValueError, RecursionError):
            memory = msgspec.json.decode(read_small(path, _MOST), type=_HashFile)
            if memory.version == _VERSION:
                self._files, self._kinds = memory.files, memory.kinds

    def find(self, look: os.stat_result) -> tuple[str, bool] | None:
        """Return the sha256 of a file with this stat result, and whether it is certain; None if it is unknown."""
        known = self._files.get(_name(look))
        if known is None or (known.size, known.mtime_ns) != (look.st_size, look.st_mtime_ns):
            return None
        return known.sha256, known.ctime_ns == look.st_ctime_ns

    def note(self, look: os.stat_result, sha256: str, hashed_at_ns: int) -> bool:
        """Note a file's hash; return False if the file is so young that another change might not be seen."""
        coarse = look.st_ctime_ns % _COARSE_NS == 0
        young_ns = _TOO_YOUNG_IF_COARSE_NS if coarse else _TOO_YOUNG_NS
        if hashed_at_ns - max(look.st_mtime_ns, look.st_ctime_ns) <= young_ns:
            return False
        with self._turn:
            self._files[_name(look)] = _KnownHash(look.st_size, look.st_mtime_ns, look.st_ctime_ns, sha256)
            self._changed = True
        return True

    def kind(self, sha256: str, read: Callable[[], str]) -> str:
        """Return the kind of a file with this hash; `read` finds it out, if it is not known yet."""
        if sha256 not in self._kinds:
            kind = read()
            with self._turn:
                self._kinds[sha256], self._changed = kind, True
        return self._kinds[sha256]

    def save(self, present: Iterable[os.stat_result] = ()) -> None:
        """Write the memory, if it has changed; with `present`, without files on their disks that are not among them."""
        looks = list(present)
        devices, names = {look.st_dev for look in looks}, {_name(look) for look in looks}
        with self._turn:
            kept = {
                name: known
                for name, known in self._files.items()
                if name in names or int(name.partition(":")[0]) not in devices
            }
            if not self._changed and len(kept) == len(self._files):
                return
            hashes = {known.sha256 for known in kept.values()}
            self._kinds = {sha256: kind for sha256, kind in self._kinds.items() if sha256 in hashes}
            self._files, self._changed = kept, False
            body = msgspec.json.encode(_HashFile(_VERSION, self._files, self._kinds))
        with suppress(OSError):  # the files are then hashed again next time
            write_whole(self._path, body, mode=0o600, durable=False)


def _name(look: os.stat_result) -> str:
    return f"{look.st_dev}:{look.st_ino}"
