"""Spoiled files: those of which clients may have wrong bytes, on disk; such downloads are never resumed."""

import contextlib
import time
from pathlib import Path

from preheat.core.digest import Digest
from preheat.disk.temporary_file import write_whole

_KEPT_S = 30 * 86_400.0


class Spoilt:
    """One empty file a digest, `mirror/spoilt/ALGORITHM-HEX`, for 30 days. Threads may share it.

    Clients as huggingface_hub resume by Range and check no digest: what they hold of a file whose bytes turned out
    wrong would become a wrong file with a right end.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / "mirror" / "spoilt"

    def note(self, digest: Digest) -> None:
        """Keep that wrong bytes under this digest may have been handed out."""
        with contextlib.suppress(OSError):
            write_whole(self._path(digest), b"")
            for path in self._root.iterdir():
                if time.time() - path.stat().st_mtime > _KEPT_S:
                    path.unlink(missing_ok=True)

    def has(self, digest: Digest) -> bool:
        """Whether wrong bytes may have been handed out; a stat(2)."""
        return self._path(digest).exists()

    def _path(self, digest: Digest) -> Path:
        return self._root / f"{digest.algorithm}-{digest.hex}"
