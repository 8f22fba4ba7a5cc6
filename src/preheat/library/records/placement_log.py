"""Placement log: files that views placed outside the library, and users' own files found there.

It distinguishes copies made by preheat from the user's own files, which preheat never replaces.
"""

import os
import time
from bisect import bisect
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from preheat.core.digest import Digest
from preheat.core.errors import UsageError
from preheat.core.placement import BEGUN, STATES, Mark, StatFields
from preheat.library.quoted_paths import unquoted
from preheat.library.records.append_logs import AppendLogs

_FORGOTTEN_AFTER_NS = 90 * 86400 * 10**9


class PlacementLog:
    """Append-only logs: `placed/MACHINE-UID.log`, see AppendLogs.

    Reads the logs in all of `folders`, and writes to the first of them that is writable.
    """

    def __init__(self, *folders: Path) -> None:
        self._logs = AppendLogs("preheat-placed 1", folders)

    def read_also(self, folder: Path) -> None:
        """Also read the logs in `folder`."""
        self._logs.folders = (*self._logs.folders, folder)

    def below(self, folders: Iterable[str]) -> dict[str, tuple[Mark, ...]]:
        """Return the marks of each path below `folders`, newest first; `folders` are absolute, without symlinks."""
        starts = _outermost(f"{_quoted(folder.rstrip('/'))}/" for folder in folders)
        found: dict[str, list[Mark]] = {}
        for line in self._logs.lines() if starts else ():
            head, _, path = line.rpartition(" ")
            # Only the last of the folders that sort before the path can contain it.
            if path.startswith(starts[bisect(starts, path) - 1]) and (mark := _read(head)) is not None:
                found.setdefault(path, []).append(mark)
        return {unquoted(path): tuple(sorted(marks, key=lambda mark: -mark.at_ns)) for path, marks in found.items()}

    def begin(self, files: Iterable[tuple[str, Digest]]) -> None:
        """Log files before placing them, so that after a crash before `note` they do not count as the user's files."""
        self._logs.append(f"{BEGUN} {digest} 0 0 0 0 {time.time_ns()} {_quoted(path)}\n" for path, digest in files)

    def note(self, state: str, files: Iterable[tuple[str, Digest, StatFields]]) -> None:
        """Log the digest and stat of the file at each path. Do nothing if no log can be written.

        `state`: who placed the files, one of core.placement.STATES.
        """
        now_ns = time.time_ns()
        self._logs.append(
            f"{state} {digest} {look.inode} {look.size} {look.mtime_ns} {look.ctime_ns} {now_ns} {_quoted(path)}\n"
            for path, digest, look in files
        )

    def tidy(self) -> None:
        """Merge the logs if there are many, or if many lines are outdated; drop marks of paths that no longer exist."""
        self._logs.tidy(_kept)


def _kept(lines: Iterable[str]) -> list[str]:
    """Return the newest line of each word about a path."""
    newest: dict[tuple[str, str], tuple[int, str]] = {}
    for line in lines:
        head, _, path = line.rpartition(" ")
        mark = _read(head)
        if mark is not None and newest.get((path, mark.state), (0, ""))[0] < mark.at_ns:
            newest[path, mark.state] = mark.at_ns, line
    old_ns = time.time_ns() - _FORGOTTEN_AFTER_NS
    return [line for (path, _), (at_ns, line) in newest.items() if at_ns > old_ns or os.path.lexists(unquoted(path))]


def _outermost(folders: Iterable[str]) -> list[str]:
    """Return the folders that are in none of the others, sorted."""
    found: list[str] = []
    for folder in sorted(set(folders)):
        if not found or not folder.startswith(found[-1]):
            found.append(folder)
    return found


def _read(head: str) -> Mark | None:
    """Parse the part of a line before its path; return None if it is truncated."""
    try:
        state, digest, inode, size, mtime_ns, ctime_ns, at_ns = head.split(" ")
        look = StatFields(int(inode), int(size), int(mtime_ns), int(ctime_ns))
        return Mark(state, Digest.parse(digest), look, int(at_ns)) if state in STATES else None
    except (ValueError, UsageError):
        return None


def _quoted(path: str) -> str:
    return quote(os.fsencode(path), safe="/~+@,=:!$&'()*;[]{}")
