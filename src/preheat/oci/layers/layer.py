"""Layer: a reproducible tar of entries; the same entries give the same bytes. Format: docs/adr/0012."""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.values.replace import replace
from preheat.oci.layers.tar import END, FILE, FOLDER, LINK, Header, header, header_size, padding
from preheat.oci.model.content import FileSpan, Piece, after

FORMAT = 1
LARGE = 4 << 20


@dataclass(frozen=True, slots=True)
class LayerEntry:
    """A path in the image, relative to its root, and its contents.

    A file's bytes are either the blob `digest` at the path `source`, or `body`. `source` is a text, since there may be
    300,000 entries and a Path takes three times the memory. `label` is the name to show, if it is not the path.
    """

    path: str
    kind: str
    target: str = ""
    size: int = 0
    digest: Digest | None = None
    source: str = ""
    body: bytes = b""
    executable: bool = False
    label: str = field(default="", compare=False)

    @property
    def header(self) -> Header:
        """Return the entry's tar header."""
        return Header(self.path, self.kind, self.size, self.target, self.executable)

    @property
    def aligned(self) -> bool:
        """Return whether the entry's bytes start on a page boundary."""
        return self.kind == FILE and self.size >= LARGE


def blob_entry(path: str, size: int, digest: Digest, source: Path | str, label: str = "") -> LayerEntry:
    """Return an entry for a blob of the library."""
    return LayerEntry(path, FILE, size=size, digest=digest, source=str(source), label=label)


def file_entry(path: str, body: bytes, *, executable: bool = False) -> LayerEntry:
    """Return an entry for a small file."""
    return LayerEntry(path, FILE, size=len(body), body=body, executable=executable)


def folder_entry(path: str) -> LayerEntry:
    """Return an entry for a folder."""
    return LayerEntry(path, FOLDER)


def link_entry(path: str, target: str) -> LayerEntry:
    """Return an entry for a symlink."""
    return LayerEntry(path, LINK, target=target)


@dataclass(frozen=True)
class Layer:
    """See Content. `digest` is set if it is known from an earlier build."""

    name: str
    entries: tuple[LayerEntry, ...]
    digest: Digest | None = None
    trusted: bool = False
    local: bool = True

    @functools.cached_property
    def key(self) -> str:
        """Return a cache key: hexadecimal SHA-256 of the layer's description."""
        described = hashlib.sha256(f"preheat layer {FORMAT}".encode())
        for entry in self.entries:
            described.update(f"\n{_described(entry)}".encode())
        return described.hexdigest()

    @functools.cached_property
    def size(self) -> int:
        """See Content."""
        at = 0
        for entry in self.entries:
            at += header_size(entry.header, at, aligned=entry.aligned) + entry.size + len(padding(entry.size))
        return at + len(END)

    @property
    def weight(self) -> int:
        """Return the total size of the files in bytes."""
        return sum(entry.size for entry in self.entries)

    def known(self, digest: Digest, *, trusted: bool) -> "Layer":
        """Return a copy of the layer with its digest set. It has the same entries, so their key and size stay known."""
        copy = replace(self, digest=digest, trusted=trusted)
        copy.__dict__.update({name: self.__dict__[name] for name in ("key", "size") if name in self.__dict__})
        return copy

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """See Content."""
        yield from after(self._pieces(), start)

    def _pieces(self) -> Iterator[Piece]:
        at = 0
        for entry in self.entries:
            head = header(entry.header, at, aligned=entry.aligned)
            yield head
            if entry.source:
                yield FileSpan(Path(entry.source), 0, entry.size)
            elif entry.body:
                yield entry.body
            fill = padding(entry.size)
            if fill:
                yield fill
            at += len(head) + entry.size + len(fill)
        yield END


def _described(entry: LayerEntry) -> str:
    match entry.kind:
        case "2":
            what = entry.target
        case "5":
            what = ""
        case _:
            digest = entry.digest or f"sha256:{hashlib.sha256(entry.body).hexdigest()}"
            what = f"{digest} {entry.size}{' x' if entry.executable else ''}"
    # Paths are quoted, so a path with a newline cannot imitate another line.
    return f"{entry.kind} {entry.path!r} {what!r}"
