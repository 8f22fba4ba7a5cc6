"""Start notes: how the last measured starts of this user's apps were divided into imports, reading and the rest.

One JSON file for each recipe, `starts/NAME-CRC.json` in the user's state folder; CRC is that of its path and folder.
"""

import contextlib
import os
from binascii import crc32
from collections.abc import Sequence
from pathlib import Path

import msgspec

from preheat.disk.temporary_file import write_whole
from preheat.library.small_files import read_small
from preheat.proof.start.timeline import Imports

TRACED = "traced"
_MOST = 1 << 20  # bytes of a note
_SLOWEST = 5


class StartParts(msgspec.Struct, frozen=True):
    """The seconds until an app was ready, and of these, those of its parts; `reading_s` is None if not measured.

    `condition` is the one that `prove` measured, or `traced`; `at` is when (epoch seconds). `loading_s` are those of
    downloads. `slowest` are the packages whose imports took longest, without their own imports.
    """

    condition: str
    at: float
    ready_s: float
    interpreter_s: float
    imports_s: float
    reading_s: float | None = None
    loading_s: float | None = None
    slowest: tuple[tuple[str, float], ...] = ()

    @property
    def rest_s(self) -> float:
        """Return the seconds of everything else, the app's own work."""
        known = self.interpreter_s + self.imports_s + (self.reading_s or 0.0) + (self.loading_s or 0.0)
        return max(0.0, self.ready_s - known)


def slowest(imports: Imports | None) -> tuple[tuple[str, float], ...]:
    """Return the packages whose imports took longest."""
    packages = imports.slowest[:_SLOWEST] if imports is not None else ()
    return tuple((one.name, round(one.seconds, 3)) for one in packages)


class StartNotes:
    """The notes below the folder `state`; nothing is noted without one."""

    def __init__(self, state: Path | None) -> None:
        self._folder = None if state is None else state / "starts"

    def write(self, name: str, recipe: Path, folder: Path, parts: Sequence[StartParts]) -> None:
        """Note the starts of an app, in place of those of its earlier note. Do nothing if that is impossible."""
        if self._folder is None or not parts:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._path(self._folder, name, recipe, folder), msgspec.json.encode(parts), durable=False)

    def read(self, name: str, recipe: Path, folder: Path) -> tuple[StartParts, ...]:
        """Return the starts of an app that were noted."""
        if self._folder is None:
            return ()
        try:
            body = read_small(self._path(self._folder, name, recipe, folder), _MOST)
            return msgspec.json.decode(body, type=tuple[StartParts, ...])
        except (OSError, msgspec.DecodeError, ValueError, RecursionError):
            return ()

    def _path(self, notes: Path, name: str, recipe: Path, folder: Path) -> Path:
        key = b"\0".join(os.fsencode(os.path.realpath(one)) for one in (recipe, folder))
        return notes / f"{name}-{crc32(key):08x}.json"
