"""Running hash: hash a file up to its first gap while its bytes arrive in any order."""

import threading

from preheat.core.digest import GIT_SHA1, SHA256, Hasher, hasher
from preheat.core.snapshot import File
from preheat.disk.file_hash import feed
from preheat.library.blobs.blobs import SMALL


class RunningHash:
    """Incremental hash of a partial; hashes each byte once. Thread-safe.

    A file of up to 1 MiB is hashed by both algorithms, so hubs that list either digest share the blob.
    """

    def __init__(self, file: File) -> None:
        self._size = file.size
        algorithms = {SHA256, GIT_SHA1} if file.size <= SMALL else {file.digest.algorithm, SHA256}
        self._hashers: dict[str, Hasher] = {algorithm: hasher(algorithm, file.size) for algorithm in algorithms}
        self._at = 0
        self._turn = threading.Lock()

    def advance(self, descriptor: int, stop: int) -> None:
        """Hash up to offset `stop`; return at once if another thread is hashing."""
        if self._turn.acquire(blocking=False):
            try:
                self._advance(descriptor, stop)
            finally:
                self._turn.release()

    def update(self, start: int, data: memoryview) -> None:
        """Hash `data`, written at offset `start`, if all before it is hashed and no other thread is hashing.

        This avoids reading it back: it is still in the core's cache.
        """
        if start == self._at and self._turn.acquire(blocking=False):
            try:
                if start == self._at:
                    for one in self._hashers.values():
                        one.update(data)
                    self._at += len(data)
            finally:
                self._turn.release()

    def finish(self, descriptor: int) -> dict[str, str]:
        """Hash to the end of the file; return the hex digests by algorithm."""
        with self._turn:
            self._advance(descriptor, self._size)
            return {algorithm: one.hexdigest() for algorithm, one in self._hashers.items()}

    def _advance(self, descriptor: int, stop: int) -> None:
        if self._at < stop:
            self._at = feed(descriptor, self._at, stop, self._hashers.values())
