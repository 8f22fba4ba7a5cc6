"""Saved memory: a folder with the dump of an app, and the manifest that says when it may be restored."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Callable, Dict, Iterator, List, Tuple

from preheat.guard.kernel.descriptors import open_regular
from preheat.guard.memory_snapshot.intact import (
    Check,
    Parts,
    Unusable,
    checks_of,
    describe_part,
    first_fault,
    require_private,
    require_sizes,
    require_unshared,
)
from preheat.guard.memory_snapshot.loaded_files import Files, changed_file, code_digest

FOLDER = "memory-snapshots"  # in the library, with a folder for each app
_FORMAT = 2
_MANIFEST = "manifest.json"
_SERIAL = count()
REPORTS = ("log", "stats-dump", "stats-restore")  # written by CRIU, never read by it
_LONGEST = 16 << 20
_MOST = 1 << 53  # a number that every JSON parser keeps


@dataclass(frozen=True)
class SavedMemory:
    """A memory snapshot: `key` identifies what the app was started with and on; see `read_saved`.

    `pid` is the app's PID in its namespace, `pipes` the names of its standard output and error in the dump, `port` the
    port that the guard had chosen, 0 for none. `start_s` is how long the app took until it was ready, `resident` its
    memory in bytes, `taken` the time in seconds since 1970. `loaded` are the files in its memory map; `code` maps
    folders to digests over the code in them. `parts` maps the dump's files to their sizes and digests.
    """

    folder: str
    key: str
    pid: int
    pipes: List[str]
    port: int
    start_s: float
    resident: int
    taken: float
    loaded: Files = field(default_factory=dict)
    code: Dict[str, str] = field(default_factory=dict)
    parts: Parts = field(default_factory=dict)

    @property
    def app(self) -> str:
        """The app's name."""
        return os.path.basename(os.path.dirname(self.folder))

    @property
    def size(self) -> int:
        """The bytes of the dump."""
        return sum(part[0] for part in self.parts.values())


def read_saved(folder: str, key: str) -> SavedMemory | None:
    """Read the memory snapshot in `folder`, and verify that nothing has changed since; None if there is none.

    Reads the whole dump. Raise Unusable if it is another user's, was altered, was made under another key, or if files
    that the app had loaded have changed.
    """
    if not os.path.isdir(folder):
        return None
    require_private(folder, folder=True)
    require_unshared(os.path.dirname(folder))
    saved = read_manifest(folder)
    if saved.key != key:
        raise Unusable("it was made with other settings, versions or models, or on another machine")
    path = changed_file(saved.loaded)
    if path:
        raise Unusable(f"{path} has changed")
    _require_names(folder, saved.parts)
    require_sizes(folder, saved.parts)
    # All of this is waited for by the app, so it is done side by side; the code takes longest.
    code = [_code_check(place, digest) for place, digest in saved.code.items()]
    fault = first_fault([*code, *checks_of(folder, saved.parts)])
    if fault:
        raise Unusable(fault)
    return saved


def read_manifest(folder: str) -> SavedMemory:
    """Read what is recorded about a memory snapshot, without verifying it. Raise Unusable."""
    try:
        with open(open_regular(os.path.join(folder, _MANIFEST), follow=False), "rb") as file:
            text = file.read(_LONGEST + 1)
        fields = json.loads(text) if len(text) <= _LONGEST else {}
        if fields.pop("format") != _FORMAT:
            raise Unusable("it was made by another version of preheat")
        saved = SavedMemory(folder=folder, **fields)
        _require_types(saved)
        return saved
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise Unusable(f"its {_MANIFEST} cannot be read") from error


def _require_types(saved: SavedMemory) -> None:
    """Raise ValueError unless all values of a manifest have their types."""
    numbers = (saved.pid, saved.port, saved.start_s, saved.resident, saved.taken)
    states = [number for state in saved.loaded.values() for number in state]
    sizes = [part[0] for part in saved.parts.values()]
    digests = [digest for part in saved.parts.values() for digest in part[1:]]
    texts = [saved.key, *saved.pipes, *saved.code, *saved.code.values(), *digests]
    whole = (saved.pid, saved.port, saved.resident, *states, *sizes)
    if not (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int) for number in whole)
        and all(isinstance(number, (int, float)) and 0 <= number < _MOST for number in numbers)
        and isinstance(saved.pipes, list)
    ):
        raise ValueError("a value of another type")


def publish(saved: SavedMemory, made: str) -> SavedMemory:
    """Give the dump in the folder `made` its name, and return it with its parts. Raise OSError.

    Another snapshot of that name is replaced; a crash leaves either the old or the new one, or none.
    """
    parts = {name: describe_part(os.path.join(made, name)) for name in sorted(os.listdir(made))}
    whole = SavedMemory(**{**asdict(saved), "parts": parts})
    fields = {name: value for name, value in asdict(whole).items() if name != "folder"}
    descriptor = os.open(os.path.join(made, _MANIFEST), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump({"format": _FORMAT, **fields}, file)
        file.flush()
        os.fsync(file.fileno())
    if os.path.isdir(saved.folder):
        remove(saved.folder)
    os.rename(made, saved.folder)
    return whole


def remove(folder: str) -> None:
    """Remove a memory snapshot, whole or partial: it loses its name first."""
    erase(unname(folder))


def unname(folder: str) -> str:
    """Take its name from a memory snapshot, and return the folder that is left to be erased."""
    gone = f"{folder}.{next(_SERIAL)}.removed-{os.getpid()}"
    try:
        os.rename(folder, gone)
    except OSError:
        return folder
    return gone


def erase(folder: str) -> None:
    """Delete the files of a memory snapshot that has no name any more."""
    shutil.rmtree(folder, ignore_errors=True)


def list_saved(folder: str) -> List[SavedMemory]:
    """Return the memory snapshots below `folder`, which has a folder for each app; damaged ones are left out."""
    found = []
    for place in _folders(folder):
        if not is_written(place):
            with suppress(Unusable):
                found.append(read_manifest(place))
    return found


def list_leftovers(folder: str) -> List[Tuple[str, int]]:
    """Return the folders that killed processes left below `folder`, half written or half removed, and their bytes."""
    left = []
    for place in _folders(folder):
        if _writer(place) and not is_written(place):
            with suppress(OSError):  # a guard has just removed it
                left.append((place, sum(os.lstat(os.path.join(place, name)).st_size for name in os.listdir(place))))
    return left


def is_written(place: str) -> bool:
    """Return whether a process is writing or removing this folder now, by the PID in its name."""
    writer = _writer(place)
    return bool(writer) and os.path.isdir(f"/proc/{writer}")


def _writer(place: str) -> str:
    """Return the PID in the name of a folder that is being written or removed; "" for a memory snapshot."""
    found = re.search(r"\.(?:new|removed)-(\d+)$", place)
    return found[1] if found else ""


def _folders(folder: str) -> Iterator[str]:
    for app in _folders_in(folder):
        yield from _folders_in(app)


def _folders_in(folder: str) -> List[str]:
    """Return the folders in a folder. A symlink is none: another user of the library could have put it there."""
    with suppress(OSError), os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    return []


def _require_names(folder: str, parts: Parts) -> None:
    if {*os.listdir(folder)}.difference(REPORTS) != {*parts, _MANIFEST}:
        raise Unusable("files were added or removed")


def _code_check(place: str, digest: str) -> Check:
    def check(hurry: Callable[[], bool]) -> str:
        try:
            found = code_digest(place, hurry)
        except ValueError:
            found = ""
        return "" if found == digest else f"code or settings in {place} have changed"

    return check
