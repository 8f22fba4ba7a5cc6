"""Unread files: files that traced apps downloaded and never opened; `prune --unread` removes them."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.disk.temporary_file import write_whole
from preheat.library.small_files import read_small

Version = tuple[str, str, str]  # hub, slug and commit


def version_of(ref: Ref, commit: str) -> Version:
    """Return the version of `ref` at `commit`, as the key of its note."""
    return ref.hub, ref.slug, commit


class UnreadFiles:
    """Notes on versions in the library at `root`: `unread/HUB/SLUG/COMMIT`, a JSON list of digests.

    A pull of a file, and a trace of an app that opens it, remove it from the note. A note that cannot be read counts as
    missing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / "unread"
        self._is_there: bool | None = None  # asked once, since hardly any library has notes

    def note(self, ref: Ref, commit: str, files: Iterable[File]) -> None:
        """Add files of a version to its note."""
        self._is_there = True
        self._write(ref, commit, self._read(self._path(ref, commit)) | {str(file.digest) for file in files})

    def forget(self, ref: Ref, commit: str, files: Iterable[File]) -> None:
        """Remove files of a version from its note, because a pull or an app needs them."""
        if self._is_there is None:
            self._is_there = self._root.is_dir()
        if not self._is_there:
            return
        known = self._read(self._path(ref, commit))
        if known:
            self._write(ref, commit, known - {str(file.digest) for file in files})

    def all(self) -> dict[Version, frozenset[str]]:
        """Return the digests (`algorithm:hex`) in each note."""
        found = (path for path in self._root.glob("*/*/[!.]*"))
        return {(path.parts[-3], path.parts[-2], path.name): self._read(path) for path in found}

    def drop(self, versions: Iterable[Version]) -> None:
        """Remove whole notes."""
        for hub, slug, commit in versions:
            (self._root / hub / slug / commit).unlink(missing_ok=True)

    def _path(self, ref: Ref, commit: str) -> Path:
        return self._root.joinpath(*version_of(ref, commit))

    def _read(self, path: Path) -> frozenset[str]:
        try:
            return frozenset(msgspec.json.decode(read_small(path), type=list[str]))
        except (OSError, ValueError):
            return frozenset()

    def _write(self, ref: Ref, commit: str, digests: Iterable[str]) -> None:
        path, listed = self._path(ref, commit), sorted(digests)
        if listed:
            write_whole(path, msgspec.json.encode(listed))
        else:
            path.unlink(missing_ok=True)
