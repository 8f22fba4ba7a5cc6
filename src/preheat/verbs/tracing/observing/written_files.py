"""Written files: the files that a start wrote and left, each with when and by which packages it was written."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from preheat.recipes.inference.trace_log import Mover
from preheat.verbs.tracing.traced_start import ObservedStart

# A folder that was moved into place is listed up to this many files.
_MOST_LISTED = 100_000


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that was first written at `at` (time.time()) by `modules`, the packages in the call stack."""

    at: float
    modules: tuple[str, ...] = ()


def written_files(seen: ObservedStart, listed: Iterable[str], caches: Mapping[str, str]) -> dict[str, WrittenFile]:
    """Return the files that were written and still exist, by current path.

    `listed` are paths known to be written, as an overlay shows them; the logs add when, and by which packages. `caches`
    are folders that were empty before.
    """
    moved = Mover(seen.notes.moved)
    logged: dict[str, WrittenFile] = {}
    for access in seen.notes.accesses:
        if access.wrote:
            found = WrittenFile(access.at, access.modules)
            for path in {access.path, moved(access.path)}:
                logged.setdefault(path, found)
    for _, target in seen.notes.copied:
        logged.setdefault(moved(target), WrittenFile(seen.began))
    for one in seen.opens:
        if one.wrote:
            for path in {one.path, moved(one.path)}:
                logged.setdefault(path, WrittenFile(one.at))
    for _, target in seen.notes.moved:
        for path in _files_at(moved(target)):
            logged.setdefault(path, WrittenFile(seen.began))
    for folder in caches.values():
        for path in _files_at(folder):
            logged.setdefault(path, WrittenFile(seen.began))
    left: dict[str, WrittenFile] = {}
    for path in {*listed, *logged}:
        file = logged.get(path) or WrittenFile(_changed(path, seen.began))
        # The first-use command is no process of the app's, so its writes are in no log.
        by_use = path not in logged and seen.complete and seen.used_at is not None and file.at >= seen.used_at
        if not by_use and _is_file(path):
            left[path] = file
    return left


def _files_at(path: str) -> Iterator[str]:
    """Yield the path if it is a file, and the files in it if it is a folder that is not a link."""
    if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114 - thousands of them
        yield path
        return
    left = _MOST_LISTED
    for folder, _, names in os.walk(path):
        for name in names[:left]:
            yield f"{folder}/{name}"
        left -= len(names)
        if left <= 0:
            return


def _changed(path: str, otherwise: float) -> float:
    with suppress(OSError):
        # Not st_mtime, which is that of an archive's member: unpacked in another time zone, it may be hours ahead.
        return os.stat(path).st_ctime  # noqa: PTH116 - thousands of them
    return otherwise


def _is_file(path: str) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - thousands of them
