"""App folder: restore the app's own folders to their state before a proof."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def untouched(folders: Sequence[Path], app: Path | None = None) -> Iterator[None]:
    """On exit, remove files that were added to `folders`, and restore files that were replaced or removed.

    `app` is the app's whole folder. If one of `folders` is that folder or a parent of it, only the files directly in
    that one are restored, since other processes may work in its subfolders. Files that are modified in place, instead
    of replaced, are not restored.
    """
    before: dict[Path, set[Path]] = {}
    with contextlib.ExitStack() as stack:
        for folder in dict.fromkeys(folders):
            before[folder] = known = _everything(folder, app)
            stack.enter_context(_kept(folder, [path for path in known if path.is_symlink() or not path.is_dir()], app))
        try:
            yield
        finally:
            for folder, known in before.items():
                _remove(_everything(folder, app) - known)


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


@contextlib.contextmanager
def _kept(folder: Path, paths: Sequence[Path], app: Path | None) -> Iterator[None]:
    """Keep a second hard link to each file beside the folder. On exit, restore files that were replaced or removed."""
    if not paths:
        yield
        return
    beside = folder if _is_whole(folder, app) or not os.access(folder.parent, os.W_OK) else folder.parent
    aside = Path(tempfile.mkdtemp(prefix=".preheat-kept-", dir=beside))
    kept = {path: aside / str(number) for number, path in enumerate(paths)}
    linked: set[Path] = set()
    try:
        linked.update(path for path, second in kept.items() if _keep(path, second))
        yield
    finally:
        for path, second in kept.items():
            with contextlib.suppress(OSError):
                _give_back(path, second, linked=path in linked)
        shutil.rmtree(aside, ignore_errors=True)


def _keep(path: Path, second: Path) -> bool:
    """Make `second` a hard link to `path`, or a copy if that fails. Return whether `second` is a hard link."""
    try:
        os.link(path, second, follow_symlinks=False)
    except OSError:
        # Hard links fail on some filesystems, and for files of other users.
        with contextlib.suppress(OSError):
            shutil.copy2(path, second, follow_symlinks=False)
        return False
    return True


def _give_back(path: Path, second: Path, *, linked: bool) -> None:
    was = second.lstat()
    try:
        now = path.lstat()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        alike = (now.st_size, now.st_mtime_ns) == (was.st_size, was.st_mtime_ns)
        if now.st_ino == was.st_ino if linked else alike:
            return
    second.replace(path)


def _remove(paths: set[Path]) -> None:
    # Deepest first: folders must be empty when they are removed.
    for path in sorted(paths, key=lambda path: -len(path.parts)):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
