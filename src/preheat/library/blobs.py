"""Blobs: bytes that are kept for good, by their digests."""

import errno
import os
from pathlib import Path

from preheat.digest import Digest
from preheat.library.partial import Partial, disk_trouble


class Blobs:
    """Verified bytes, read-only, one file each, with a name for every digest they are known by.

    `ALGORITHM/FF/HEX`, where FF is the digest's first two digits; the names of one blob are hard links.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, digest: Digest) -> Path:
        """Say where the blob is, or would be."""
        # In one piece: thousands of files ask, and a path put together costs four times as much.
        return Path(f"{self._root}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}")

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here: whole and verified, for nothing else has a name."""
        return self.path(digest).exists()

    def keep(self, partial: Partial) -> None:
        """Seal what arrived and name it; return when the name is on disk."""
        digests = partial.seal()
        first = self.path(partial.file.digest)
        try:
            first.parent.mkdir(parents=True, exist_ok=True)
            others = {self.path(Digest(algorithm, value)) for algorithm, value in digests.items()} - {first}
            twin = next((other for other in others if other.exists()), None)
            if twin is None:
                partial.publish(first)
            else:
                _link(twin, first)
                partial.discard()
            for other in others - {twin}:
                other.parent.mkdir(parents=True, exist_ok=True)
                _link(first, other)
            sync_folder(first.parent)
        except OSError as error:
            raise disk_trouble(error, first) from error


def _link(source: Path, at: Path) -> None:
    """Give `source` one more name; where the filesystem has no hard links, a relative symlink."""
    try:
        os.link(source, at)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
            raise
        at.symlink_to(os.path.relpath(source, at.parent))


def sync_folder(folder: Path) -> None:
    """Put a folder's names on disk; a filesystem that cannot is left to its own ways."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
