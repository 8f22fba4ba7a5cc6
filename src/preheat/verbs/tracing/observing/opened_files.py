"""Opened files: when each file was first opened for reading, and how much of it was read."""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from preheat.core.digest import Digest
from preheat.recipes.inference.observation import HubFile, Opened
from preheat.recipes.inference.trace_log import Mover
from preheat.verbs.tracing.observing.file_hashes import FileHashes
from preheat.verbs.tracing.traced_start import ObservedStart

_COMPILED = re.compile(r"(.*)/__pycache__/([^/]+)\.[a-z]+-?[0-9]+(?:\.opt-[0-9])?\.pyc")


def first_opens(seen: ObservedStart) -> dict[str, float]:
    """Return when each path was first opened for reading (time.time()), by current path, without copies' opens."""
    moved = Mover(seen.notes.moved)
    first: dict[str, float] = {}

    def note(path: str, at: float) -> None:
        first.setdefault(path, at)
        if (compiled := _COMPILED.fullmatch(path)) is not None:
            # Python reads this instead of the source, if the source is there and was not changed.
            first.setdefault(f"{compiled[1]}/{compiled[2]}.py", at)

    for access in seen.notes.accesses:
        if not access.wrote:
            note(moved(access.path), access.at)
    copied = {os.path.realpath(source) for source, _ in seen.notes.copied}
    read = {os.path.realpath(path) for path in first}
    for one in seen.opens:
        path = os.path.realpath(moved(one.path))
        # Copying a file opens it too; Python's log shows which opens were copies.
        if not one.wrote and (path not in copied or path in read):
            note(path, one.at)
    return first


def opened_files(
    seen: ObservedStart,
    times: Mapping[str, float],
    served: Iterable[HubFile],
    wanted: Collection[str],
    hashes: FileHashes,
) -> Iterator[Opened]:
    """Yield the opened files that can matter to a recipe: those with the size of a hub's file, and the `wanted` paths.

    `times` is what `first_opens` returns. A file whose real path was opened counts as opened by its wanted path too.
    """
    algorithms: dict[int, set[str]] = {}
    for one in served:
        algorithms.setdefault(one.file.size, set()).add(one.file.digest.algorithm)
    amounts = _amounts(seen)
    paths = dict(times)
    for path in wanted:
        real = os.path.realpath(path)
        if real in times:
            paths.setdefault(path, times[real])
    for path, at in paths.items():
        size = hashes.size(path)
        if size is None or (size not in algorithms and path not in wanted):
            continue
        digests = (hashes.digest(path, algorithm) for algorithm in algorithms.get(size, ()))
        amount = amounts.get(os.path.realpath(path))
        known: frozenset[Digest] = frozenset(one for one in digests if one is not None)
        yield Opened(path, max(at - seen.began, 0.0), size, known, None if amount is None else min(amount, size))


def _amounts(seen: ObservedStart) -> dict[str, int]:
    """Return the bytes read of each file, by current path, if known."""
    moved = Mover(seen.notes.moved)
    found: dict[str, int] = {}
    for one in seen.opens:
        if one.read is not None:
            path = os.path.realpath(moved(one.path))
            found[path] = found.get(path, 0) + one.read
    return found
