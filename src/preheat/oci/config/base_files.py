"""Base files: the paths of a base image after all its layers are applied, and where its Python is."""

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
# Whiteouts: files that remove paths of lower layers (OCI image specification 1.1, layer.md).
_AWAY, _ALL_AWAY = ".wh.", ".wh..wh..opq"
_PYTHON = re.compile(r"python(3\.\d+)")
_LIB = re.compile(r"python3\.(\d{1,3})")
_OLDEST = (3, 8)
_USERS, _MOST_USERS, _PASSWD_FIELDS = "etc/passwd", 1 << 20, 7
_DAMAGED = "the base is damaged: pull or save it again"


class Listing:
    """The kind of each path (see `kind`), relative to the image's root."""

    def __init__(self) -> None:
        self._overlay = Overlay()
        self._users = b""

    def kind(self, path: str) -> str:
        """Return the kind of `path` without following links: folder, file, `link TARGET`, or "" if it is missing."""
        return self._overlay.kind(path)

    def resolve(self, path: str) -> str:
        """Resolve symlinks in every part of `path`; return the real path, or "" if it does not exist."""
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
        """Find Python 3.8 or later in the folders `search`; return its path and version, or two empty strings."""
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

    def site_packages(self, prefixes: Iterable[str]) -> tuple[str, tuple[str, ...]]:
        """Find the site-packages of the first of `prefixes` that has some; return its path and the names in it."""
        for prefix in prefixes:
            lib = self.resolve(f"{prefix}/lib")
            versions = (_LIB.fullmatch(name) for name in (self._overlay.names(lib) if lib else ()))
            for version in sorted((one for one in versions if one), key=lambda one: -int(one[1])):
                for name in ("site-packages", "dist-packages"):
                    folder = self.resolve(f"{lib}/{version[0]}/{name}")
                    if folder and self.kind(folder) == FOLDER:
                        # Its own path, not the real one: the interpreter imports from there.
                        return f"/{prefix.strip('/')}/lib/{version[0]}/{name}", self._overlay.names(folder)
        return "", ()

    def home(self, user: str) -> str:
        """Return the home folder of a user, by name or ID, in passwd(5); "" if it is not there."""
        if self.kind(_USERS) != FILE:
            return ""
        for line in self._users.decode("utf-8", "replace").splitlines():
            fields = line.split(":")
            if len(fields) == _PASSWD_FIELDS and user in (fields[0], fields[2]) and fields[5].startswith("/"):
                return fields[5]
        return ""

    def has(self, name: str, search: Iterable[str]) -> bool:
        """Return whether one of the folders `search` contains the program `name`."""
        return any(self.kind(self.resolve(f"{folder}/{name}")) == FILE for folder in search)

    def apply(self, content: Content, media_type: str) -> None:
        """Apply the next layer. Reads and hashes all its bytes.

        Raise ImageError if the layer does not match its digest or is not a readable tar. The listing is then unusable.
        """
        self._overlay.begin()
        with reading_layer(content, media_type) as archive:
            for entry in archive:
                self._add(entry)
                if entry.kind == FILE and normal(entry.name) == _USERS:
                    self._users = archive.read(_MOST_USERS)

    def _add(self, entry: TarEntry) -> None:
        path = normal(entry.name)
        folder, name = posixpath.split(path)
        if name == _ALL_AWAY:
            self._overlay.remove_below(folder)
        elif name.startswith(_AWAY):
            self._overlay.remove(posixpath.join(folder, name.removeprefix(_AWAY)))
        elif path:
            kind = FOLDER if entry.kind == FOLDER else f"{_LINK}{entry.target}" if entry.kind == LINK else FILE
            self._overlay.put(path, kind)


def readable(media_type: str) -> bool:
    """Return whether layers of this media type can be read: uncompressed or gzip, but not zstd."""
    return not media_type.endswith("zstd")


@contextlib.contextmanager
def reading_layer(
    content: Content, media_type: str, hint: str = _DAMAGED, *, verified: bool = True
) -> Iterator[TarEntries]:
    """Open a layer as a tar, decompressed if needed.

    Raise ImageError, possibly when the block ends, if the layer is damaged. With `verified`, the rest of the layer is
    read when the block ends, and ImageError is also raised if it does not match its digest.
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
            f"layer {content.digest} does not match its digest: got sha256:{pieces.sha256.hexdigest()}",
            hint=hint,
            end=SOURCE,
        )


def _unpacked(plain: io.BufferedReader, media_type: str) -> Readable:
    if plain.peek(2)[:2] != b"\x1f\x8b":
        if media_type.endswith("gzip"):
            raise BadGzipFile("its media type is gzip, but it is not compressed")
        return plain
    return GzipFile(fileobj=plain)


class _Pieces(io.RawIOBase):
    """A file over chunks of bytes, hashed as they are read."""

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
        """Hash the remaining bytes."""
        for piece in self._pieces:
            self.sha256.update(piece)
