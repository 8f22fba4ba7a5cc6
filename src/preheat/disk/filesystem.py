"""Filesystem: the type of the filesystem that a folder is on."""

import os
import re
from itertools import islice
from pathlib import Path

# How /proc escapes spaces, tabs, newlines and backslashes.
_OCTAL = re.compile(r"\\([0-7]{3})")
FATS = frozenset(("exfat", "msdos", "vfat"))  # they ignore the case of names, and have no links
UNSHARED = FATS | {"ext2", "ext3", "ext4", "tmpfs"}  # they have no reflinks: no file shares another's bytes
_SOME = 64  # names to try


def filesystem_of(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the type of the filesystem at `folder`, such as `ext4`; empty if unknown. The folder need not exist."""
    at = os.path.realpath(folder)
    kind, longest = "", -1
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        place = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields.split(" ")[4])
        inside = at == place or at.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= longest:  # of several mounts on the same folder, the last one is visible
            kind, longest = rest.split(" ")[0], len(place)
    return kind


def ignores_case(folder: Path) -> bool:
    """Return whether names in an existing folder that differ only by case are one file; nothing is written.

    Judged by the type of its filesystem, by its own name and by the names there. False if these do not decide.
    """
    if filesystem_of(folder) in FATS:
        return True
    own = Path(os.path.realpath(folder))
    try:
        beside = _some_names(own.parent) if own.parent.stat().st_dev == own.stat().st_dev else []
        return _answers_to_others(own.parent, beside) or _answers_to_others(own, _some_names(own))
    except OSError:
        return False


def _some_names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, _SOME)]


def _answers_to_others(folder: Path, names: list[str]) -> bool:
    """Return whether a name that is listed nowhere opens a file. Inodes do not decide: FUSE has one for each name."""
    for name in names:
        other = name.swapcase()
        if other != name and os.path.lexists(folder / other):
            return other not in {path.name for path in folder.iterdir()}
    return False
