"""Tar reader: the entries of an untrusted tar, in one pass, with bounded memory and time.

Supports POSIX.1-2001 ustar and pax (pax(1)), and GNU's long names, sparse files and base-256 numbers (tar(5), GNU tar
manual). Only names, kinds, targets and sizes are parsed. The bounds are listed in docs/limits.md.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

BLOCK = 512
FILE, HARD_LINK, LINK, FOLDER, OTHER = "file", "hard link", "link", "folder", "other"
LARGEST_HEADER = 1 << 20  # bytes of one extended header or long name
LONGEST_PATH = 4096  # bytes, PATH_MAX of limits.h
MOST_ENTRIES = 4_000_000  # headers of all kinds
MOST_BYTES = 1 << 40  # unpacked
_KINDS = {"1": HARD_LINK, "2": LINK, "3": OTHER, "4": OTHER, "5": FOLDER, "6": OTHER}
_WANTED = ("path", "linkpath", "size", "GNU.sparse.name")
_OCTAL = re.compile(rb"[0-7]{0,12}")
_SKIPPED_AT_ONCE = 1 << 20


class Damaged(Exception):
    """A file is not a valid tar, or exceeds a limit. The message contains the reason."""


class Readable(Protocol):
    """A file or stream of bytes. `read` returns fewer bytes than requested only at the end."""

    def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes."""


@dataclass(frozen=True, slots=True)
class TarEntry:
    """One entry: name and target as written, kind, and the offset `at` of its `size` bytes in the tar."""

    name: str
    kind: str
    target: str
    size: int
    at: int


class TarEntries:
    """Iterate over the entries of a tar; `read` returns the bytes of the current entry.

    All methods raise Damaged, and any exception of the underlying file.
    """

    def __init__(self, file: Readable, seek: Callable[[int], object] | None = None) -> None:
        """Read `file` from its start. `seek`, if given, is used to skip contents."""
        self._file = file
        self._seek = seek
        self._at = 0
        self._left = 0
        self._pad = 0
        self._count = 0

    def read(self, size: int) -> bytes:
        """Return up to `size` more bytes of the current entry; empty at its end."""
        data = self._exactly(min(size, self._left))
        self._left -= len(data)
        return data

    def __iter__(self) -> Iterator[TarEntry]:
        of_all: dict[str, str] = {}
        pax: dict[str, str] = {}
        while (block := self._header()) is not None:
            kind, size = chr(block[156]), _number(block[124:136])
            match kind:
                case "x" | "X" | "g":
                    records = dict(_records(self._long(size)))
                    of_all, pax = (of_all | records, pax) if kind == "g" else (of_all, pax | records)
                case "L" | "K":
                    pax["path" if kind == "L" else "linkpath"] = _text(self._long(size))
                case _:
                    yield self._entry(block, kind, size, of_all | pax)
                    pax = {}

    def _entry(self, block: bytes, kind: str, size: int, pax: dict[str, str]) -> TarEntry:
        if kind == "S":
            more, blocks = block[482], 0
            while more:
                more = self._exactly(BLOCK)[504]
                blocks += 1
                if blocks > LARGEST_HEADER // BLOCK:
                    raise Damaged("a sparse file has too many pieces")
        name = pax.get("GNU.sparse.name") or pax.get("path") or _name(block)
        if "size" in pax:
            size = _decimal(pax["size"])
        what = _KINDS.get(kind, FILE)
        # Only the type of tars before POSIX: a "0" with a slash is a file with a body, for tarfile and containerd too.
        if kind == "\0" and name.endswith("/"):
            what = FOLDER
        size = size if what == FILE else 0
        if size > MOST_BYTES:
            raise Damaged(f"a file has {size} bytes; the maximum is {MOST_BYTES}")
        self._left, self._pad = size, -size % BLOCK
        target = pax.get("linkpath") or _text(block[157:257])
        for path in (name, target):
            if len(path) > LONGEST_PATH or "\0" in path:
                raise Damaged(f"a name is longer than {LONGEST_PATH} bytes, or contains a NUL")
        return TarEntry(name, what, target if what in (LINK, HARD_LINK) else "", size, self._at)

    def _header(self) -> bytes | None:
        """Return the block of the next header, or None at the end."""
        self._skip(self._left)
        padding = self._file.read(self._pad) if self._pad else b""
        self._at += len(padding)
        if len(padding) < self._pad:
            return None  # umoci's last entry has no padding
        self._left = self._pad = 0
        self._count += 1
        if self._count > MOST_ENTRIES:
            raise Damaged(f"it has more than {MOST_ENTRIES} entries")
        block = self._file.read(BLOCK)
        self._at += len(block)
        if not block or block == bytes(BLOCK):
            return None  # many programs omit the two final blocks of zeros
        if len(block) < BLOCK:
            raise Damaged("the tar ends in the middle of a header")
        if not _checksum_matches(block):
            raise Damaged("a header has a wrong checksum, or the file is not a tar")
        return block

    def _long(self, size: int) -> bytes:
        if size > LARGEST_HEADER:
            raise Damaged(f"a header has {size} bytes; the maximum is {LARGEST_HEADER}")
        data = self._exactly(size)
        self._skip(-size % BLOCK)
        return data

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size) if size else b""
        self._at += len(data)
        if len(data) < size or self._at > MOST_BYTES:
            raise Damaged(
                "the tar is truncated" if len(data) < size else f"the tar unpacks to more than {MOST_BYTES} bytes"
            )
        return data

    def _skip(self, size: int) -> None:
        if self._seek is not None and size:
            self._seek(self._at + size - 1)
            self._at += size - 1
            size = 1  # read one byte, to detect truncation
        while size:
            size -= len(self._exactly(min(size, _SKIPPED_AT_ONCE)))


def _checksum_matches(block: bytes) -> bool:
    pax, rest = _number(block[148:156]), block[:148] + b" " * 8 + block[156:]
    # Old programs summed the bytes as signed numbers.
    return pax == sum(rest) or pax == sum(rest) - 256 * sum(byte > 127 for byte in rest)


def _number(field: bytes) -> int:
    """Parse a number: octal digits, or GNU's base 256. Negative numbers are rejected."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.replace(b"\0", b" ").strip()
    if not _OCTAL.fullmatch(digits):
        raise Damaged("a header contains an invalid number")
    return int(digits or b"0", 8)


def _decimal(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise Damaged("a header contains an invalid size")
    return int(text)


def _records(body: bytes) -> Iterator[tuple[str, str]]:
    """Parse the records `LENGTH KEY=VALUE` of a pax header, in linear time; yield only the keys that are used."""
    at = 0
    while at < len(body) and body[at]:
        space = body.find(b" ", at, at + 8)
        digits = body[at:space] if space > 0 else b""
        if not re.fullmatch(rb"[0-9]{1,7}", digits):
            raise Damaged("an extended header has a wrong length")
        stop = at + int(digits)
        equals = body.find(b"=", space, stop)
        if stop > len(body) or equals < 0 or body[stop - 1 : stop] != b"\n":
            raise Damaged("an extended header is truncated")
        key = _text(body[space + 1 : equals])
        if key in _WANTED:
            yield key, body[equals + 1 : stop - 1].decode("utf-8", "surrogateescape")
        at = stop


def _name(block: bytes) -> str:
    name, prefix = _text(block[:100]), _text(block[345:500])
    return f"{prefix}/{name}" if prefix and block[257:263] == b"ustar\0" else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")
