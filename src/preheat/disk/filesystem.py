"""Filesystem: the type of the filesystem that a folder is on."""

import os
import re
from pathlib import Path

# How /proc escapes spaces, tabs, newlines and backslashes.
_OCTAL = re.compile(r"\\([0-7]{3})")


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
