"""Saved memory: a folder with the dump of an app, and the manifest that says when it may be restored."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, Iterator, List, Tuple

from preheat.guard.memory_snapshot.loaded_files import Files, changed_file, code_digest

FOLDER = "memory-snapshots"  # in the library, with a folder for each app
_FORMAT = 1
_MANIFEST = "manifest.json"
REPORTS = ("log", "stats-dump", "stats-restore")  # written by CRIU, never read by it
_LONGEST = 16 << 20
_MOST = 1 << 53  # a number that every JSON parser keeps
_CHUNK = 4 << 20
_THREADS = 4

Parts = Dict[str, List[Any]]


class Unusable(Exception):
    """A memory snapshot must not be restored; the message is the reason."""


@dataclass(frozen=True)
class SavedMemory:
    """A memory snapshot: `key` identifies what the app was started with and on; see `read_saved`.

    `pid` is the app's PID in its namespace, `pipes` the names of its standard output and error in the dump, `port` the
    port that the guard had chosen, 0 for none. `start_s` is how long the app took until it was ready, `resident` its
    memory in bytes, `taken` the time in seconds since 1970. `loaded` are the files in its memory map; `code` maps
    folders to digests over the code in them. `parts` maps the dump's files to their size and SHA-256.
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
    _require_private(folder, folder=True)
    require_unshared(os.path.dirname(folder))
    saved = read_manifest(folder)
    if saved.key != key:
        raise Unusable("it was made with other settings, versions or models, or on another machine")
    path = changed_file(saved.loaded)
    if path:
        raise Unusable(f"{path} has changed")
    for place, digest in saved.code.items():
        if _digest_of(place) != digest:
            raise Unusable(f"code or settings in {place} have changed")
    _require_parts(folder, saved.parts)
    return saved


def read_manifest(folder: str) -> SavedMemory:
    """Read what is recorded about a memory snapshot, without verifying it. Raise Unusable."""
    try:
        with open(_regular(os.path.join(folder, _MANIFEST)), "rb") as file:
            text = file.read(_LONGEST + 1)
        fields = json.loads(text) if len(text) <= _LONGEST else {}
        if fields.pop("format") != _FORMAT:
            raise Unusable("it was made by another version of preheat")
        saved = SavedMemory(folder=folder, **fields)
        _require_types(saved)
        return saved
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Unusable(f"its {_MANIFEST} cannot be read") from error


def _require_types(saved: SavedMemory) -> None:
    """Raise ValueError unless all values of a manifest have their types."""
    numbers = (saved.pid, saved.port, saved.start_s, saved.resident, saved.taken)
    states = [number for state in saved.loaded.values() for number in state]
    parts = [(size, digest) for size, digest in saved.parts.values()]
    texts = [saved.key, *saved.pipes, *saved.code, *saved.code.values(), *(digest for _, digest in parts)]
    whole = (saved.pid, saved.port, saved.resident, *states, *(size for size, _ in parts))
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
    parts: Parts = {}
    for name in sorted(os.listdir(made)):
        path = os.path.join(made, name)
        with open(path, "rb") as file:
            parts[name] = [os.fstat(file.fileno()).st_size, _sha256(file)]
            os.fchmod(file.fileno(), 0o600)
            os.fsync(file.fileno())
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
    gone = f"{folder}.removed-{os.getpid()}"
    try:
        os.rename(folder, gone)
    except OSError:
        gone = folder
    shutil.rmtree(gone, ignore_errors=True)


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
    with suppress(OSError):
        for app in sorted(os.listdir(folder)):
            with suppress(OSError):
                for key in sorted(os.listdir(os.path.join(folder, app))):
                    yield os.path.join(folder, app, key)


def _digest_of(place: str) -> str:
    try:
        return code_digest(place)
    except ValueError:
        return ""


def _require_parts(folder: str, parts: Parts) -> None:
    """Raise Unusable unless exactly these files are there, private, with these sizes and digests."""
    if {*os.listdir(folder)}.difference(REPORTS) != {*parts, _MANIFEST}:
        raise Unusable("files were added or removed")
    waiting = sorted(parts, key=lambda name: parts[name][0])
    failed: List[str] = []

    def verify() -> None:
        while waiting and not failed:
            try:
                name = waiting.pop()
            except IndexError:
                return
            try:
                path = os.path.join(folder, name)
                _require_private(path, folder=False)
                with open(_regular(path), "rb") as file:
                    if [os.fstat(file.fileno()).st_size, _sha256(file)] != parts[name]:
                        failed.append(f"{name} was altered")
            except (OSError, Unusable) as error:
                failed.append(str(error))

    threads = [threading.Thread(target=verify, daemon=True) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise Unusable(failed[0])


def require_unshared(folder: str) -> None:
    """Raise Unusable if another user could rename `folder`, or a folder that it is in, and put another in its place.

    That user could otherwise exchange a dump after it was verified, or read one while it is written: as root, that is
    everything. Users of folders with the sticky bit, such as /tmp, cannot rename those of others.
    """
    trusted = {0, os.geteuid(), os.stat("/").st_uid}  # in a user namespace, root may have another ID
    place = os.path.realpath(folder)
    while True:
        found = os.stat(place)
        # A group with the number of its user has no other members, by convention.
        others = 0o002 if found.st_gid in (0, found.st_uid) else 0o022
        is_open = found.st_mode & others and not found.st_mode & stat.S_ISVTX
        if found.st_uid not in trusted or is_open:
            raise Unusable(f"another user could change {place}: use a --library of your own")
        if place == "/":
            return
        place = os.path.dirname(place)


def _require_private(path: str, *, folder: bool) -> None:
    try:
        found = os.lstat(path)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error
    if found.st_uid != os.geteuid():
        raise Unusable(f"{path} belongs to another user")
    if not (stat.S_ISDIR if folder else stat.S_ISREG)(found.st_mode) or stat.S_IMODE(found.st_mode) & 0o077:
        raise Unusable(f"{path} could be read or changed by others")


def _regular(path: str) -> int:
    """Open a regular file that is no symbolic link. Raise OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a regular file")
    return descriptor


def _sha256(file: Any) -> str:
    found, buffer = hashlib.sha256(), bytearray(_CHUNK)
    view = memoryview(buffer)
    while True:
        size = file.readinto(buffer)
        if not size:
            return found.hexdigest()
        found.update(view[:size])
