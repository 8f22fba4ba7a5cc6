"""Append logs: a folder of text files with one fact a line, one file for each machine and user."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from preheat.disk.temporary_file import write_whole
from preheat.library.ownership import open_to_append
from preheat.library.records.this_machine import machine
from preheat.library.small_files import read_small

_MANY_LOGS = 64
_MANY_LINES = 1000  # outdated lines
_MOST = 1 << 30  # bytes of a log


class AppendLogs:
    """The files `MACHINE-UID.log` and other `*.log` in all of `folders`; appends to the first that is writable.

    Processes of one machine append to the same file: one write(2) with O_APPEND does not mix with another. Each file
    begins with the line `magic`, and readers skip lines that they do not understand.
    """

    def __init__(self, magic: str, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self._magic = magic
        self._name = f"{machine()}-{os.getuid()}.log"
        self._turn = threading.Lock()  # guards `_at`: by log, its inode number, and the bytes that `news` has read
        self._at: dict[Path, tuple[int, int]] = {}
        self._begun = False

    def lines(self) -> Iterator[str]:
        """Iterate over the lines of all logs; skip files that are no logs, or that cannot be read."""
        for log in self._logs():
            yield from self._read(log)

    def news(self) -> tuple[bool, list[str]]:
        """Return False and the lines appended since the last call; or True and all lines, if a log was replaced."""
        with self._turn:
            looks = {}
            for log in self._logs():
                with suppress(OSError):
                    looks[log] = log.stat()
            replaced = any(
                log not in looks or looks[log].st_ino != inode or looks[log].st_size < at
                for log, (inode, at) in self._at.items()
            )
            if replaced:
                self._at.clear()
            lines = []
            for log, look in looks.items():
                _, at = self._at.get(log, (0, 0))
                if look.st_size > at:
                    new, more = self._read_on(log, at)
                    lines += new
                    self._at[log] = look.st_ino, at + more
            return replaced, lines

    def append(self, lines: Iterable[str]) -> bool:
        """Append lines in one write, each with its newline; return whether they were written."""
        body = "".join(lines)
        for folder in self.folders if body else ():
            with suppress(OSError):
                log = self._opened(folder)
                try:
                    data = f"{self._start(os.fstat(log).st_size)}{body}".encode("ascii")
                    return os.write(log, data) == len(data)
                finally:
                    os.close(log)
        return not body

    def tidy(self, kept: Callable[[Iterable[str]], Sequence[str]]) -> None:
        """Merge the logs into one if there are more than 64, or if many lines are outdated.

        `kept` returns the lines that still count, without newlines. Lines that another process appends meanwhile are
        lost.
        """
        logs = self._logs()
        before = [line for log in logs for line in self._read(log)]
        after = kept(before)
        if len(logs) <= _MANY_LOGS and len(before) <= 2 * len(after) + _MANY_LINES:
            return
        body = "".join(f"{line}\n" for line in (self._magic, *after)).encode("ascii")
        for folder in self.folders:
            with suppress(OSError):
                merged = folder / self._name
                write_whole(merged, body)
                for log in logs:
                    if log != merged:
                        with suppress(OSError):
                            log.unlink()
                return

    def _opened(self, folder: Path) -> int:
        try:
            return open_to_append(folder / self._name)
        except FileNotFoundError:
            folder.mkdir(parents=True, exist_ok=True)
            return open_to_append(folder / self._name)

    def _start(self, size: int) -> str:
        """Return the text to write first: the magic line, or a newline to end a line that a killed process left."""
        begun, self._begun = self._begun, True
        return f"{self._magic}\n" if not size else "" if begun else "\n"

    def _logs(self) -> list[Path]:
        return [log for folder in self.folders for log in sorted(folder.glob("*.log"))]

    def _read(self, log: Path) -> list[str]:
        return self._read_on(log, 0)[0]

    def _read_on(self, log: Path, start: int) -> tuple[list[str], int]:
        """Return the whole lines of a log from byte `start`, and their size in bytes."""
        try:
            body = read_small(log, _MOST, start)
        except OSError:
            return [], 0  # removed since
        body = body[: body.rfind(b"\n") + 1]
        lines = body.decode("ascii", "replace").split("\n")[:-1]
        if start:
            return lines, len(body)
        return (lines[1:], len(body)) if lines[:1] == [self._magic] else ([], len(body))
