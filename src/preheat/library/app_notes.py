"""App notes: the apps that use a library, each with the path of its recipe and the versions that its lock pins."""

import os
import time
from binascii import crc32
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from preheat.disk.temporary_file import write_whole
from preheat.library.quoted_paths import quoted, unquoted
from preheat.library.records.this_machine import host_name, is_here, root_id
from preheat.library.small_files import read_dated

_MOST = 1 << 20  # bytes of a note
_MOST_NOTES = 10_000
# As the claims of views: each pull and run of an app renews its note.
_FORGOTTEN_AFTER_S = 90 * 86400.0


class _Note(msgspec.Struct, frozen=True):
    name: str
    recipe: str
    machine: str
    versions: list[str]
    root: str = ""


class AppNote(msgspec.Struct, frozen=True):
    """An app: its name, its recipe, the refs that its lock pinned then, and its last use (epoch seconds).

    `here`: the recipe is on this machine. `own`: this user wrote the note.
    """

    name: str
    recipe: Path
    versions: frozenset[str]
    used_at: float
    here: bool
    own: bool


class AppNotes:
    """The notes of a library: one JSON file for each recipe, `apps/MACHINE-CRC.json`; CRC is that of its path."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, name: str, recipe: Path, versions: Iterable[str]) -> None:
        """Note that an app was pulled or started, in place of its earlier note. Do nothing if that is impossible."""
        # Not hashlib: its import takes milliseconds, and the app waits for them.
        path = self._path(root_id(), recipe)
        note = _Note(name, quoted(recipe), host_name(), sorted(set(versions)), root_id())
        body = msgspec.json.encode(note)
        with suppress(OSError):
            with suppress(OSError):
                if read_dated(path, _MOST)[0] == body:
                    os.utime(path, follow_symlinks=False)
                    return
            # Not durable: a note that a power cut takes is written by the next start.
            write_whole(path, body, durable=False)
            self._path("", recipe).unlink(missing_ok=True)  # an earlier version's

    def _path(self, root: str, recipe: Path) -> Path:
        return self._root / f"{host_name()}-{crc32(root.encode() + os.fsencode(recipe)):08x}.json"

    def __iter__(self) -> Iterator[AppNote]:
        """Iterate over the apps whose recipe exists.

        An app on another machine, and one whose folder is gone or on a disk that is away, counts for 90 days.
        """
        yield from (note for _, note in self._valid())

    def tidy(self) -> None:
        """Remove the notes of recipes that no longer exist, and old notes of other machines."""
        kept = {path for path, _ in self._valid()}
        for path in set(self._root.glob("[!.]*.json")) - kept:
            with suppress(OSError):  # another user's: that user's own prune removes it
                path.unlink(missing_ok=True)

    def _valid(self) -> Iterator[tuple[Path, AppNote]]:
        for path in sorted(self._root.glob("[!.]*.json"))[:_MOST_NOTES]:
            try:
                body, status = read_dated(path, _MOST)
                note = msgspec.json.decode(body, type=_Note)
            except (OSError, msgspec.DecodeError, ValueError, RecursionError):
                continue  # removed since, or not a note
            place, here = Path(unquoted(note.recipe)), is_here(note.machine, note.root)
            exists = _exists(place) if here else None
            if exists or (exists is None and time.time() - status.st_mtime < _FORGOTTEN_AFTER_S):
                own = status.st_uid == os.geteuid()
                yield path, AppNote(note.name, place, frozenset(note.versions), status.st_mtime, here, own)


def _exists(recipe: Path) -> bool | None:
    """Return whether a recipe exists; None if its folder does not, which may be on a disk that is away."""
    try:
        os.lstat(recipe)
    except FileNotFoundError:
        return False if os.path.isdir(recipe.parent) else None  # noqa: PTH112 - never raises, for any path
    except (OSError, ValueError):
        return None
    return True
