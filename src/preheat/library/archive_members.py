"""Archive members: read the files of a zip or tar that may be hostile, within limits; nothing is unpacked to a folder.

A zip's symlink is a file with the link's target as its text, as Python's zipfile unpacks it; a tar's link to a member
is that member's file. Any other link, and any device, is refused.
"""

import bz2
import gzip
import io
import lzma
import posixpath
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from preheat.core.errors import IntegrityError, UsageError
from preheat.core.ref import TAR, ZIP
from preheat.disk.zip_directory import directory_size

MOST_MEMBERS = 100_000
MOST_RATIO = 200  # unpacked bytes per byte of the archive, beyond the free part
FREE_BYTES = 1 << 30  # unpacked bytes that no ratio limits
LONGEST_PATH = 1024  # bytes
LARGEST_DIRECTORY = 32 << 20  # bytes of a zip's directory, which is read as a whole
LONGEST_HEADER = 4 << 20  # bytes of one read of a tar's headers: tarfile keeps a header in memory

_DEEPEST = 32  # folders in a path
_TAR_OVERHEAD = MOST_MEMBERS * 2048  # bytes of headers and padding
_STEP = 1 << 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_ENCRYPTED = 1
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    struct.error,
    NotImplementedError,
    RuntimeError,
    LookupError,
    ArithmeticError,
    TypeError,
)


@dataclass(frozen=True)
class Member:
    """A file of an archive: its path, and its bytes, in pieces that must be read before the next member's.

    `same_as` is the path of an earlier member that a link leads to; it has no bytes of its own.
    """

    path: str
    pieces: Iterator[memoryview]
    same_as: str = ""


