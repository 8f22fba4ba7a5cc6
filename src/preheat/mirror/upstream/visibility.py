"""Visibility: which repositories the mirror downloaded, and whether they are public or private upstream."""

import hashlib
import os
from pathlib import Path

from preheat.core.ref import Ref
from preheat.disk.temporary_file import write_whole
from preheat.library.blobs.disk_errors import disk_trouble
from preheat.library.decoded_files import Decoded
from preheat.library.small_files import read_dated

# ELSEWHERE: public at an upstream that is not the hub itself, so that upstream's refusals prove nothing.
OPEN, CLOSED, ELSEWHERE = "open", "closed", "open elsewhere"


class Gate:
    """Store one small file for each repository, `mirror/HUB/SLUG`: `open`, `closed` or `open elsewhere`.

    A repository without such a file was added to the library by the mirror's operator, and is served to every client.
    Tokens are never written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / "mirror"
        self._states: Decoded[str] = Decoded(_read, lambda _state: 1, settled_s=0.1, looks_first=True)

    def state(self, ref: Ref) -> str:
        """Return a repository's state; "" if the mirror did not download it, `closed` if the file cannot be read."""
        try:
            return self._states.read(f"{self._root}/{ref.hub}/{ref.slug}") or ""
        except OSError:
            return CLOSED  # for this request: the next one reads the file again

    def note(self, ref: Ref, state: str) -> None:
        """Store a repository's state, before any of its files is stored; raise LibraryError if the disk refuses."""
        if self.state(ref) == state:
            return
        try:
            write_whole(self._path(ref), f"{state}\n".encode())
        except OSError as error:
            raise disk_trouble(error, self._path(ref)) from error

    def _path(self, ref: Ref) -> Path:
        return self._root / ref.hub / ref.slug


def _read(path: Path) -> tuple[str, os.stat_result] | None:
    try:
        body, status = read_dated(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    told = body.decode("ascii", "replace").strip()
    return told if told in (OPEN, ELSEWHERE) else CLOSED, status


def name_of(token: str) -> str:
    """Return a token's SHA-256 in hex, to use as a key; "" for no token."""
    return hashlib.sha256(token.encode()).hexdigest() if token else ""
