"""Seals: the stat result of each blob when it was last hashed, to detect changes without reading the blob."""

import os
import threading
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from preheat.core.digest import Digest
from preheat.library.records.append_logs import AppendLogs

_TOGETHER = 64
_CLOCKS_DIFFER_S = 3600.0  # of machines that share a library


class Seal(msgspec.Struct, frozen=True):
    """Size, times, inode and link count of a file, and `at`, when it was hashed, in epoch seconds."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    names: int
    at: int

    @classmethod
    def of(cls, status: os.stat_result, at: float) -> "Seal":
        """Return the seal of a file with this stat result."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_nlink, int(at))

    def broken(self, status: os.stat_result) -> bool:
        """Return whether the file was changed or replaced since it was sealed.

        Programs cannot set the ctime: it reveals a write whose mtime was set back, a file renamed over this one, and a
        copy. Adding or removing a hard link changes it too, although no byte changes.
        """
        look = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return look != (self.size, self.mtime_ns, self.ctime_ns)


def fits(line: str, status: os.stat_result, *, inode: bool = False) -> bool:
    """Return whether a file has not been changed or replaced since it was sealed with `line`; see `Seal.broken`.

    With `inode`, return only whether it is the same file. Compares text: a start asks for each of thousands of files.
    """
    if inode:
        return line.split(" ")[3:4] == [str(status.st_ino)]
    return line.startswith(f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} ")


class Seals:
    """Append-only logs: `seals/MACHINE-UID.log`, see AppendLogs; the latest line about a blob is valid.

    Without its seal, a change of a blob is found only by hashing it, which alone proves that bytes are right.
    """

    def __init__(self, root: Path) -> None:
        self._logs = AppendLogs("preheat-seals 1", (root,))
        self._turn = threading.Lock()  # guards `_lines`: the rest of each blob's lines, by `algorithm:hex`
        self._lines: dict[str, list[str]] = {}
        self._waiting: list[str] = []  # list.append and list.pop are atomic

    def note(self, digest: Digest, path: Path | str, *, later: bool = False) -> None:
        """Seal a blob that was just hashed. Do nothing if the library is read-only.

        `later`: write 64 seals together. Call `flush` after the last of them; a process that is killed before loses
        them, and the next one hashes these blobs again. So use it for small files only.
        """
        with suppress(OSError):
            seal = Seal.of(os.stat(path), time.time())  # noqa: PTH116 - faster for thousands of files
            self._waiting.append(f"{digest} {_line(seal)}\n")
            if not later or len(self._waiting) >= _TOGETHER:
                self.flush()

    def flush(self) -> None:
        """Write the seals that `note` keeps for later."""
        lines = []
        with suppress(IndexError):  # a loop over pop, since other threads may append and flush at the same time
            while True:
                lines.append(self._waiting.pop())
        self._logs.append(lines)

    def read(self) -> dict[str, Seal]:
        """Return the latest seal of each blob, by `algorithm:hex`."""
        return {name: _latest(seals) for name, seals in self.all().items()}

    def all(self, only: Collection[str] | None = None) -> dict[str, list[Seal]]:
        """Return all seals, or `only` those of some blobs, by `algorithm:hex`.

        A file that matches any seal of its blob has not changed since it was hashed. Reads only what was appended to
        the logs since the last call.
        """
        return {name: seals for name, lines in self.lines(only).items() if (seals := _parsed(lines))}

    def lines(self, only: Collection[str] | None = None) -> dict[str, list[str]]:
        """Return the lines of seals by `algorithm:hex`, for `fits`; see `all`."""
        self.flush()
        with self._turn:
            replaced, news = self._logs.news()
            if replaced:
                self._lines = {}
            known = self._lines
            for line in news:
                name, _, rest = line.partition(" ")
                known.setdefault(name, []).append(rest)
            return dict(known) if only is None else {name: known[name] for name in only if name in known}

    def tidy(self, here: Collection[str]) -> None:
        """Merge the logs if there are many, or if many lines are outdated; keep the seals of the blobs in `here`."""

        def kept(lines: Iterable[str]) -> list[str]:
            found: dict[str, list[str]] = {}
            for line in lines:
                name, _, rest = line.partition(" ")
                if name in here:
                    found.setdefault(name, []).append(rest)
            parsed = ((name, _parsed(rests)) for name, rests in found.items())
            latest = ((name, _latest(seals)) for name, seals in parsed if seals)
            return [f"{name} {_line(seal)}" for name, seal in latest]

        self._logs.tidy(kept)


def _latest(seals: Iterable[Seal]) -> Seal:
    """Return the latest seal; one from the future, when a clock was wrong, counts as the oldest."""
    now = time.time() + _CLOCKS_DIFFER_S
    return max(seals, key=lambda seal: seal.at if seal.at <= now else 0)


def _parsed(lines: Iterable[str]) -> list[Seal]:
    """Parse lines without their names; skip truncated ones."""
    seals = []
    for line in lines:
        with suppress(TypeError, ValueError):
            seals.append(Seal(*map(int, line.split(" "))))
    return seals


def _line(seal: Seal) -> str:
    return f"{seal.size} {seal.mtime_ns} {seal.ctime_ns} {seal.inode} {seal.names} {seal.at}"
