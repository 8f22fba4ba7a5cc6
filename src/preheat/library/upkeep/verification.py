"""Verification: hash blobs again on all cores, and quarantine corrupt ones."""

import contextlib
import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from preheat.core.digest import Digest
from preheat.core.threads.next_item import next_item
from preheat.disk.file_hash import feed
from preheat.disk.regular_file import why
from preheat.disk.temporary_file import sync_folder
from preheat.library.blobs.lease import lease
from preheat.library.records.seals import Seals
from preheat.library.upkeep.inventory import Blob

# Bytes to read ahead: the kernel's default is too small for a fast disk.
_AHEAD = 16 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """The result for one blob; `fault` describes the problem, and is empty if the blob is correct.

    `inode` is the inode number of the file that was read; 0 if it could not be read, which may be temporary.
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
    """Hash `blobs` by all their names, the largest first, and seal the correct ones.

    In the calling thread, call `on_read` with the number of bytes of each step, and `on_found` with the result for each
    blob that still exists; a slow callback does not delay the hashing. An exception of a callback ends the verification
    and is raised. `threads` is one per CPU by default.
    """
    waiting = deque(sorted(blobs, key=lambda blob: -blob.size))
    news: SimpleQueue[int | Finding | None] = SimpleQueue()  # bytes, results, and None from each thread at its end
    failed: list[BaseException] = []

    def work() -> None:
        try:
            while not failed:
                try:
                    blob = waiting.popleft()
                except IndexError:
                    return
                finding = _check(blob, path_of, news.put, failed)
                if finding is not None and not failed:
                    for name in () if finding.fault else blob.names:
                        seals.note(name, path_of(name))
                    news.put(finding)
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            failed.append(error)
        finally:
            news.put(None)

    running = min(threads or len(os.sched_getaffinity(0)), len(waiting))
    for _ in range(running):
        threading.Thread(target=work, name="verify", daemon=True).start()
    try:
        while running:
            match next_item(news):
                case None:
                    running -= 1
                case int(size):
                    on_read(size)
                case Finding() as finding:
                    on_found(finding)
    except BaseException as error:
        failed.append(error)
        raise
    if failed:
        raise failed[0]


def quarantine(root: Path, finding: Finding, path_of: Callable[[Digest], Path]) -> Path | None:
    """Move all names of a corrupt blob to `quarantine/`; return the new path, or None if the blob is gone.

    A file that has replaced the blob since, for example after another download, is kept.
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


def _check(
    blob: Blob,
    path_of: Callable[[Digest], Path],
    on_read: Callable[[int], None],
    stop: Sequence[object],
) -> Finding | None:
    """Hash one blob; return the result, or None if the blob is gone or `stop` is not empty."""
    try:
        descriptor = os.open(path_of(blob.names[0]), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Finding(blob, f"it cannot be opened: {why(error)}")
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
                start, at = at, feed(descriptor, at, end, [one for _, one in hashers], is_held)
                on_read(at - start)
                if at < end:
                    break
                end += _AHEAD
        if stop:
            return None
    except OSError as error:
        # EIO means that the disk has lost the data; other errors may be temporary, like a share that does not respond.
        lost = error.errno == errno.EIO
        return Finding(blob, f"it cannot be read: {why(error)}", inode if lost else 0)
    finally:
        os.close(descriptor)
    if at != blob.size and any(name.algorithm != "sha256" for name, _ in hashers):
        # A git digest includes the size, so the hash was started with a wrong size.
        return Finding(blob, f"it has {at} bytes, but had {blob.size} when it was listed", inode)
    wrong = [f"{name.algorithm}:{one.hexdigest()}" for name, one in hashers if one.hexdigest() != name.hex]
    return Finding(blob, f"its bytes are {wrong[0]}" if wrong else "", inode)
