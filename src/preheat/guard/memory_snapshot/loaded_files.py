"""Loaded files: what a frozen app had read from disk, so that nothing is restored after it has changed."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Callable, Dict, Iterable, Iterator, List

from preheat.guard.kernel.process_tree import mapped_paths

_CODE = (".py", ".so", ".pth", ".sh")
_WATCHED = (*_CODE, ".toml", ".yaml", ".yml", ".cfg", ".ini", ".env")
_MOST = 200_000
_NO_CODE = ("__pycache__", "node_modules", ".git", "outputs")
_NO_FILES = ("/dev/", "/memfd:", "/SYSV")

Files = Dict[str, List[int]]


def mapped_files(pids: Iterable[int]) -> Files:
    """Return the files that are mapped by these processes: size, time of the last change in ns, and inode."""
    found: Files = {}
    for pid in pids:
        for path in mapped_paths(pid):
            if path not in found and not path.startswith(_NO_FILES):
                state = _state(path)
                if state is not None:
                    found[path] = state
    return found


def changed_file(files: Files) -> str:
    """Return one of the files whose size, time or inode is no longer the recorded one; "" if all are as they were."""
    return next((path for path, state in files.items() if _state(path) != state), "")


def code_digest(folder: str, hurry: Callable[[], bool] = lambda: False) -> str:
    """Return a digest over names, sizes and times of all code and settings in a folder and the folders below it.

    Virtual environments below it are left out. Returns some other text early if `hurry` returns True. Raise ValueError
    if there are too many files.
    """
    entries = []
    for entry in _code(folder, hurry):
        with suppress(OSError):
            state = entry.stat()
            entries.append(f"{entry.path}\0{state.st_size}\0{state.st_mtime_ns}\n")
    import hashlib  # as in intact.py

    return hashlib.sha256("".join(sorted(entries)).encode("utf-8", "surrogateescape")).hexdigest()


def _code(folder: str, hurry: Callable[[], bool]) -> Iterator[os.DirEntry[str]]:
    waiting, seen = [folder], 0
    while waiting and not hurry():
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                here = list(entries)
        except OSError:
            continue
        seen += len(here)
        if seen > _MOST:
            raise ValueError(f"{folder} has more than {_MOST} files: run the app in a folder of its own")
        if place != folder and any(entry.name == "pyvenv.cfg" for entry in here):
            continue
        for entry in here:
            if entry.name.endswith(_WATCHED):
                yield entry
            elif entry.name not in _NO_CODE and entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def _state(path: str) -> List[int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ino]
