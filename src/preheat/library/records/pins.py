"""Pins: versions that are never removed automatically."""

from pathlib import Path

from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.disk.temporary_file import write_whole


class Pins:
    """Pinned commits, one small file each: `pins/HUB/SLUG/COMMIT`, which contains the ref as the user typed it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __contains__(self, snapshot: Snapshot) -> bool:
        return self.has(snapshot.ref, snapshot.commit)

    def has(self, ref: Ref, commit: str) -> bool:
        """Return whether a commit of the repository is pinned."""
        return self._path(ref, commit).exists()

    def all(self) -> set[tuple[str, str, str]]:
        """Return hub, slug and commit of all pins."""
        return {(path.parts[-3], path.parts[-2], path.name) for path in self._root.glob("*/*/[!.]*")}

    def add(self, snapshot: Snapshot) -> None:
        """Pin a version."""
        write_whole(self._path(snapshot.ref, snapshot.commit), f"{snapshot.ref}\n".encode())

    def remove(self, snapshot: Snapshot) -> bool:
        """Unpin a version; return whether it was pinned."""
        path = self._path(snapshot.ref, snapshot.commit)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        return True

    def _path(self, ref: Ref, commit: str) -> Path:
        return self._root / ref.hub / ref.slug / commit
