"""Seals: the stat result of each blob when it was last hashed, to detect changes without reading the blob."""

import os
import secrets
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import Digest
from preheat.library.ownership import open_to_append
from preheat.library.small_files import read_small

_MAGIC = "preheat-seals 1"
_MANY_LOGS = 64


@dataclass(frozen=True, slots=True)
class Seal:
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


class Seals:
    """Append-only logs, one per process: `seals/RANDOM.log`; the latest line about a blob is valid.

    A lost seal does no harm beyond a missed change: only hashing proves that bytes are right.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._log = root / f"{secrets.token_hex(8)}.log"
        self._begun = False

    def note(self, digest: Digest, path: Path) -> None:
        """Seal a blob that was just hashed. Do nothing if the library is read-only."""
        with suppress(OSError):
            seal = Seal.of(path.stat(), time.time())
            self._append(f"{digest} {_words(seal)}\n")

    def read(self) -> dict[str, Seal]:
        """Return the latest seal of each blob, by `algorithm:hex`."""
        return {name: max(seals, key=lambda seal: seal.at) for name, seals in self.all().items()}

    def all(self, only: Collection[str] | None = None) -> dict[str, list[Seal]]:
        """Return all seals, or `only` those of some blobs, by `algorithm:hex`.

        A file that matches any seal of its blob has not changed since it was hashed.
        """
        found: dict[str, list[Seal]] = {}
        for path in self._logs():
            try:
                first, *lines = read_small(path).decode("ascii", "replace").split("\n")[:-1]
            except (OSError, ValueError):
                continue
            for line in lines if first == _MAGIC else ():
                name, _, rest = line.partition(" ")
                if only is not None and name not in only:
                    continue
                try:
                    seal = Seal(*map(int, rest.split(" ")))
                except (TypeError, ValueError):
                    continue  # truncated
                found.setdefault(name, []).append(seal)
        return found

    def tidy(self, here: Collection[str]) -> None:
        """Merge the logs into one if there are more than 64, with only the seals of the blobs in `here`.

        A process that still appends to an old log loses those lines.
        """
        logs = self._logs()
        if len(logs) <= _MANY_LOGS:
            return
        lines = [f"{name} {_words(seal)}\n" for name, seal in self.read().items() if name in here]
        with suppress(OSError):
            self._append("".join(lines))
            for path in logs:
                if path != self._log:
                    path.unlink(missing_ok=True)

    def _logs(self) -> list[Path]:
        return sorted(self._root.glob("*.log"))

    def _append(self, lines: str) -> None:
        if not self._begun:
            self._root.mkdir(parents=True, exist_ok=True)
            lines, self._begun = f"{_MAGIC}\n{lines}", True
        descriptor = open_to_append(self._log)
        try:
            os.write(descriptor, lines.encode("ascii"))
        finally:
            os.close(descriptor)


def _words(seal: Seal) -> str:
    return f"{seal.size} {seal.mtime_ns} {seal.ctime_ns} {seal.inode} {seal.names} {seal.at}"
