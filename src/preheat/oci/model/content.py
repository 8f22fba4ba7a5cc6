"""Content: bytes of an image as a sequence of pieces, which need not fit into memory."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Protocol

from preheat.core.digest import Digest
from preheat.core.errors import SOURCE, ImageError

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileSpan:
    """Bytes `start` up to, not including, `stop` of a file on this machine."""

    path: Path
    start: int
    stop: int


Piece = bytes | FileSpan


class Content(Protocol):
    """A layer or another blob of an image, local or in a registry. Its pieces can be read more than once."""

    @property
    def name(self) -> str:
        """Return the name to show to users."""

    @property
    def size(self) -> int:
        """Return the number of bytes."""

    @property
    def digest(self) -> Digest | None:
        """Return the digest of all bytes, or None if they have not been hashed yet."""

    @property
    def trusted(self) -> bool:
        """Return whether the digest is known to be correct without reading the bytes again."""

    @property
    def local(self) -> bool:
        """Return whether the bytes are on this machine."""

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """Yield the pieces from byte `start`. Raise ImageError if they cannot be read."""


def require_digest(content: Content, digest: Digest) -> None:
    """Raise ImageError if `digest`, that of the bytes read, differs from the digest that `content` is known by."""
    if content.digest is not None and digest != content.digest:
        raise ImageError(
            f"{content.name} has the digest {digest}, expected {content.digest}",
            hint="the source is damaged: run preheat verify, or download it again",
            end=SOURCE,
        )


@dataclass(frozen=True, slots=True)
class Local:
    """A blob of a layout or an archive: a range of a file."""

    name: str
    span: FileSpan
    digest: Digest | None
    trusted: bool = False
    local: bool = True

    @property
    def size(self) -> int:
        """See Content."""
        return self.span.stop - self.span.start

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """See Content."""
        yield FileSpan(self.span.path, self.span.start + start, self.span.stop)


@dataclass(frozen=True, slots=True)
class Small:
    """A document in memory."""

    name: str
    body: bytes
    digest: Digest
    trusted: bool = True
    local: bool = True

    @property
    def size(self) -> int:
        """See Content."""
        return len(self.body)

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """See Content."""
        yield self.body[start:]


def after(pieces: Iterator[Piece], start: int) -> Iterator[Piece]:
    """Skip the first `start` bytes of the pieces."""
    for piece in pieces:
        size = piece.stop - piece.start if isinstance(piece, FileSpan) else len(piece)
        if start >= size:
            start -= size
        else:
            if isinstance(piece, FileSpan):
                yield FileSpan(piece.path, piece.start + start, piece.stop)
            else:
                yield piece[start:]
            start = 0


def chunks(pieces: Iterator[Piece]) -> Iterator[memoryview]:
    """Yield the pieces in chunks of up to `CHUNK` bytes. Each chunk may be overwritten by the next one."""
    buffer = memoryview(bytearray(CHUNK))
    for piece in pieces:
        if not isinstance(piece, FileSpan):
            for start in range(0, len(piece), CHUNK):
                yield memoryview(piece)[start : start + CHUNK]
            continue
        with opened(piece.path) as file:
            at = piece.start
            while at < piece.stop:
                count = os.preadv(file.fileno(), [buffer[: min(CHUNK, piece.stop - at)]], at)
                if not count:
                    raise shorter(piece.path)
                at += count
                yield buffer[:count]


def opened(path: Path | str) -> FileIO:
    """Open a source file of an image. Raise ImageError if that fails."""
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}", end=SOURCE) from error


def shorter(path: Path) -> ImageError:
    """Return an error for a source file that is shorter than expected."""
    return ImageError(f"{path} is truncated", hint="run preheat verify, or use another base", end=SOURCE)
