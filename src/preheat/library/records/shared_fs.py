"""Shared filesystem: detect folders that other machines may write to, where stat(2) may return stale data."""

import re
from pathlib import Path

from preheat.disk.filesystem import filesystem_of

# Linux filesystems that cache the server's file attributes, NFS for up to 60 s: acregmax and acdirmax in nfs(5).
_SHARED = re.compile(
    r"9p|afs|beegfs|ceph|cifs|glusterfs|gpfs|lustre|nfs4?|ocfs2|orangefs|smb3|vboxsf|virtiofs|fuse(\..*)?"
)
SIGHT_S = 65.0


def shared(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Return whether `folder` is on a network filesystem; False if unknown. The folder need not exist.

    FUSE counts as one, because it may be sshfs, s3fs or an NFS client, except for local disks (`fuseblk`).
    """
    return bool(_SHARED.fullmatch(filesystem_of(folder, mounts)))
