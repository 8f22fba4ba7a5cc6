"""Placement log: files that views placed outside the library, and users' own files found there.

It distinguishes copies made by preheat from the user's own files, which preheat never replaces.
"""

import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from preheat.core.digest import Digest
from preheat.core.errors import UsageError
from preheat.core.placement import BEGUN, WORDS, Look, Mark
from preheat.library.ownership import open_to_append
from preheat.library.small_files import read_small

_MAGIC = "preheat-placed 1"
_MANY_LOGS = 64
_FORGOTTEN_AFTER_NS = 90 * 86400 * 10**9


class Marks:
    """Append-only logs, one per process: `placed/RANDOM.log`.

    Reads the logs in all of `folders`, and writes to the first of them that is writable.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._name = f"{secrets.token_hex(8)}.log"

    def also(self, folder: Path) -> None:
        """Also read the logs in `folder`."""
        self._folders = (*self._folders, folder)

    def below(self, folders: Iterable[str]) -> dict[str, tuple[Mark, ...]]:
        """Return the marks of each path below `folders`, newest first; `folders` are absolute, without symlinks."""
        starts = tuple({f"{_quoted(folder.rstrip('/'))}/" for folder in folders})
        found: dict[str, list[Mark]] = {}
        for log in self._logs():
            for line in _lines(log):
                head, _, path = line.rpartition(" ")
                if path.startswith(starts) and (mark := _read(head)) is not None:
                    found.setdefault(path, []).append(mark)
        return {
            os.fsdecode(unquote_to_bytes(path)): tuple(sorted(marks, key=lambda mark: -mark.at_ns))
            for path, marks in found.items()
        }

    def begin(self, files: Iterable[tuple[str, Digest]]) -> None:
        """Log files before placing them: if the process is killed before `note`, they are not taken for the user's."""
        self._append(f"{BEGUN} {digest} 0 0 0 0 {time.time_ns()} {_quoted(path)}\n" for path, digest in files)

    def note(self, word: str, files: Iterable[tuple[str, Digest, Look]]) -> None:
        """Log the files that are now at some paths. Do nothing if no log can be written."""
        now_ns = time.time_ns()
        self._append(
            f"{word} {digest} {look.inode} {look.size} {look.mtime_ns} {look.ctime_ns} {now_ns} {_quoted(path)}\n"
            for path, digest, look in files
        )

    def tidy(self) -> None:
        """Merge the logs into one if there are more than 64, without old marks of paths that no longer exist."""
        logs = self._logs()
        if len(logs) <= _MANY_LOGS:
            return
        newest: dict[tuple[str, str], tuple[int, str]] = {}
        for log in logs:
            for line in _lines(log):
                head, _, path = line.rpartition(" ")
                mark = _read(head)
                if mark is not None and newest.get((path, mark.word), (0, ""))[0] < mark.at_ns:
                    newest[path, mark.word] = mark.at_ns, line
        old_ns = time.time_ns() - _FORGOTTEN_AFTER_NS
        kept = [
            f"{line}\n"
            for (path, _), (at_ns, line) in newest.items()
            if at_ns > old_ns or os.path.lexists(unquote_to_bytes(path))
        ]
        if self._append(kept):
            for log in logs:
                if log.name != self._name:
                    with suppress(OSError):
                        log.unlink()

    def _logs(self) -> list[Path]:
        return [log for folder in self._folders for log in folder.glob("*.log")]

    def _append(self, lines: Iterable[str]) -> bool:
        """Append lines in one write; return whether they were written."""
        body = "".join(lines)
        for folder in self._folders if body else ():
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                log = open_to_append(folder / self._name)
                try:
                    first = "" if os.fstat(log).st_size else f"{_MAGIC}\n"
                    data = f"{first}{body}".encode("ascii")
                    return os.write(log, data) == len(data)
                finally:
                    os.close(log)
        return not body


def _lines(log: Path) -> list[str]:
    try:
        first, *lines = read_small(log).decode("ascii", "replace").split("\n")[:-1]
    except (OSError, ValueError):
        return []  # removed since, or truncated before its first line
    return lines if first == _MAGIC else []


def _read(head: str) -> Mark | None:
    """Parse the part of a line before its path; return None if it is truncated."""
    try:
        word, digest, inode, size, mtime_ns, ctime_ns, at_ns = head.split(" ")
        look = Look(int(inode), int(size), int(mtime_ns), int(ctime_ns))
        return Mark(word, Digest.parse(digest), look, int(at_ns)) if word in WORDS else None
    except (ValueError, UsageError):
        return None


def _quoted(path: str) -> str:
    return quote(os.fsencode(path), safe="/~+@,=:!$&'()*;[]{}")
