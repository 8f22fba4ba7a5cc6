"""Set aside: keep an app's own files in a folder beside theirs, and put them back, even after the process was killed.

The files are in a folder `.preheat-kept-RANDOM`, with a file that is locked while the process runs. A journal in the
user's own state has the folder and the path of each file; it is written before the first file is moved. A folder whose
lock is free was left behind, and `put_back` empties it. Journals elsewhere would be dangerous: one that comes with an
app could name any path as the place of its files.
"""

import contextlib
import filecmp
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.disk.temporary_file import IN_USE, KEPT, write_whole
from preheat.library.blobs.file_lock import take

_FOUND = ".found"  # at the end of the names of files that were in the place of one


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file that is set aside: its path, its name in the folder, and whether it was moved out of its place."""

    path: Path
    name: str
    moved: bool


@dataclass(frozen=True, slots=True)
class PutBack:
    """A file that a killed process had set aside, and that was put back to `path`, or could not be.

    `found`: if another file was at `path` meanwhile, the path that it was moved to. `trouble`: why the file could not
    be put back; then it is still at the path `still`.
    """

    path: Path
    found: Path | None = None
    still: Path | None = None
    trouble: str = ""


@contextlib.contextmanager
def set_aside(
    paths: Sequence[Path], moved: Collection[Path], folders: Sequence[Path], journals: Path
) -> Iterator[None]:
    """Keep a second hard link to each of `paths`, or the file itself if it is in `moved`, in the first usable folder.

    On exit, the files that were moved, replaced or removed are put back. `journals` is a folder in the user's state.
    Raise OSError if a file cannot be moved.
    """
    if not paths:
        yield
        return
    aside = Path(tempfile.mkdtemp(prefix=KEPT, dir=_usable(paths[0], folders)))
    lock = take(aside / IN_USE)
    journal = journals / f"{aside.name}.json"
    entries = [_Entry(path, str(number), path in moved) for number, path in enumerate(paths)]
    kept: list[tuple[_Entry, bool]] | None = None
    try:
        write_whole(journal, _written(aside, entries))
        kept = [(entry, _keep(entry, aside)) for entry in entries]
        yield
    finally:
        _restore(journal, aside, entries, kept)
        if lock is not None:
            os.close(lock)


def put_back(journals: Path) -> tuple[PutBack, ...]:
    """Put back the files that killed processes left aside, by their journals.

    If another file has been written to the same path since, it may be the user's: it is kept under another name.
    """
    found: list[PutBack] = []
    for journal in sorted(journals.glob(f"{KEPT}*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # its proof has just ended
            aside, entries = _read(journal)
            if not aside.is_dir():
                if aside.parent.is_dir():  # otherwise its disk may come back
                    journal.unlink()
                continue
            lock = take(aside / IN_USE)
            if lock is None:
                continue
            found += _restore(journal, aside, entries, None, spare=True)
            os.close(lock)
    return tuple(found)


def _usable(path: Path, folders: Sequence[Path]) -> Path:
    """Return the first folder that can take a file from its place by a rename; the file's own folder if none can."""
    own = Path(os.path.realpath(path.parent))
    device = own.stat().st_dev
    for folder in folders:
        with contextlib.suppress(OSError):
            if folder.stat().st_dev == device and os.access(folder, os.W_OK):
                return folder
    return own


def _written(aside: Path, entries: Sequence[_Entry]) -> bytes:
    rows = [[os.fsencode(entry.path).hex(), entry.name, entry.moved] for entry in entries]
    return json.dumps({"aside": os.fsencode(aside).hex(), "files": rows}).encode()


def _read(journal: Path) -> tuple[Path, list[_Entry]]:
    found = json.loads(journal.read_bytes())

    def path(text: str) -> Path:
        return Path(os.fsdecode(bytes.fromhex(text)))

    return path(found["aside"]), [_Entry(path(text), name, moved) for text, name, moved in found["files"]]


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
        _copy(entry.path, second)
        return False
    return True


def _copy(path: Path, to: Path) -> None:
    """Copy a file if possible; a part of it, after a full disk or a kill, never has the name of the copy."""
    part = to.with_name(f"{to.name}.part")
    try:
        shutil.copy2(path, part, follow_symlinks=False)
        part.rename(to)
    except OSError:
        part.unlink(missing_ok=True)


def _restore(
    journal: Path,
    aside: Path,
    entries: Sequence[_Entry],
    kept: Sequence[tuple[_Entry, bool]] | None,
    *,
    spare: bool = False,
) -> list[PutBack]:
    """Put the files back; remove folder and journal if none is left. Return those that were put back, or are left.

    Without `kept`, which says for each entry whether it is a hard link, two names of one inode are one. With `spare`,
    a file with other bytes that took the place of one is kept in the folder.
    """
    if kept is None:
        kept = [(entry, _is_linked(aside / entry.name)) for entry in entries]
    found: list[PutBack] = []
    for entry, linked in kept:
        second = aside / entry.name
        try:
            if os.path.lexists(second):  # otherwise it was put back before, or could not be kept
                found += _give_back(entry, second, linked=linked, spare=spare)
        except OSError as error:
            found.append(PutBack(entry.path, still=second, trouble=error.strerror or str(error)))
    if any(one.trouble for one in found):
        return found
    if not any(aside.glob(f"*{_FOUND}")):
        shutil.rmtree(aside, ignore_errors=True)
    journal.unlink(missing_ok=True)
    return found


def _is_linked(second: Path) -> bool:
    try:
        return second.lstat().st_nlink > 1
    except OSError:
        return False


def _give_back(entry: _Entry, second: Path, *, linked: bool, spare: bool) -> Iterator[PutBack]:
    """Put the file in its place, unless it is there."""
    was, found = second.lstat(), None
    try:
        now = entry.path.lstat()
    except FileNotFoundError:
        entry.path.parent.mkdir(parents=True, exist_ok=True)
    else:
        alike = (now.st_size, now.st_mtime_ns) == (was.st_size, was.st_mtime_ns)
        if not entry.moved and (now.st_ino == was.st_ino if linked else alike):
            return
        if spare and stat.S_ISREG(now.st_mode) and not _is_equal(entry.path, second):
            found = second.with_name(f"{second.name}{_FOUND}")
            entry.path.rename(found)
    second.replace(entry.path)
    yield PutBack(entry.path, found)


def _is_equal(path: Path, other: Path) -> bool:
    """Return whether two files have the same bytes; reads both if they have the same size."""
    try:
        return filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False
