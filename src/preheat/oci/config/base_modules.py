"""Base modules: the Python modules of a base image that have no bytecode, and their sources."""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from preheat.oci.config.base_files import Listing, Visit
from preheat.oci.layers.overlay import FILE, FOLDER, normal
from preheat.oci.layers.tar_reader import HARD_LINK, TarEntries, TarEntry
from preheat.oci.model.content import Content
from preheat.oci.model.descriptor import Descriptor
from preheat.oci.model.image import Image

LONGEST_MODULE = 2 << 20  # bytes; those above are mostly tables, which compilers take long for
MOST_BYTES = 512 << 20  # of all modules


@dataclass(frozen=True, slots=True)
class BaseModule:
    """A module of a base: its source is in the file `at`. `modified` is its time in seconds since 1970."""

    path: str
    at: Path
    modified: int


def bytecode_path(module: str, tag: str) -> str:
    """Return where Python looks for the bytecode of a module (PEP 3147); `tag` is such as `cpython-312`."""
    folder, _, name = module.rpartition("/")
    return posixpath.join(folder, "__pycache__", f"{name.removesuffix('.py')}.{tag}.pyc")


def uncompiled(listing: Listing, modules: Iterable[str], tag: str) -> Iterator[str]:
    """Yield the modules that are plain files, and whose bytecode is missing and could be added."""
    for module in modules:
        compiled = bytecode_path(module, tag)
        if (
            listing.kind(module) == FILE
            and not listing.kind(compiled)
            and listing.kind(posixpath.dirname(compiled)) in ("", FOLDER)
        ):
            yield module


def read_modules(
    image: Image,
    paths: Iterable[str],
    content: Callable[[Descriptor], Content],
    folder: Path,
    on_bytes: Callable[[int], None] = lambda _size: None,
) -> dict[str, BaseModule]:
    """Write the sources of modules to numbered files in `folder`, and return those that were found, by their paths.

    Reads all layers. Modules that are too long or have no valid time are left out. Raise ImageError if a layer is
    damaged.
    """
    taken = _Taken({path: folder / str(number) for number, path in enumerate(paths)})
    listing = Listing()
    for layer in image.layers:
        listing.apply(content(layer), layer.media_type, taken.visit)
        if taken.linked:
            # The other name of a hard link came earlier in the layer.
            Listing().apply(content(layer), layer.media_type, taken.visit_linked())
        on_bytes(layer.size)
    return {path: one for path, one in taken.found.items() if listing.kind(path) == FILE}


class _Taken:
    """The sources found so far: those of higher layers replace those of lower ones."""

    def __init__(self, wanted: Mapping[str, Path]) -> None:
        self.found: dict[str, BaseModule] = {}
        self.linked: dict[str, list[str]] = {}  # the paths of hard links, by the name that they share
        self._wanted = wanted
        self._left = MOST_BYTES

    def visit(self, path: str, entry: TarEntry, archive: TarEntries) -> None:
        if path not in self._wanted:
            return
        self.found.pop(path, None)
        if entry.kind == FILE:
            self._take([path], entry, archive)
        elif entry.kind == HARD_LINK:
            self.linked.setdefault(normal(entry.target), []).append(path)

    def visit_linked(self) -> Visit:
        linked, self.linked = self.linked, {}

        def visit(path: str, entry: TarEntry, archive: TarEntries) -> None:
            if path in linked and entry.kind == FILE:
                self._take(linked[path], entry, archive)

        return visit

    def _take(self, paths: Iterable[str], entry: TarEntry, archive: TarEntries) -> None:
        if entry.modified is None or entry.size > min(LONGEST_MODULE, self._left):
            return
        self._left -= entry.size
        body = archive.read(entry.size)
        for path in paths:
            self._wanted[path].write_bytes(body)
            self.found[path] = BaseModule(path, self._wanted[path], entry.modified)
