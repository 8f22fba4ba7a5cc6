"""File hashes: sizes and digests of the files that a start left behind, each computed once."""

import hashlib
import os
import stat
from collections.abc import Callable

from preheat.core.digest import Digest, hasher

_CHUNK = 1 << 20


class FileHashes:
    """Reads sizes and digests of files. Nothing more is hashed once `hurried` returns True."""

    def __init__(self, hurried: Callable[[], bool] = lambda: False) -> None:
        self._hurried = hurried
        self._digests: dict[tuple[str, str], Digest] = {}
        self._sizes: dict[str, int | None] = {}

    def size(self, path: str) -> int | None:
        """Return the size of a regular file in bytes, of the one that a symlink leads to; None if it is none."""
        if path not in self._sizes:
            try:
                status = os.stat(path)  # noqa: PTH116 - thousands of them
                self._sizes[path] = status.st_size if stat.S_ISREG(status.st_mode) else None
            except (OSError, ValueError):
                self._sizes[path] = None
        return self._sizes[path]

    def digest(self, path: str, algorithm: str) -> Digest | None:
        """Return the digest of a regular file; None if it cannot be read, or the trace is hurried."""
        key = (os.path.realpath(path), algorithm)
        if key not in self._digests:
            size = self.size(path)
            if size is None:
                return None
            hashing = hasher(algorithm, size)
            if not self._feed(path, 0, size, hashing.update):
                return None
            self._digests[key] = Digest(algorithm, hashing.hexdigest())
        return self._digests[key]

    def range_is(self, path: str, start: int, size: int, sha256: str) -> bool:
        """Return whether `size` bytes from `start` have this sha256."""
        hashing = hashlib.sha256()
        return self._feed(path, start, size, hashing.update) and hashing.hexdigest() == sha256

    def _feed(self, path: str, start: int, size: int, update: Callable[[bytes], object]) -> bool:
        """Pass on exactly `size` bytes; return False if there are fewer, or they cannot be read."""
        try:
            # O_NONBLOCK: a FIFO would block until another program writes to it.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            with open(descriptor, "rb", buffering=0) as file:
                file.seek(start)
                while size > 0 and (chunk := file.read(min(_CHUNK, size))):
                    if self._hurried():
                        return False
                    update(chunk)
                    size -= len(chunk)
        except OSError:
            return False
        return size == 0
