"""Spoiled files: files of which clients may hold wrong bytes; stored on disk, and never resumed."""

import contextlib
import threading
import time
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import IntegrityError
from preheat.core.snapshot import File
from preheat.disk.temporary_file import write_whole

_KEPT_S = 30 * 86_400.0
# After this many downloads in a row with wrong bytes, a file is not downloaded for a while: clients that retry by
# themselves would never stop.
_WRONG_OFTEN, _WRONG_S = 2, 60.0
_MOST_WRONG = 1_000


class Spoilt:
    """Store one empty file for each digest, `mirror/spoilt/ALGORITHM-HEX`, for 30 days. Thread-safe.

    Clients such as huggingface_hub resume with Range and check no digest, so wrong bytes that they already hold would
    stay in a file that looks complete.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / "mirror" / "spoilt"

    def note(self, digest: Digest) -> None:
        """Record that wrong bytes with this digest may have been sent to clients."""
        with contextlib.suppress(OSError):
            write_whole(self._path(digest), b"")
            for path in self._root.iterdir():
                if time.time() - path.stat().st_mtime > _KEPT_S:
                    path.unlink(missing_ok=True)

    def has(self, digest: Digest) -> bool:
        """Return whether wrong bytes with this digest may have been sent to clients; costs one stat(2)."""
        return self._path(digest).exists()

    def _path(self, digest: Digest) -> Path:
        return self._root / f"{digest.algorithm}-{digest.hex}"


class WrongDownloads:
    """Count downloads with the wrong digest in a row, for the last 1,000 files that had one. Thread-safe."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._wrong: dict[Digest, tuple[int, float]] = {}  # downloads in a row, and the time of the last

    def refuse(self, file: File) -> None:
        """Raise IntegrityError if the last two downloads of a file were wrong, the last within a minute."""
        with self._turn:
            times, at = self._wrong.get(file.digest, (0, 0.0))
        if times >= _WRONG_OFTEN and time.monotonic() - at < _WRONG_S:
            raise IntegrityError(f"{file.path}: upstream has sent wrong bytes {times} times")

    def judge(self, file: File, *, wrong: bool) -> None:
        """Record how a download has ended."""
        with self._turn:
            times, _ = self._wrong.pop(file.digest, (0, 0.0))
            if wrong:
                while len(self._wrong) >= _MOST_WRONG:
                    del self._wrong[next(iter(self._wrong))]
                self._wrong[file.digest] = times + 1, time.monotonic()
