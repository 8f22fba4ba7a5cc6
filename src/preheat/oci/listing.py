"""Listing: what a base has at which path, once its layers lie over each other; and where in it is a Python."""

import io
import posixpath
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from gzip import BadGzipFile, GzipFile

from preheat.errors import SOURCE, ImageError
from preheat.oci.content import Content, chunks

FOLDER, FILE = "folder", "file"
_LINK = "link "
_MOST_LINKS = 40
# OCI image specification 1.1, layer.md: what a layer takes away from those below it.
_AWAY, _ALL_AWAY = ".wh.", ".wh..wh..opq"
_PYTHON = re.compile(r"python(3\.\d+)")
_OLDEST = (3, 8)


class Listing:
    """Kinds by path, relative to the image's root."""

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}

    def kind(self, path: str) -> str:
        """Say what is at `path` itself: folder, file, `link TARGET`, or nothing."""
        return self._kinds.get(path, "")

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
        """Lay one more layer on top. Raise ImageError when it cannot be read."""
        try:
            with tarfile.open(fileobj=unpacked(content, media_type), mode="r|") as archive:
                added: set[str] = set()
                for member in archive:
                    archive.members = []  # type: ignore[attr-defined]  # or it keeps all of them
                    self._add(member, added)
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise ImageError(
                f"layer {content.digest} of the base cannot be read: {error}",
                hint="it is damaged: pull or save the base anew",
                end=SOURCE,
            ) from error

    def _add(self, member: tarfile.TarInfo, added: set[str]) -> None:
        path = posixpath.normpath(member.name).strip("/")
        folder, name = posixpath.split(path)
        if name == _ALL_AWAY:
            self._remove(folder, added)
        elif name.startswith(_AWAY):
            gone = posixpath.join(folder, name.removeprefix(_AWAY))
            self._remove(gone, added)
            self._kinds.pop(gone, None)
        elif path != ".":
            kind = FOLDER if member.isdir() else f"{_LINK}{member.linkname}" if member.issym() else FILE
            if kind != FOLDER and self._kinds.get(path) == FOLDER:
                self._remove(path, added)
            self._kinds[path] = kind
            added.add(path)
            while folder and folder not in self._kinds:
                self._kinds[folder] = FOLDER
                folder = posixpath.dirname(folder)

    def _remove(self, folder: str, added: set[str]) -> None:
        """Forget all below a folder, but for what this very layer has put there."""
        below = f"{folder}/" if folder else ""
        for path in [path for path in self._kinds if path.startswith(below) and path not in added]:
            del self._kinds[path]


def readable(media_type: str) -> bool:
    """Whether a layer is in a form that can be read here: plain, or compressed by gzip."""
    return not media_type.endswith("zstd")


def unpacked(content: Content, media_type: str) -> "io.BufferedIOBase | GzipFile":
    """Read a layer as the tar that it is, unpacked where it is packed. Raise BadGzipFile where it is not as it says."""
    plain = io.BufferedReader(_Pieces(chunks(content.pieces())), 1 << 20)
    if plain.peek(2)[:2] != b"\x1f\x8b":
        if media_type.endswith("gzip"):
            raise BadGzipFile("it is not compressed as it says")
        return plain
    return GzipFile(fileobj=plain)


class _Pieces(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, pieces: Iterator[memoryview]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # what io hands in is one
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
