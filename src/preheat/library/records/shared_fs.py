"""Shared filesystem: detect folders that other machines may write to, where stat(2) may return stale data."""

import os
import re
from pathlib import Path

# Linux filesystems that cache the server's file attributes, NFS for up to 60 s: acregmax and acdirmax in nfs(5).
_SHARED = re.compile(
    r"9p|afs|beegfs|ceph|cifs|glusterfs|gpfs|lustre|nfs4?|ocfs2|orangefs|smb3|vboxsf|virtiofs|fuse(\..*)?"
)
# How /proc escapes spaces, tabs, newlines and backslashes.
_OCTAL = re.compile(r"\\([0-7]{3})")
SIGHT_S = 65.0


def shared(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Return whether `folder` is on a network filesystem; False if unknown. The folder need not exist.

    FUSE counts as one, because it may be sshfs, s3fs or an NFS client, except for local disks (`fuseblk`).
    """
    at = os.path.realpath(folder)
    kind, longest = "", -1
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    for line in lines:
        fields, _, rest = line.partition(" - ")
        place = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields.split(" ")[4])
        inside = at == place or at.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= longest:  # of several mounts on the same folder, the last one is visible
            kind, longest = rest.split(" ")[0], len(place)
    return bool(_SHARED.fullmatch(kind))
