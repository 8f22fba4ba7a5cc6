"""Visibility: which repositories came through the mirror, and whether they are public or private upstream."""

import hashlib
from pathlib import Path

from preheat.core.ref import Ref
from preheat.disk.temporary_file import write_whole
from preheat.library.blobs.partial import disk_trouble
from preheat.library.small_files import read_small

# ELSEWHERE: open at an upstream that is not the hub itself, whose refusal says nothing about it.
OPEN, CLOSED, ELSEWHERE = "open", "closed", "open elsewhere"


class Gate:
    """One small file a repository in the library, `mirror/HUB/SLUG`: `open`, `closed` or `open elsewhere`.

    What has none was put into the library by whoever runs the mirror, and is served to whoever reaches it. Tokens are
    never written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / "mirror"

    def state(self, ref: Ref) -> str:
        """Return the state of what came through, nothing of what did not; what cannot be read is closed."""
        try:
            told = read_small(self._path(ref)).decode("ascii", "replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError:
            return CLOSED
        return told if told in (OPEN, ELSEWHERE) else CLOSED

    def note(self, ref: Ref, state: str) -> None:
        """Keep the state of a repository, on disk, before anything of it can be there."""
        if self.state(ref) == state:
            return
        try:
            write_whole(self._path(ref), f"{state}\n".encode())
        except OSError as error:
            raise disk_trouble(error, self._path(ref)) from error

    def _path(self, ref: Ref) -> Path:
        return self._root / ref.hub / ref.slug


def name_of(token: str) -> str:
    """Name a token so that nobody can use the name for it; nothing for none."""
    return hashlib.sha256(token.encode()).hexdigest() if token else ""
