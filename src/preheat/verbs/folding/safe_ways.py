"""Safe ways: the kinds of link that may replace a model file, so that no app and no other user gains anything by it."""

import os
import pwd
from collections.abc import Collection, Sequence
from pathlib import Path

from preheat.disk.filesystem import filesystem_of
from preheat.disk.free_space import existing
from preheat.disk.readers import Readers, readers, readers_below
from preheat.library.blobs.partial import BLOB_MODE
from preheat.verbs.folding.model_files import ModelFile
from preheat.views.links import HARDLINK, REFLINK, SYMLINK, possible_ways

Ways = tuple[str, ...]


class SafeWays:
    """The ways to link files of apps to blobs of the library at `root`, by the modes that its folders have now."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._possible: dict[Path, frozenset[str]] = {}
        self._of_blobs = readers_below(existing(root / "blobs" / "sha256"))

    def readers_now(self, same: Sequence[ModelFile], blob: os.stat_result | None) -> frozenset[Readers]:
        """Return who can read the bytes of some files, and of the blob with these bytes, if there is one."""
        now = {readers(one.path, one.look, one.look.st_mode) for one in same}
        return frozenset(now if blob is None else now | {self._of_blobs})

    def of(self, file: ModelFile, now: Collection[Readers]) -> tuple[Ways, str]:
        """Return the ways in order of preference, and the reason if there is none. `now`: the readers of its bytes."""
        folder = file.path.parent
        if file.look.st_uid != os.geteuid():
            return (), f"it belongs to {_user(file.look.st_uid)}"
        if not os.access(folder, os.W_OK | os.X_OK):
            return (), "its folder is read-only"
        if folder not in self._possible:
            self._possible[folder] = possible_ways(self._root, folder)
        possible = self._possible[folder]
        accepted = [way for way in file.apps[0].links if all(way in app.links for app in file.apps)]
        ways = tuple(way for way in accepted if way in possible)
        if not possible & {REFLINK, HARDLINK, SYMLINK}:
            return (), f"its filesystem, {filesystem_of(folder)}, has no links"
        if not ways:
            titles = " and ".join(app.title for app in file.apps if SYMLINK not in app.links)
            return (), f"it is on another filesystem than the library, and {titles} may not accept symlinks"
        safe = [app.safe_links(as_root=os.geteuid() == 0) for app in file.apps]
        ways = tuple(way for way in ways if all(way in links for links in safe))
        if not ways:
            titles = " and ".join(app.title for app in file.apps if app.rewrites)
            why = "may write to it in place, and as root nothing but a reflink protects the other apps"
            return (), f"{titles} {why}"
        return self._without_new_readers(file, now, ways)

    def _without_new_readers(self, file: ModelFile, now: Collection[Readers], ways: Ways) -> tuple[Ways, str]:
        """Return those of `ways` that give the bytes no new readers, and the reason if there is no such way.

        A user who can reach a blob, or a hard link of it, can read it.
        """
        if _is_new(self._of_blobs, now):
            return (), f"other users cannot read it, but could in {self._root}: use a --library of your own"
        if HARDLINK in ways and _is_new(readers(file.path, file.look, BLOB_MODE), now):
            ways = tuple(way for way in ways if way == REFLINK)
            return ways, "other users cannot read it, but could if it had the mode of a blob, 0444"
        return ways, ""


def _is_new(some: Readers, now: Collection[Readers]) -> bool:
    return all(some.beyond(one) for one in now)


def _user(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"
