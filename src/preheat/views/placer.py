"""Placer: lays blobs and small files out in a view, and counts what that took."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from preheat.aside import left, put, tidy
from preheat.errors import LibraryError
from preheat.snapshot import File
from preheat.views.links import AUTO, COPY, SYMLINK, link
from preheat.views.view import BlobPath, Placement


class Placer:
    """Used for one placing. What is right already is left as it is."""

    def __init__(self, blob_path: BlobPath, ways: Sequence[str] = AUTO) -> None:
        self._blob_path = blob_path
        self._ways = tuple(ways)
        self._left: dict[Path, list[Path]] = {}  # by folder, what killed processes have left
        self._names: dict[str, tuple[Path, File]] = {}
        self._links: Counter[str] = Counter()
        self._copied = 0
        self._leads = False

    def put(self, file: File, at: Path) -> None:
        """Put a file's bytes at `at`. Raise LibraryError when no way works, or its name is another's here."""
        self._folder(at.parent)
        tidy(at, self._left[at.parent])
        self._require_own_name(file, at)
        way = link(self._blob_path(file.digest), at, self._ways)
        self._leads |= way == SYMLINK or (way is None and at.is_symlink())
        if way is None:
            return
        self._links[way] += 1
        if way == COPY:
            self._copied += file.size
        # What worked once works for the rest: no need to hear every other way refused again.
        self._ways = (way, *(other for other in self._ways if other != way))

    def point(self, at: Path, target: str) -> bool:
        """Make `at` a symlink to `target`; whether symlinks can be had here at all."""
        self._folder(at.parent)
        tidy(at, self._left[at.parent])
        if at.is_symlink() and str(at.readlink()) == target:
            return True
        try:
            put(at, lambda aside: aside.symlink_to(target))
        except OSError:
            if at.is_dir() and not at.is_symlink():
                raise
            return False
        return True

    def write(self, at: Path, data: bytes) -> None:
        """Make `at` a small file that holds `data`, in one step."""
        self._folder(at.parent)
        tidy(at, self._left[at.parent])
        if not at.is_symlink() and at.is_file() and at.read_bytes() == data:
            return
        put(at, lambda aside: aside.write_bytes(data))

    def placement(self) -> Placement:
        """Say what it came to."""
        return Placement(dict(self._links), self._copied, self._leads)

    def _require_own_name(self, file: File, at: Path) -> None:
        """See that a filesystem that does not tell A from a does not make one file of two."""
        alike, other = self._names.setdefault(str(at).casefold(), (at, file))
        if alike == at or other.digest == file.digest:
            return
        if _one_name(alike, at):
            raise LibraryError(
                f"{other.path} and {file.path} are one name on the filesystem of {at.parent}",
                hint="choose one with --files, or another folder",
            )

    def _folder(self, folder: Path) -> None:
        if folder not in self._left:
            folder.mkdir(parents=True, exist_ok=True)
            self._left[folder] = left(folder)


def _one_name(alike: Path, at: Path) -> bool:
    """Whether two paths that differ in case lead to one place: then only one of them is listed."""
    level = next(level for level, parts in enumerate(zip(alike.parts, at.parts, strict=True)) if parts[0] != parts[1])
    folder = Path(*at.parts[:level])
    return at.parts[level] not in {path.name for path in folder.iterdir()} and (folder / at.parts[level]).exists()
