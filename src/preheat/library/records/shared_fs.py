"""Shared filesystem: detect folders that other machines may write to, where stat(2) may return stale data."""

from pathlib import Path

from preheat.disk.filesystem import filesystem_of

# Linux filesystems that cache the server's file attributes, NFS for up to 60 s: acregmax and acdirmax in nfs(5).
_SHARED_TEXT = "9p afs beegfs ceph cifs fuse glusterfs gpfs lustre nfs nfs4 ocfs2 orangefs smb3 vboxsf virtiofs"
_SHARED = frozenset(_SHARED_TEXT.split())
SIGHT_S = 65.0


def shared(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Return whether `folder` is on a network filesystem; False if unknown. The folder need not exist.

    FUSE counts as one, because it may be sshfs, s3fs or an NFS client, except for local disks (`fuseblk`).
    """
    found = filesystem_of(folder, mounts)
    return found in _SHARED or found.startswith("fuse.")
