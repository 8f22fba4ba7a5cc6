"""Verification: hash every blob again on all cores, and quarantine corrupt ones."""

import contextlib
import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import Digest
from preheat.disk.file_hash import feed
from preheat.library.blobs.blobs import sync_folder
from preheat.library.blobs.lease import lease
from preheat.library.records.seals import Seals
from preheat.library.upkeep.inventory import Blob

# How far ahead the kernel is told to read: more than its own guess, which keeps a fast disk waiting.
_AHEAD = 16 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """A blob that was looked at; `fault` says what is wrong with it, nothing if it is as it should be.

    `inode` is that of the file that was read; 0 where it could not be, which may pass.
    """

    blob: Blob
    fault: str = ""
    inode: int = 0


def verify(
    blobs: Sequence[Blob],
    path_of: Callable[[Digest], Path],
    seals: Seals,
    on_read: Callable[[int], None],
    on_found: Callable[[Finding], None],
    threads: int = 0,
) -> None:
    """Hash `blobs` by all their names, the largest first; say each one as it is done, and seal what is right.

    `on_read` hears how many bytes were read, `on_found` of each blob that is still there; both from many threads, one
    at a time. The first exception they raise ends it.
    """
    waiting = deque(sorted(blobs, key=lambda blob: -blob.size))
    speaking = threading.Lock()
    failed: list[BaseException] = []

    def told(size: int) -> None:
        with speaking:
            on_read(size)

    def work() -> None:
        try:
            while not failed:
                try:
                    blob = waiting.popleft()
                except IndexError:
                    return
                finding = _looked_at(blob, path_of, told, failed)
                with speaking:
                    if finding is not None and not failed:
                        if not finding.fault:
                            for name in blob.names:
                                seals.note(name, path_of(name))
                        on_found(finding)
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, which raises it
            failed.append(error)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads or len(os.sched_getaffinity(0)))]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            while worker.is_alive():
                worker.join(0.2)
    except BaseException as error:
        failed.append(error)
        raise
    if failed:
        raise failed[0]


def quarantine(root: Path, finding: Finding, path_of: Callable[[Digest], Path]) -> Path | None:
    """Move a rotten blob out of all its names, to `quarantine/`; None if it is not there any more.

    What has its names by now may be another file, which somebody else has brought instead: that stays.
    """
    if not finding.inode:
        return None
    folder = root / "quarantine"
    folder.mkdir(exist_ok=True)
    moved = None
    for name in sorted(finding.blob.names, key=lambda name: path_of(name).is_symlink(), reverse=True):
        to = folder / f"{name.algorithm}-{name.hex}"
        with contextlib.suppress(FileNotFoundError):
            if path_of(name).stat().st_ino != finding.inode:
                continue
            path_of(name).rename(to)
            moved = moved or to
            sync_folder(path_of(name).parent)
    return moved


def _looked_at(
    blob: Blob,
    path_of: Callable[[Digest], Path],
    on_read: Callable[[int], None],
    stop: Sequence[object],
) -> Finding | None:
    """Say what is wrong; nothing, if nothing is; None if it was not read to its end, since it is gone."""
    try:
        descriptor = os.open(path_of(blob.names[0]), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Finding(blob, f"it cannot be opened: {os.strerror(error.errno or 0).lower()}")
    status = os.fstat(descriptor)
    inode = status.st_ino
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return Finding(blob, "it is not a regular file", inode)
    hashers = [(name, name.hasher(blob.size)) for name in blob.names]
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        at, end = 0, _AHEAD
        os.posix_fadvise(descriptor, 0, _AHEAD, os.POSIX_FADV_WILLNEED)
        with lease(descriptor) as is_held:
            while not stop:
                os.posix_fadvise(descriptor, end, _AHEAD, os.POSIX_FADV_WILLNEED)
                told, at = at, feed(descriptor, at, end, [one for _, one in hashers], is_held)
                on_read(at - told)
                if at < end:
                    break
                end += _AHEAD
        if stop:
            return None
    except OSError as error:
        # A disk that cannot read it has lost it; anything else, as a share that does not answer, may pass.
        lost = error.errno == errno.EIO
        return Finding(blob, f"it cannot be read: {os.strerror(error.errno or 0).lower()}", inode if lost else 0)
    finally:
        os.close(descriptor)
    if at != blob.size and any(name.algorithm != "sha256" for name, _ in hashers):
        # git's name is of the size too, which has changed since it was asked for.
        return Finding(blob, f"it has {at} bytes, and had {blob.size} when it was listed", inode)
    wrong = [f"{name.algorithm}:{one.hexdigest()}" for name, one in hashers if one.hexdigest() != name.hex]
    return Finding(blob, f"its bytes are {wrong[0]}" if wrong else "", inode)
