"""Write layer: write an image's content to a file and hash it, in one pass."""

import errno
import hashlib
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from preheat.disk.file_hash import feed
from preheat.oci.layers.reflink import clone
from preheat.oci.layers.tar import PAGE
from preheat.oci.model.content import CHUNK, Content, FileSpan, opened, shorter

OnBytes = Callable[[int], None]
_STEP = 4 << 20
_AHEAD = 8  # maximum number of steps written but not yet hashed: few enough to be still in the page cache
_FLUSH = 32 << 20
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EIO)


def write_content(content: Content, out: int, at: int, on_bytes: OnBytes) -> tuple[str, int]:
    """Write `content` at offset `at`, the current end of the open file `out`.

    Return the hexadecimal SHA-256 of the content, and how many bytes were shared by reflink instead of written. If
    extents can be shared and the digest is trusted, nothing is read. Raise OSError if writing fails, ImageError if
    reading fails. `on_bytes` is called with the number of bytes after each step.
    """
    sharing = _sharing(content, out, at)
    if sharing and content.trusted and content.digest is not None:
        return content.digest.hex, _write_pieces(content, out, at, on_bytes, None, sharing=True)
    with _Hashing(out, at) as hashing:
        shared = _write_pieces(content, out, at, on_bytes, hashing, sharing=sharing)
        return hashing.hexdigest(), shared


def _write_pieces(
    content: Content, out: int, at: int, on_bytes: OnBytes, hashing: "_Hashing | None", *, sharing: bool
) -> int:
    shared, flushed = 0, at
    for piece in content.pieces():
        if not isinstance(piece, FileSpan):
            write_all(out, memoryview(piece), at)
            if hashing is not None:
                hashing.wrote(len(piece))
            at += len(piece)
            on_bytes(len(piece))
            continue
        with opened(piece.path) as file:
            source = file.fileno()
            whole = sharing and _on_pages(piece, at) and clone(source, piece.start, piece.stop, out, at)
            for start, stop in _steps(piece) if whole else _copied(source, piece, out, at):
                to = at + stop - piece.start
                if hashing is not None and whole:
                    # Shared extents belong to the source, whose bytes may already be in the page cache.
                    hashing.shared(source, start, stop, piece.path)
                elif hashing is not None:
                    hashing.wrote(stop - start)
                on_bytes(stop - start)
                if to - flushed >= _FLUSH and not whole:
                    # Start writeback now, to keep the final fsync short.
                    os.posix_fadvise(out, flushed, to - flushed, os.POSIX_FADV_DONTNEED)
                    flushed = to
        at += piece.stop - piece.start
        shared += piece.stop - piece.start if whole else 0
    return shared


def _steps(piece: FileSpan) -> Iterator[tuple[int, int]]:
    for start in range(piece.start, piece.stop, _STEP):
        yield start, min(start + _STEP, piece.stop)


def _copied(source: int, piece: FileSpan, out: int, at: int) -> Iterator[tuple[int, int]]:
    """Copy a piece to `at`, in the kernel if possible. Yield the ranges copied, as offsets in the source."""
    start, buffer = piece.start, memoryview(b"")
    while start < piece.stop:
        to, most = at + start - piece.start, min(_STEP, piece.stop - start)
        if not buffer:
            try:
                count = os.copy_file_range(source, out, most, start, to)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                buffer = memoryview(bytearray(CHUNK))
                continue
        else:
            count = os.preadv(source, [buffer[:most]], start)
            write_all(out, buffer[:count], to)
        if not count:
            raise shorter(piece.path)
        yield start, start + count
        start += count


def _sharing(content: Content, out: int, at: int) -> bool:
    """Return whether `out` can share extents with the files of the content.

    To find out, clone one page of the first file section that is at least a page long, and page-aligned in both files.
    Only the first 64 MiB are searched for such a section.
    """
    if not content.local:
        return False
    here = at
    for piece in content.pieces():
        if isinstance(piece, FileSpan) and _on_pages(piece, here) and piece.stop - piece.start >= PAGE:
            with opened(piece.path) as file:
                return clone(file.fileno(), piece.start, piece.start + PAGE, out, here)
        here += piece.stop - piece.start if isinstance(piece, FileSpan) else len(piece)
        if here > at + (64 << 20):
            break
    return False


def _on_pages(piece: FileSpan, at: int) -> bool:
    return piece.start % PAGE == 0 and at % PAGE == 0


def write_all(out: int, data: memoryview, at: int) -> None:
    """Write all of `data` at offset `at`. Raise OSError on failure."""
    while data:
        count = os.pwrite(out, data, at)
        data, at = data[count:], at + count


class _Hashing:
    """A thread that hashes ranges of files in the order in which they are queued."""

    def __init__(self, out: int, at: int) -> None:
        self._out = out
        self._queued = self._done = at
        self._hash = hashlib.sha256()
        self._jobs: queue.Queue[tuple[int, int, int, Path | None] | None] = queue.Queue(_AHEAD)
        self._error: BaseException | None = None
        self._left = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "_Hashing":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._left = True
        self._jobs.put(None)
        self._thread.join()

    def wrote(self, count: int) -> None:
        """Queue `count` more bytes of the output file, once a full step has been written."""
        self._done += count
        if self._done - self._queued >= _STEP:
            self._tell()

    def shared(self, source: int, start: int, stop: int, path: Path) -> None:
        """Queue bytes of an open source file that were shared, not written. The caller may close the file at once."""
        self._tell()
        self._jobs.put((os.dup(source), start, stop, path))
        self._done = self._queued = self._done + stop - start

    def hexdigest(self) -> str:
        """Return the hash when all queued bytes are done. Raise OSError or ImageError if reading failed."""
        self._tell()
        self._jobs.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._hash.hexdigest()

    def _tell(self) -> None:
        if self._queued < self._done:
            self._jobs.put((os.dup(self._out), self._queued, self._done, None))
            self._queued = self._done

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            descriptor, start, stop, path = job
            try:
                if self._error is None and not self._left:
                    self._feed(descriptor, start, stop, path)
            except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, which raises it
                self._error = error
            finally:
                os.close(descriptor)

    def _feed(self, descriptor: int, start: int, stop: int, path: Path | None) -> None:
        # Only this process writes the output file; other processes may truncate a source.
        if feed(descriptor, start, stop, [self._hash], lambda: path is None) < stop:
            raise (
                shorter(path)
                if path is not None
                else OSError(errno.EIO, "the file became shorter while it was being written")
            )
