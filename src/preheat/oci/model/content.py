"""Content: bytes of an image as a sequence of pieces, so that none is in memory as a whole."""

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
    """A layer, or another blob of an image: from here or from a registry. Its pieces can be asked for again."""

    @property
    def name(self) -> str:
        """For people: what it is."""

    @property
    def size(self) -> int:
        """Bytes in all."""

    @property
    def digest(self) -> Digest | None:
        """Of all its bytes; None while nobody has hashed them."""

    @property
    def trusted(self) -> bool:
        """Whether the digest is known to be right without reading the bytes once more."""

    @property
    def local(self) -> bool:
        """Whether its bytes are on this machine."""

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """Tell the pieces, from byte `start` on. Raise ImageError when they cannot be had."""


@dataclass(frozen=True, slots=True)
class Local:
    """A range of a file: a blob of a layout or an archive."""

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
    """A document that is in memory."""

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
    """Leave out the first `start` bytes."""
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


def chunks(pieces: Iterator[Piece], size: int = CHUNK) -> Iterator[memoryview]:
    """Read the pieces; each chunk is overwritten by the next one."""
    buffer = memoryview(bytearray(size))
    for piece in pieces:
        if not isinstance(piece, FileSpan):
            for start in range(0, len(piece), size):
                yield memoryview(piece)[start : start + size]
            continue
        with opened(piece.path) as file:
            at = piece.start
            while at < piece.stop:
                count = os.preadv(file.fileno(), [buffer[: min(size, piece.stop - at)]], at)
                if not count:
                    raise shorter(piece.path)
                at += count
                yield buffer[:count]


def opened(path: Path) -> FileIO:
    """Open a file that bytes of the image come from; raise ImageError when it cannot be."""
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}", end=SOURCE) from error


def shorter(path: Path) -> ImageError:
    """Say that a file ended before it should have."""
    return ImageError(f"{path} ends too soon", hint="preheat verify, or another base", end=SOURCE)
