"""Blob check: detect whether a blob has changed since it was last hashed; if so, hash it again."""

import os
import threading
from typing import TYPE_CHECKING

from preheat.core.snapshot import File
from preheat.library.upkeep.inventory import Blob
from preheat.library.upkeep.verification import Finding, quarantine, verify

if TYPE_CHECKING:
    from preheat.library.library import Library

FileStat = tuple[int, int, int, int]


class Soundness:
    """Checks the blobs of one library for a long-running server. Thread-safe.

    A check of an unchanged blob costs one stat(2). `_turn` guards both dictionaries. While a blob is hashed, only its
    own lock is held.
    """

    def __init__(self, library: "Library") -> None:
        self._library = library
        self._known: dict[str, FileStat] = {}
        self._hashing: dict[str, threading.Lock] = {}
        self._turn = threading.Lock()

    def check(self, file: File, name: str) -> int | None:
        """Return the size of the file's blob at the path `name`, in bytes; None if it is missing or corrupt.

        Quarantine a corrupt blob. Raise OSError if the blob cannot be read.
        """
        look = _look(name)
        if look is None:
            return None
        with self._turn:
            if self._known.get(name) == look:
                return look[0]
            hashing = self._hashing.setdefault(name, threading.Lock())
        with hashing:
            if not is_sound(self._library, file):
                return None
        if _look(name) == look:  # otherwise it changed while it was hashed: the next call checks it again
            with self._turn:
                self._known[name] = look
        return look[0]


def is_sound(library: "Library", file: File) -> bool:
    """Return whether a file's blob exists and is correct; hash it only if its seal does not match."""
    if not library.has(file.digest):
        return False
    if not library.touched((file,)):
        return True
    status = library.path(file.digest).stat()
    blob = Blob((file.digest,), status.st_size, status.st_blocks * 512, status.st_ctime)
    findings: list[Finding] = []
    verify([blob], library.path, library.seals, lambda _size: None, findings.append)
    for finding in findings:
        if finding.fault and library.writable:
            quarantine(library.root, finding, library.path)
    return bool(findings) and not any(finding.fault for finding in findings)


def _look(name: str) -> FileStat | None:
    try:
        status = os.stat(name)  # noqa: PTH116 - faster than Path: a mirror does this for each request
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
