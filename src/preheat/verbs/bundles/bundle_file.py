"""Bundle file: read a bundle: one file, or pieces, which are the consecutive parts of one tar."""

import os
from collections.abc import Sequence
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import PreheatError, UsageError
from preheat.disk.regular_file import open_regular, why
from preheat.oci.layers.tar_reader import FILE, Damaged, TarEntries
from preheat.verbs.bundles.bundle_index import FOLDER, INDEX, LARGEST_INDEX, BundleIndex, blob_name, read_index

_FIRST = "name the file, or all pieces, as export wrote them"


class BundleFile:
    """A bundle, open for reading. Raise UsageError for files that are no bundle, or not all of it.

    Any order of the pieces is accepted: their names end with .001, .002 and so on.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(sorted(dict.fromkeys(paths), key=_piece_number))
        self.name = str(self.paths[0]) if len(self.paths) == 1 else f"{self.paths[0]} to {self.paths[-1].name}"
        self._files: list[int] = []
        try:
            self._sizes = [self._open(path) for path in self.paths]
            self.index = self._read_index()
            self._check_pieces()
            self._at = self._find()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            os.close(file)
        self._files.clear()

    def has(self, digest: Digest) -> bool:
        """Return whether the bundle contains a blob."""
        return digest in self.index.blobs

    def read_blob(self, digest: Digest, start: int, buffer: memoryview) -> int:
        """Read a blob from byte `start` on into `buffer`; return how many bytes, 0 at the end of the bundle."""
        return self._read_at(self._at[blob_name(digest)][0] + start, buffer)

    def text(self, name: str, most: int) -> bytes | None:
        """Return a small file of the bundle; None if it has none of this name, of at most `most` bytes."""
        at, size = self._at.get(f"{FOLDER}/{name}", (0, -1))
        if not 0 <= size <= most:
            return None
        body = bytearray(size)
        self._fill(at, memoryview(body))
        return bytes(body)

    def _open(self, path: Path) -> int:
        try:
            with open_regular(path) as file:
                descriptor = os.dup(file.fileno())
        except OSError as error:
            hint = "name the bundle, the tar that export has written, or all of its pieces"
            raise UsageError(f"{path} cannot be read: {why(error)}", hint=hint) from error
        self._files.append(descriptor)
        return os.fstat(descriptor).st_size

    def _read_index(self) -> BundleIndex:
        try:
            first = next(iter(self._entries()), None)
        except Damaged as error:
            raise UsageError(f"{self.name} is not a bundle: {error}", hint=_FIRST) from error
        if first is None or first.name != INDEX or first.kind != FILE or first.size > LARGEST_INDEX:
            raise UsageError(f"{self.name} is not a bundle, or not its first piece", hint=_FIRST)
        body = bytearray(first.size)
        self._fill(first.at, memoryview(body))
        return read_index(bytes(body), self.name)

    def _check_pieces(self) -> None:
        piece = self.index.piece
        if not piece:
            if len(self.paths) > 1:
                raise UsageError(f"{self.paths[0]} is a whole bundle, not a piece of one", hint="import each by itself")
            return
        for path, size in zip(self.paths[:-1], self._sizes, strict=False):
            if size != piece:
                raise UsageError(f"{path} has {size} bytes instead of {piece}", hint="copy that piece again")
        wanted = range(1, len(self.paths) + 1)
        if [path.suffix for path in self.paths] != [piece_suffix(number) for number in wanted]:
            raise UsageError(
                f"a piece of {self.paths[0].with_suffix('')} is missing", hint="name each piece: .001 .002 …"
            )

    def _find(self) -> dict[str, tuple[int, int]]:
        """Return where each file is in the tar, and its size; only the headers are read."""
        found = {}
        try:
            for entry in self._entries():
                if entry.kind == FILE:
                    found[entry.name] = entry.at, entry.size
        except Damaged as error:
            raise self._incomplete(str(error)) from error
        for digest, size in self.index.blobs.items():
            if found.get(blob_name(digest), (0, -1))[1] != size:
                raise self._incomplete(f"blob {digest} is missing")
        return found

    def _incomplete(self, what: str) -> PreheatError:
        return UsageError(f"{self.name} is not complete: {what}", hint="copy it again, with all of its pieces")

    def _entries(self) -> TarEntries:
        reader = _Position(self)
        return TarEntries(reader, reader.seek)

    def _fill(self, at: int, buffer: memoryview) -> None:
        while buffer:
            count = self._read_at(at, buffer)
            if not count:
                raise self._incomplete("it ends early")
            at, buffer = at + count, buffer[count:]

    def _read_at(self, at: int, buffer: memoryview) -> int:
        for file, size in zip(self._files, self._sizes, strict=True):
            if at < size:
                return os.preadv(file, [buffer[: size - at]], at)
            at -= size
        return 0


def piece_suffix(number: int) -> str:
    """Return the suffix of a piece's name; the first piece has the number 1."""
    return f".{number:03}"


def _piece_number(path: Path) -> tuple[str, int]:
    digits = path.suffix.removeprefix(".")
    return str(path.with_suffix("")), int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 9 else 0


class _Position:
    """A bundle's bytes, with a position, as TarEntries reads them."""

    def __init__(self, bundle: BundleFile) -> None:
        self._bundle, self._at = bundle, 0

    def seek(self, at: int) -> None:
        """Set the position."""
        self._at = at

    def read(self, size: int, /) -> bytes:
        """See Readable."""
        body = bytearray(size)
        left = memoryview(body)
        while left and (count := self._bundle._read_at(self._at, left)):
            self._at, left = self._at + count, left[count:]
        return bytes(body[: size - len(left)])
