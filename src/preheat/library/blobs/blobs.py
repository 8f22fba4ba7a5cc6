"""Blobs: verified files, stored by digest."""

import contextlib
import errno
import functools
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.core.digest import Digest
from preheat.disk.temporary_file import sync_folder
from preheat.library.blobs.disk_errors import disk, disk_trouble
from preheat.library.ownership import require_own_folders

if TYPE_CHECKING:
    from preheat.library.blobs.partial import Partial

SMALL = 1 << 20  # bytes: up to this size, a file has no journal and both digests
# The filesystem does not support links, like exFAT, or the file has the maximum number of links.
NO_LINK = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


class Blobs:
    """Read-only, verified files at `ALGORITHM/FF/HEX`, where FF is the first two digits of the digest.

    A blob with several digests has one name for each; the names are hard links to the same file.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._unsettled: set[str] = set()

    def location(self, digest: Digest) -> str:
        """Return the path of the blob as a string: for thousands of files, building a Path takes four times as long."""
        return f"{self._root}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"

    def path(self, digest: Digest) -> Path:
        """Return the path of the blob; it need not exist."""
        return Path(self.location(digest))

    def has(self, digest: Digest) -> bool:
        """Return whether the blob exists. Blobs get their name only after verification."""
        try:
            return stat.S_ISREG(os.stat(self.location(digest)).st_mode)
        except (OSError, ValueError):
            return False

    def stat(self, digest: Digest) -> os.stat_result:
        """Return the stat result of the blob; raise FileNotFoundError if it is missing."""
        return os.stat(self.location(digest))

    def bring_back(self, digest: Digest, trash: Path) -> bool:
        """Move a blob back from the trash, if a concurrent prune moved it there; return whether it did."""
        try:
            os.rename(trash / f"{digest.algorithm}-{digest.hex}", self.location(digest))
        except OSError:
            return False
        return True

    def keep(self, partial: "Partial") -> None:
        """Verify a partial and rename it to its blob path; call `settle` to make the name durable."""
        first = self.location(partial.file.digest)
        require_own_folders(os.path.dirname(first))
        # Keep the lock until the rename: another process could otherwise open it as a partial and write to it.
        with partial.held(), disk(first):
            digests = partial.seal()
            others = {self.location(Digest(algorithm, value)) for algorithm, value in digests.items()} - {first}
            twin = next((other for other in others if os.path.exists(other)), None)
            if twin is not None:
                with contextlib.suppress(FileNotFoundError):  # a concurrent prune has just moved the other name
                    _in_folder(first, functools.partial(add_name, twin))
            if twin is not None and os.path.exists(first):
                partial.discard()
            else:
                _in_folder(first, partial.publish)
            for other in others:
                _in_folder(other, functools.partial(add_name, first))
        self._unsettled.add(os.path.dirname(first))

    def settle(self) -> None:
        """Sync the folders of the blobs that `keep` renamed, to make their names durable."""
        # A copy, because other threads may add folders or settle at the same time.
        for folder in tuple(self._unsettled):
            self._unsettled.discard(folder)
            try:
                sync_folder(Path(folder))
            except OSError as error:
                raise disk_trouble(error, Path(folder)) from error


def _in_folder(at: str, act: Callable[[str], None]) -> None:
    """Call `act(at)`; if its folder is missing, create the folder and call it again."""
    try:
        act(at)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(at), exist_ok=True)
        act(at)


def add_name(blob: str | Path, at: str | Path) -> None:
    """Add a name to a blob: a hard link, or else a relative symlink.

    On a filesystem that supports neither, do nothing: the blob keeps its one name.
    """
    for link in (os.link, _relative_symlink):
        try:
            link(blob, at)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
        else:
            return


def _relative_symlink(blob: str | Path, at: str | Path) -> None:
    os.symlink(os.path.relpath(blob, os.path.dirname(at)), at)