def read_members(path: Path, kind: str) -> Iterator[Member]:
    """Yield the files of the archive at `path`, each once, in the archive's order. `kind` is `zip` or `tar`.

    Raise IntegrityError for an archive that is damaged, encrypted, larger than the limits, or has a member whose name
    leads out of it, is used twice, or differs from another one's only by case. Members that were yielded before are
    then of no use. Takes one pass and about 1 MiB of memory, and 300 bytes for each member.
    """
    if kind not in (ZIP, TAR):
        raise UsageError(f"{kind!r} is not a kind of archive", hint=f"{ZIP} or {TAR}")
    with _told(path.name), open(path, "rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        bounds = _Bounds(path.name, max(FREE_BYTES, MOST_RATIO * size))
        yield from _zip(file, bounds) if kind == ZIP else _tar(file, bounds)


class _Bounds:
    """The names and bytes of an archive's members so far, and their limits."""

    def __init__(self, archive: str, most: int) -> None:
        self.archive = archive
        self.most = most
        self._left = most
        self._names: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def enter(self, name: str) -> str:
        """Return a member's path, as it is in a snapshot. Raise IntegrityError if it cannot be placed."""
        path = name.removeprefix("./")
        parts = path.split("/")
        if not path or path.startswith("/") or "\\" in path or ".." in parts or "." in parts or "" in parts:
            raise self.refused(f"the name {name!r} leads out of it or is not a path")
        if len(path.encode("utf-8", "surrogatepass")) > LONGEST_PATH or len(parts) > _DEEPEST or _CONTROL.search(path):
            raise self.refused(f"the name {name[:80]!r} is too long or has control characters")
        key = path.casefold()
        if key in self._names:
            other = self._names[key]
            why = "twice" if other == path else f"and {other!r}, which differ only by case"
            raise self.refused(f"it has {path!r} {why}")
        self._names[key] = path
        if key in self._folders:
            raise self.refused(f"it has {path!r} as both a file and a folder")
        if len(self._names) > MOST_MEMBERS:
            raise self.refused(f"it has more than {MOST_MEMBERS:,} members")
        self._enter_folders(path, parts)
        return path

    def _enter_folders(self, path: str, parts: list[str]) -> None:
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            key = folder.casefold()
            if self._folders.setdefault(key, folder) != folder:
                raise self.refused(
                    f"it has the folders {folder!r} and {self._folders[key]!r}, which differ only by case"
                )
            if key in self._names:
                raise self.refused(f"it has {self._names[key]!r} as both a file and a folder of {path!r}")

    def pieces(self, source: IO[bytes], size: int | None = None) -> Iterator[memoryview]:
        """Yield the bytes of a member; `size` is how many it must have, where its reader does not check that."""
        buffer, count = memoryview(bytearray(_STEP)), 0
        with _told(self.archive):
            while read := source.readinto(buffer):  # type: ignore[attr-defined] # of every binary file in the library
                count += read
                self._left -= read
                if self._left < 0:
                    raise self.too_large()
                yield buffer[:read]
            if size is not None and count != size:
                raise EOFError("it is cut short")

    def too_large(self) -> IntegrityError:
        """Return the error for an archive that unpacks to more than the limit."""
        return self.refused(f"it unpacks to more than {self.most:,} bytes")

    def refused(self, why: str) -> IntegrityError:
        """Return the error for an archive that breaks a rule."""
        return IntegrityError(
            f"the archive {self.archive} is refused: {why}", hint="use another archive; docs/limits.md has the limits"
        )


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Raise IntegrityError for an archive that cannot be read."""
    try:
        yield
    except IntegrityError:
        raise
    except _BROKEN as error:
        said = str(error) or type(error).__name__
        raise IntegrityError(f"the archive {name} cannot be unpacked: {said}", hint="download it again") from error


# ---- zip


def _zip(file: IO[bytes], bounds: _Bounds) -> Iterator[Member]:
    directory = directory_size(file)
    if directory > LARGEST_DIRECTORY:
        raise bounds.refused(f"its directory has {directory:,} bytes, more than {LARGEST_DIRECTORY:,}")
    with zipfile.ZipFile(file) as archive:
        listed = archive.infolist()
        if len(listed) > MOST_MEMBERS:
            raise bounds.refused(f"it has {len(listed):,} members, more than {MOST_MEMBERS:,}")
        for one in listed:
            mode = one.external_attr >> 16
            if one.orig_filename.endswith("/"):
                continue
            path = bounds.enter(one.orig_filename)
            if one.flag_bits & _ENCRYPTED:
                raise bounds.refused(f"{path!r} is encrypted")
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFLNK):
                raise bounds.refused(f"{path!r} is a device, FIFO or socket")
            if stat.S_ISLNK(mode):
                _require_inside(path, archive.read(one)[:LONGEST_PATH].decode("utf-8", "replace"), bounds)
            with archive.open(one) as member:
                yield Member(path, bounds.pieces(member))


# ---- tar


def _tar(file: IO[bytes], bounds: _Bounds) -> Iterator[Member]:
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        stream = _BoundedReads(gzip.GzipFile(fileobj=file), bounds)
    elif head.startswith(b"BZh"):
        stream = _BoundedReads(bz2.BZ2File(file), bounds)
    elif head.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        stream = _BoundedReads(lzma.LZMAFile(file), bounds)  # noqa: SIM115 - the file that it reads is closed
    else:
        stream = _BoundedReads(file, bounds)
    files: set[str] = set()
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for count, one in enumerate(archive):
            archive.members.clear()  # type: ignore[attr-defined] # it would keep all of them
            if count >= MOST_MEMBERS:
                raise bounds.refused(f"it has more than {MOST_MEMBERS:,} members")
            if one.isdir():
                continue
            path = bounds.enter(one.name)
            if one.issym() or one.islnk():
                folder = posixpath.dirname(path) if one.issym() else ""
                target = _require_inside(path, one.linkname, bounds, folder)
                if target not in files:
                    raise bounds.refused(f"{path!r} is a link to {one.linkname!r}, which is not a file before it")
                yield Member(path, iter(()), target)
                continue
            if not one.isreg():
                raise bounds.refused(f"{path!r} is a device, FIFO or socket")
            member = archive.extractfile(one)
            assert member is not None, "it is a regular file"
            files.add(path)
            yield Member(path, bounds.pieces(member, one.size))


class _BoundedReads(io.RawIOBase):
    """A tar's uncompressed bytes. Raises IntegrityError past the limit, and for a header too large for memory."""

    def __init__(self, source: IO[bytes] | io.BufferedIOBase, bounds: _Bounds) -> None:
        self._source, self._bounds = source, bounds

    def readable(self) -> bool:
        """See RawIOBase."""
        return True

    def seekable(self) -> bool:
        """See RawIOBase."""
        return True

    def tell(self) -> int:
        """See RawIOBase."""
        return self._source.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See RawIOBase. To seek in a compressed tar is to unpack it up to there."""
        if whence != io.SEEK_SET or offset > self._bounds.most + _TAR_OVERHEAD:
            raise self._bounds.too_large()
        return self._source.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        """See RawIOBase."""
        if size < 0 or size > LONGEST_HEADER:
            raise self._bounds.refused("one of its headers is too long")
        return self._source.read(size)


def _require_inside(path: str, target: str, bounds: _Bounds, folder: str | None = None) -> str:
    """Return the member that a link leads to. Raise IntegrityError if it leads out of the archive."""
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(path) if folder is None else folder, target))
    if target.startswith("/") or joined == ".." or joined.startswith("../"):
        raise bounds.refused(f"{path!r} is a link that leads out of it: {target[:80]!r}")
    return joined
