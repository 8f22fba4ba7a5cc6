"""Spoiled files: files of which clients may hold wrong bytes; stored on disk, and never resumed."""

import contextlib
import time
from pathlib import Path

from preheat.core.digest import Digest
from preheat.disk.temporary_file import write_whole

_KEPT_S = 30 * 86_400.0


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
