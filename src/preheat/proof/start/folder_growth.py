"""Folder growth: which files an app's start writes, when, and how many bytes they have, each file once."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from preheat.proof.conditions.page_cache_residency import regular_files
from preheat.proof.start.birth_time import birth_time
from preheat.proof.start.timeline import Span, merged

_BUILT = (".pyc", ".pyo", ".nbi", ".nbc")  # Python and numba write them; no app downloads them
_TICK_S = 0.01  # file times lag behind the clock by up to one tick of the kernel
_FileKey = tuple[int, int]  # device and inode: the same for all hard links, and after a rename


def size_of(folders: Iterable[Path]) -> int:
    """Return the total size of the files below `folders`. Hard links, and files below two folders, count once."""
    return sum(status.st_size for status in _files(outermost(folders)).values())


def outermost(folders: Iterable[Path]) -> tuple[Path, ...]:
    """Return the real paths of `folders`, without those that are below another one."""
    real = sorted({Path(os.path.realpath(folder)) for folder in folders})
    return tuple(one for one in real if not any(one != other and one.is_relative_to(other) for other in real))


class FolderGrowth:
    """Watch `folders` by polling, to find out which files are written there from now on, when, and their size.

    A file's span is from its first sighting to its last modification. `elsewhere` adds files in other folders. Files in
    `built` folders, and those that Python compiles, are not counted: the app made them, and did not download them.
    """

    def __init__(self, folders: Sequence[Path], built: Sequence[Path] = ()) -> None:
        self._folders = outermost(folders)
        self._built = outermost(built)
        self._before = {key: (one.st_size, one.st_mtime_ns) for key, one in _files(self._folders).items()}
        self._first_seen: dict[_FileKey, float] = {}
        self._elsewhere: dict[_FileKey, Path] = {}
        self._began = time.time()

    def look(self) -> None:
        """Record new files."""
        now = time.time()
        for key in self._arrived():
            self._first_seen.setdefault(key, now)

    def elsewhere(self, paths: Iterable[str]) -> None:
        """Record files outside the folders, among `paths`, that were created since the watch began."""
        now = time.time()
        for path in paths:
            real = Path(path)
            if any(real.is_relative_to(folder) for folder in (*self._folders, *self._built)):
                continue
            try:
                status = real.lstat()
            except OSError:
                continue
            key = (status.st_dev, status.st_ino)
            if key not in self._elsewhere and (birth_time(path) or 0.0) >= self._began - _TICK_S:
                self._elsewhere[key] = real
                self._first_seen.setdefault(key, now)

    def spans(self, began: float) -> tuple[Span, ...]:
        """Return when files were written, in seconds since `began`. `began` is a time.time() value."""
        return merged(
            Span(self._first_seen.get(key, found.st_mtime) - began, found.st_mtime - began)
            for key, found in self._all().items()
            if found.st_size
        )

    @property
    def size(self) -> int:
        """Return the total size of the files that were written."""
        return sum(found.st_size for found in self._all().values())

    @property
    def seen_elsewhere(self) -> frozenset[str]:
        """Return the paths that `elsewhere` recorded, as they were then."""
        return frozenset(map(str, self._elsewhere.values()))

    @property
    def outside(self) -> tuple[Path, ...]:
        """Return the folders of the files that `elsewhere` recorded and that still exist."""
        return tuple(sorted({path.parent for path, _ in self._found_elsewhere().values()}))

    def _all(self) -> dict[_FileKey, os.stat_result]:
        return {**{key: status for key, (_, status) in self._found_elsewhere().items()}, **self._arrived()}

    def _arrived(self) -> dict[_FileKey, os.stat_result]:
        """Return the files in the folders that did not exist, or were other, when the watch began."""
        return {
            key: status
            for key, status in _files(self._folders, self._built).items()
            if self._before.get(key) != (status.st_size, status.st_mtime_ns)
        }

    def _found_elsewhere(self) -> dict[_FileKey, tuple[Path, os.stat_result]]:
        """Return the files elsewhere as they are now; a finished download may have another name in the same folder."""
        found: dict[_FileKey, tuple[Path, os.stat_result]] = {}
        for folder in {path.parent for path in self._elsewhere.values()}:
            for path, status in _listed(folder):
                key = (status.st_dev, status.st_ino)
                if key in self._elsewhere:
                    found[key] = (path, status)
        return found


def _files(folders: Iterable[Path], without: Sequence[Path] = ()) -> dict[_FileKey, os.stat_result]:
    left_out = tuple(f"{folder}{os.sep}" for folder in without)
    return {
        (status.st_dev, status.st_ino): status
        for path, status in regular_files(folders)
        if not path.endswith(_BUILT) and not f"{path}{os.sep}".startswith(left_out)
    }


def _listed(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield Path(entry.path), entry.stat(follow_symlinks=False)
    except OSError:
        return
