"""Saved answers: upstream responses on disk: file lists, branches, and which token opened which repository."""

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from preheat.core.errors import LibraryError
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.disk.temporary_file import create, write_whole
from preheat.library.records.records import Records
from preheat.library.small_files import read_small

_KEY_SIZE = 32
_MOST_ABSENT = 10_000
_MOST_TOLD = 1 << 30  # bytes of file lists, many of which no client may ever use


class Ledger:
    """Save upstream responses below `mirror/` in the library.

    `told/HUB/SLUG/…` contains file lists, in the format of records; `opened/HUB/SLUG/NAME` is an empty file for each
    token that opened a repository. Tokens are never written: NAME is an HMAC of the token, with a key that only this
    user can read.

    A restarted mirror serves from the ledger while no upstream answers. It is separate from the library's own versions:
    `ls` does not list it. Disk errors lose entries, and never fail a response. Thread-safe.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / "mirror"
        self._told = Records(self._root / "told")

    def note(self, snapshot: Snapshot) -> None:
        """Save a commit's file list, and the ref that resolved to it."""
        with contextlib.suppress(OSError):
            if self.find(snapshot.ref) != snapshot:
                self._told.write(snapshot)
                self._forget_oldest(self._root / "told", "*/*/*.json", _MOST_TOLD, lambda status: status.st_size)
            self._absent(snapshot.ref).unlink(missing_ok=True)

    def find(self, ref: Ref) -> Snapshot | None:
        """Return the snapshot that `ref` last resolved to upstream, or None."""
        with contextlib.suppress(OSError, LibraryError):
            return self._told.find(ref)
        return None

    def note_absent(self, ref: Ref) -> None:
        """Save that upstream has no such repository or revision."""
        path = self._absent(ref)
        with contextlib.suppress(OSError):
            if not path.exists():
                write_whole(path, b"")
                self._forget_oldest(path.parent, "*", _MOST_ABSENT, lambda _status: 1)

    def is_absent(self, ref: Ref) -> bool:
        """Return whether upstream had no such repository or revision at the last check."""
        return self._absent(ref).exists()

    def revisions(self, ref: Ref) -> dict[str, str]:
        """Return the branches and tags that clients have resolved upstream, and their commits."""
        with contextlib.suppress(OSError):
            return self._told.revisions(ref)
        return {}

    def open_to(self, ref: Ref, token: str) -> None:
        """Save that this token opened a repository upstream."""
        path = self._opened(ref, token, self._key(make=True))
        with contextlib.suppress(OSError):
            if path is not None and not path.exists():
                write_whole(path, b"")

    def close_to(self, ref: Ref, token: str) -> None:
        """Save that this token no longer opens the repository."""
        path = self._opened(ref, token, self._key())
        with contextlib.suppress(OSError):
            if path is not None:
                path.unlink(missing_ok=True)

    def opened_to(self, ref: Ref, token: str) -> bool:
        """Return whether this token opened the repository at the last check."""
        path = self._opened(ref, token, self._key())
        with contextlib.suppress(OSError):
            return path is not None and path.exists()
        return False

    def _absent(self, ref: Ref) -> Path:
        return self._root / "absent" / hashlib.sha256(str(ref).encode()).hexdigest()

    def _forget_oldest(self, root: Path, pattern: str, most: int, weigh: Callable[[os.stat_result], int]) -> None:
        """Delete the oldest files until the others weigh at most `most`."""
        found = sorted((status.st_mtime, weigh(status), path) for path, status in _files(root, pattern))
        above = sum(weight for _, weight, _ in found) - most
        for _, weight, path in found:
            if above <= 0:
                return
            path.unlink(missing_ok=True)
            above -= weight

    def _opened(self, ref: Ref, token: str, key: bytes) -> Path | None:
        if not token or not key:
            return None
        name = hmac.new(key, token.encode(), hashlib.sha256).hexdigest()
        return self._root / "opened" / ref.hub / ref.slug / name

    def _key(self, *, make: bool = False) -> bytes:
        path = self._root / "key"
        with contextlib.suppress(OSError):
            key = read_small(path, _KEY_SIZE)
            return key if len(key) == _KEY_SIZE else b""
        if make:
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                aside, descriptor = create(path, 0o600)
                with open(descriptor, "wb") as file:
                    file.write(secrets.token_bytes(_KEY_SIZE))
                    file.flush()
                    with contextlib.suppress(FileExistsError):
                        path.hardlink_to(aside)  # if two mirrors start at once, the first one's key wins
                    aside.unlink()
                return read_small(path, _KEY_SIZE)
        return b""


def _files(root: Path, pattern: str) -> Iterator[tuple[Path, os.stat_result]]:
    for path in root.glob(pattern):
        if not path.name.startswith("."):
            with contextlib.suppress(OSError):
                yield path, path.stat()
