"""Shared filesystem: whether a folder is on one that other machines write to, so that stat may be stale."""

import os
import re
from pathlib import Path

# Linux filesystems whose kernel keeps what it saw of the server for a while: nfs(5), acregmax and acdirmax, 60 s.
_SHARED = re.compile(
    r"9p|afs|beegfs|ceph|cifs|glusterfs|gpfs|lustre|nfs4?|ocfs2|orangefs|smb3|vboxsf|virtiofs|fuse(\..*)?"
)
# How /proc writes what would end a field: blanks, tabs, line ends and backslashes.
_OCTAL = re.compile(r"\\([0-7]{3})")
SIGHT_S = 65.0


def shared(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether `folder`, or where it would be made, is on a network filesystem; what cannot be known is not.

    FUSE counts, since it may be one (sshfs, s3fs, a client of NFS), but for disks of this machine (`fuseblk`).
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
        if inside and len(place) >= longest:  # the last of several mounts on one place is on top
            kind, longest = rest.split(" ")[0], len(place)
    return bool(_SHARED.fullmatch(kind))
