"""Base files: what a base image has at which path, after all its layers; where its Python is."""

import contextlib
import hashlib
import io
import posixpath
import re
import zlib
from collections.abc import Iterable, Iterator
from gzip import BadGzipFile, GzipFile

from preheat.core.errors import SOURCE, ImageError
from preheat.oci.layers.overlay import FILE, FOLDER, Overlay, normal
from preheat.oci.layers.tar_reader import LINK, Damaged, Readable, TarEntries, TarEntry
from preheat.oci.model.content import Content, chunks

_LINK = "link "
_MOST_LINKS = 40
# OCI image specification 1.1, layer.md: what a layer takes away from those below it.
_AWAY, _ALL_AWAY = ".wh.", ".wh..wh..opq"
_PYTHON = re.compile(r"python(3\.\d+)")
_OLDEST = (3, 8)
_DAMAGED = "it is damaged: pull or save the base anew"


class Listing:
    """Kinds by path, relative to the image's root."""

    def __init__(self) -> None:
        self._overlay = Overlay()

    def kind(self, path: str) -> str:
        """Say what is at `path` itself: folder, file, `link TARGET`, or nothing."""
        return self._overlay.kind(path)

    def resolve(self, path: str) -> str:
        """Follow links, of folders on the way too; return the path that they lead to, empty for nowhere."""
        done, left = "", path.strip("/").split("/")
        for _ in range(_MOST_LINKS):
            while left:
                name = left.pop(0)
                if name in ("", "."):
                    continue
                if name == "..":
                    done = posixpath.dirname(done)
                    continue
                here = f"{done}/{name}" if done else name
                kind = self.kind(here)
                if kind.startswith(_LINK):
                    target = kind.removeprefix(_LINK)
                    done = "" if target.startswith("/") else done
                    left = target.split("/") + left
                    break
                if not kind:
                    return ""
                done = here
            else:
                return done
        return ""

    def python(self, search: Iterable[str]) -> tuple[str, str]:
        """Find a Python from 3.8 on in the folders `search`; return its path and version, empty for none."""
        folders = list(search)
        for name in ("python3", "python"):
            for folder in folders:
                found = _PYTHON.fullmatch(posixpath.basename(self.resolve(f"{folder}/{name}")))
                if found and tuple(map(int, found[1].split("."))) >= _OLDEST:
                    return f"/{folder.strip('/')}/{name}", found[1]
        for minor in range(30, _OLDEST[1] - 1, -1):
            for folder in folders:
                if self.resolve(f"{folder}/python3.{minor}"):
                    return f"/{folder.strip('/')}/python3.{minor}", f"3.{minor}"
        return "", ""

    def has(self, name: str, search: Iterable[str]) -> bool:
        """Whether a program is in one of the folders `search`."""
        return any(self.kind(self.resolve(f"{folder}/{name}")) == FILE for folder in search)

    def lay(self, content: Content, media_type: str) -> None:
        """Lay one more layer on top; all its bytes are read, and hashed. Raise ImageError when it is not its digest's.

        The same where it cannot be read as a tar: what is laid then is no listing of anything.
        """
        self._overlay.begin()
        with reading_layer(content, media_type) as archive:
            for entry in archive:
                self._add(entry)

    def _add(self, entry: TarEntry) -> None:
        path = normal(entry.name)
        folder, name = posixpath.split(path)
        if name == _ALL_AWAY:
            self._overlay.take_away_below(folder)
        elif name.startswith(_AWAY):
            self._overlay.take_away(posixpath.join(folder, name.removeprefix(_AWAY)))
        elif path:
            kind = FOLDER if entry.kind == FOLDER else f"{_LINK}{entry.target}" if entry.kind == LINK else FILE
            self._overlay.put(path, kind)


def readable(media_type: str) -> bool:
    """Whether a layer is in a form that can be read here: plain, or compressed by gzip."""
    return not media_type.endswith("zstd")


@contextlib.contextmanager
def reading_layer(
    content: Content, media_type: str, hint: str = _DAMAGED, *, verified: bool = True
) -> Iterator[TarEntries]:
    """Read a layer as the tar that it is, unpacked where it is packed, and hash it to its end.

    Raise ImageError, after the block too, when it is damaged or, if it is to be `verified`, has not the digest that the
    image names it by.
    """
    pieces = _Pieces(chunks(content.pieces()))
    try:
        yield TarEntries(_unpacked(io.BufferedReader(pieces, 1 << 20), media_type))
        if verified:
            pieces.exhaust()
    except (OSError, EOFError, Damaged, zlib.error) as error:
        raise ImageError(f"layer {content.digest} cannot be read: {error}", hint=hint, end=SOURCE) from error
    if verified and content.digest is not None and content.digest.hex != pieces.sha256.hexdigest():
        raise ImageError(
            f"layer {content.digest} has other bytes: sha256:{pieces.sha256.hexdigest()}", hint=hint, end=SOURCE
        )


def _unpacked(plain: io.BufferedReader, media_type: str) -> Readable:
    if plain.peek(2)[:2] != b"\x1f\x8b":
        if media_type.endswith("gzip"):
            raise BadGzipFile("it is not compressed as it says")
        return plain
    return GzipFile(fileobj=plain)


class _Pieces(io.RawIOBase):
    """Chunks as a file, hashed on their way."""

    def __init__(self, pieces: Iterator[memoryview]) -> None:
        self.sha256 = hashlib.sha256()
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # what io hands in is one
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self.sha256.update(piece)
            self._left = piece
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def exhaust(self) -> None:
        """Read what is left, to hash it."""
        for piece in self._pieces:
            self.sha256.update(piece)
