"""Set aside: keep an app's own files in a folder beside theirs, and put them back, even after the process was killed.

The folder `.preheat-kept-RANDOM` has a `journal` with the path of each file, written before the first file is moved,
and a file that is locked while the process runs. A folder without a lock was left behind, and `put_back` empties it.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.disk.temporary_file import IN_USE, KEPT, write_whole
from preheat.library.blobs.file_lock import take

_JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file that is set aside: its path, its name in the folder, and whether it was moved out of its place."""

    path: Path
    name: str
    moved: bool


@contextlib.contextmanager
def set_aside(paths: Sequence[Path], moved: Collection[Path], folders: Sequence[Path]) -> Iterator[None]:
    """Keep a second hard link to each of `paths`, or the file itself if it is in `moved`, in the first usable folder.

    On exit, the files that were moved, replaced or removed are put back. Raise OSError if a file cannot be moved.
    """
    if not paths:
        yield
        return
    aside = Path(tempfile.mkdtemp(prefix=KEPT, dir=_usable(paths[0], folders)))
    lock = take(aside / IN_USE)
    entries = [_Entry(path, str(number), path in moved) for number, path in enumerate(paths)]
    kept: list[tuple[_Entry, bool]] | None = None
    try:
        write_whole(aside / _JOURNAL, _written(entries))
        kept = [(entry, _keep(entry, aside)) for entry in entries]
        yield
    finally:
        _restore(aside, kept)
        if lock is not None:
            os.close(lock)


def put_back(folders: Iterable[Path]) -> tuple[Path, ...]:
    """Put back the files that a killed process left aside, in or beside `folders`. Return the paths of these files."""
    restored: list[Path] = []
    for folder in dict.fromkeys(place for one in folders for place in _places(one)):
        for aside in _left_behind(folder):
            with contextlib.suppress(OSError):
                lock = take(aside / IN_USE)
                if lock is None:
                    continue
                restored += _restore(aside, None)
                os.close(lock)
    return tuple(restored)


def _places(folder: Path) -> tuple[Path, ...]:
    real = Path(os.path.realpath(folder))
    return (folder, folder.parent, real, real.parent)


def _left_behind(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.name.startswith(KEPT)]
    except OSError:
        return []


def _usable(path: Path, folders: Sequence[Path]) -> Path:
    """Return the first folder that can take a file from its place by a rename; the file's own folder if none can."""
    own = Path(os.path.realpath(path.parent))
    device = own.stat().st_dev
    for folder in folders:
        with contextlib.suppress(OSError):
            if folder.stat().st_dev == device and os.access(folder, os.W_OK):
                return folder
    return own


def _written(entries: Sequence[_Entry]) -> bytes:
    rows = [[os.fsencode(entry.path).hex(), entry.name, entry.moved] for entry in entries]
    return json.dumps(rows).encode()


def _journal(aside: Path) -> list[_Entry]:
    try:
        rows = json.loads((aside / _JOURNAL).read_bytes())
    except (OSError, ValueError):
        return []  # killed before anything was moved
    return [_Entry(Path(os.fsdecode(bytes.fromhex(path))), name, moved) for path, name, moved in rows]


def _keep(entry: _Entry, aside: Path) -> bool:
    """Move the file, or keep a hard link to it, or a copy if links fail. Return whether it is a hard link."""
    second = aside / entry.name
    if entry.moved:
        entry.path.rename(second)
        return False
    try:
        os.link(entry.path, second, follow_symlinks=False)
    except OSError:
        # Hard links fail on some filesystems, and for files of other users.
        with contextlib.suppress(OSError):
            shutil.copy2(entry.path, second, follow_symlinks=False)
        return False
    return True


def _restore(aside: Path, entries: Sequence[tuple[_Entry, bool]] | None) -> list[Path]:
    """Put the files back, and remove the folder if none is left in it. Return the paths of those that were put back.

    Without `entries`, they are read from the journal, and two names of one inode are a hard link.
    """
    if entries is None:
        entries = [(entry, _is_linked(aside / entry.name)) for entry in _journal(aside)]
    restored, stuck = [], False
    for entry, linked in entries:
        try:
            if _give_back(entry, aside / entry.name, linked=linked):
                restored.append(entry.path)
        except FileNotFoundError:
            continue  # it was put back before, or could not be kept
        except OSError:
            stuck = True
    if not stuck:
        shutil.rmtree(aside, ignore_errors=True)
    return restored


def _is_linked(second: Path) -> bool:
    try:
        return second.lstat().st_nlink > 1
    except OSError:
        return False


def _give_back(entry: _Entry, second: Path, *, linked: bool) -> bool:
    """Return whether the file had to be put back."""
    was = second.lstat()
    try:
        now = entry.path.lstat()
    except FileNotFoundError:
        entry.path.parent.mkdir(parents=True, exist_ok=True)
    else:
        alike = (now.st_size, now.st_mtime_ns) == (was.st_size, was.st_mtime_ns)
        if not entry.moved and (now.st_ino == was.st_ino if linked else alike):
            return False
    second.replace(entry.path)
    return True
