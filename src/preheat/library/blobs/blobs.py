"""Blobs: verified files, stored by digest."""

import contextlib
import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path

from preheat.core.digest import Digest
from preheat.library.blobs.partial import Partial, disk, disk_trouble

# A filesystem that has no such links, as exFAT, or no more of them for this file.
NO_LINK = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


class Blobs:
    """Verified bytes, read-only, one file each, with a name for every digest they are known by.

    `ALGORITHM/FF/HEX`, where FF is the digest's first two digits; the names of one blob are hard links.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._unsettled: set[str] = set()

    def path(self, digest: Digest) -> Path:
        """Say where the blob is, or would be."""
        return Path(self._place(digest))

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here: whole and verified, for nothing else has a name."""
        return os.path.isfile(self._place(digest))

    def bring_back(self, digest: Digest, trash: Path) -> bool:
        """Take a blob out of the trash again, if a removal under way has moved it there. Return whether it had."""
        try:
            os.rename(trash / f"{digest.algorithm}-{digest.hex}", self._place(digest))
        except OSError:
            return False
        return True

    def keep(self, partial: Partial) -> None:
        """Seal what arrived and name it; the name is on disk once it is settled."""
        first = self._place(partial.file.digest)
        # Locked until it has its name, or another process could take it for a partial and write to it.
        with partial.held(), disk(Path(first)):
            digests = partial.seal()
            others = {self._place(Digest(algorithm, value)) for algorithm, value in digests.items()} - {first}
            twin = next((other for other in others if os.path.exists(other)), None)
            if twin is not None:
                with contextlib.suppress(FileNotFoundError):  # a prune beside this process has just moved the twin
                    _in_folder(first, functools.partial(name_too, twin))
            if twin is not None and os.path.exists(first):
                partial.discard()
            else:
                _in_folder(first, partial.publish)
            for other in others:
                _in_folder(other, functools.partial(name_too, first))
        self._unsettled.add(os.path.dirname(first))

    def settle(self) -> None:
        """Put the names that were given on disk."""
        # Others may name more meanwhile, or be settling too.
        for folder in tuple(self._unsettled):
            self._unsettled.discard(folder)
            try:
                sync_folder(Path(folder))
            except OSError as error:
                raise disk_trouble(error, Path(folder)) from error

    def _place(self, digest: Digest) -> str:
        # A string: thousands of files ask, and a path costs four times as much.
        return f"{self._root}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"


def _in_folder(at: str, act: Callable[[str], None]) -> None:
    """Do what gives the name `at`; make its folder if that is what is missing."""
    try:
        act(at)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(at), exist_ok=True)
        act(at)


def name_too(blob: str | Path, at: str | Path) -> None:
    """Give a blob one more name: a hard link, or a relative symlink.

    On a filesystem with neither, it has the name that it is asked for by, and no other.
    """
    for link, source in ((os.link, blob), (os.symlink, os.path.relpath(blob, os.path.dirname(at)))):
        try:
            link(source, at)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
        else:
            return


def sync_folder(folder: Path) -> None:
    """Put a folder's names on disk; a filesystem that cannot is left to its own ways."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise OSError(error.errno, error.strerror, str(folder)) from error
    finally:
        os.close(descriptor)
