"""Running hash: hashes the start of a file as far as it is complete, while bytes arrive in any order."""

import threading

from preheat.core.digest import GIT_SHA1, SHA256, Hasher, hasher
from preheat.core.snapshot import File
from preheat.disk.file_hash import feed

SMALL = 1 << 20


class Tide:
    """Hashes what is on disk up to a mark, once; safe for threads.

    A small file is hashed by both algorithms, so that a hub that tells the other digest finds it too.
    """

    def __init__(self, file: File) -> None:
        self._size = file.size
        algorithms = {SHA256, GIT_SHA1} if file.size <= SMALL else {file.digest.algorithm, SHA256}
        self._hashers: dict[str, Hasher] = {algorithm: hasher(algorithm, file.size) for algorithm in algorithms}
        self._at = 0
        self._turn = threading.Lock()

    def rise(self, descriptor: int, stop: int) -> None:
        """Hash up to `stop`, unless another thread is hashing."""
        if self._turn.acquire(blocking=False):
            try:
                self._rise(descriptor, stop)
            finally:
                self._turn.release()

    def finish(self, descriptor: int) -> dict[str, str]:
        """Hash to the end; return the digests, hexadecimal by algorithm."""
        with self._turn:
            self._rise(descriptor, self._size)
            return {algorithm: one.hexdigest() for algorithm, one in self._hashers.items()}

    def _rise(self, descriptor: int, stop: int) -> None:
        if self._at < stop:
            self._at = feed(descriptor, self._at, stop, self._hashers.values())
