"""App folder: restore the app's own folders to their state before a proof."""

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from preheat.library.blobs.lease import is_open_for_writing
from preheat.proof.conditions.set_aside import set_aside


@contextlib.contextmanager
def untouched(
    folders: Sequence[Path],
    journals: Path,
    app: Path | None = None,
    placed: Collection[Path] = (),
    away: Collection[Path] = (),
) -> Iterator[None]:
    """On exit, remove files that were added to `folders`, and restore files that were replaced or removed.

    `journals`: see `set_aside`. `app` is the app's whole folder. If one of `folders` is that folder or a parent of
    it, only the files directly in that one are restored, since other processes may work in its subfolders; and the
    paths `placed`, which the proof places. Files in `away` are moved out of the folders until then. Files that are
    modified in place, instead of replaced, are not restored; those that another process still writes are left.
    After a kill, `put_back` restores what was there before.
    """
    before: list[tuple[Path, set[Path]]] = []
    new = {one for path in placed for one in (path, *path.parents) if not os.path.lexists(one)}
    with contextlib.ExitStack() as stack:
        for folder in _once(folders, app):
            known = _everything(folder, app)
            before.append((folder, known))
            inside = (path for path in away if path.is_relative_to(folder))
            files = {path for path in known if path.is_symlink() or not path.is_dir()} | set(inside)
            whole = _is_whole(folder, app)
            places = [folder] if whole else [folder.parent, folder]
            stack.enter_context(set_aside(sorted(files), away, places, journals))
        try:
            yield
        finally:
            for folder, known in before:
                _remove(_everything(folder, app) - known)
            _remove(new)


def _once(folders: Sequence[Path], app: Path | None) -> list[Path]:
    """Return the folders without those whose files another one covers."""
    each = list(dict.fromkeys(folders))
    covering = [one for one in each if not _is_whole(one, app)]
    return [one for one in each if not any(one != other and one.is_relative_to(other) for other in covering)]


def _everything(folder: Path, app: Path | None) -> set[Path]:
    """Return the folder, its existing parents, and everything below it. Symlinks are not followed."""
    found = {place for place in (folder, *folder.parents) if place.is_dir()}
    for where, folders, names in os.walk(folder):
        if _is_whole(folder, app):
            return found | {Path(where, name) for name in names}
        found |= {Path(where, name) for name in (*folders, *names)}
    return found


def _is_whole(folder: Path, app: Path | None) -> bool:
    return app is not None and app.is_relative_to(folder)


def _remove(paths: set[Path]) -> None:
    # Deepest first: folders must be empty when they are removed.
    for path in sorted(paths, key=lambda path: -len(path.parts)):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            elif not _is_being_written(path):
                path.unlink()


def _is_being_written(path: Path) -> bool:
    """Return whether a process writes to a file: another one than the app, which has ended by now."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return is_open_for_writing(descriptor)
    finally:
        os.close(descriptor)
