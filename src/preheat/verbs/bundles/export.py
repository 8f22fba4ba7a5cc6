"""Export: write models, recipes and preheat itself from the library to a bundle: one tar, or pieces of it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import ImageError, LibraryError, Occupied, UsageError
from preheat.core.events import Listener, Read, Reading
from preheat.core.snapshot import Snapshot
from preheat.core.values.replace import replace
from preheat.disk.free_space import DiskNeed, disk_need, require_space
from preheat.disk.temporary_file import create, sync_folder, tidy
from preheat.library.blobs.disk_errors import disk
from preheat.library.library import Library
from preheat.oci.layers.layer import Layer, LayerEntry, blob_entry, file_entry
from preheat.oci.layers.write_layer import OnBytes, write_content
from preheat.oci.model.content import FileSpan, Piece
from preheat.verbs.bundles.bundle_file import piece_suffix
from preheat.verbs.bundles.bundle_index import FOLDER, INDEX, BundleIndex, BundleModel, blob_name
from preheat.verbs.bundles.portable_preheat import portable_files

_SMALLEST_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class BundleApp:
    """A recipe for a bundle: its name, and the texts of its preheat.toml and lock."""

    name: str
    recipe: bytes
    lock: bytes


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """What to write to the file `at`: models, with the recipes that need them.

    `since`: the index of an earlier bundle, whose blobs are left out. `piece`: the most bytes of a file, 0 for a single
    one. `portable`: add preheat itself.
    """

    models: tuple[Snapshot, ...]
    at: Path
    apps: tuple[BundleApp, ...] = ()
    since: BundleIndex | None = None
    piece: int = 0
    portable: bool = False


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """A bundle: its index, its tar as one content, and the files to write, with their sizes in bytes."""

    order: ExportOrder
    index: BundleIndex
    content: Layer
    files: tuple[tuple[Path, int], ...]
    disk: DiskNeed

    @property
    def size(self) -> int:
        """Return the size of all files in bytes."""
        return self.content.size

    def require(self) -> None:
        """Raise Occupied if a file exists already, NoSpace if the disk has too little free space."""
        there = [str(path) for path, _ in self.files if os.path.lexists(path)]
        if there:
            raise Occupied(
                f"{there[0]} exists already", hint="remove it, or choose another --output", paths=tuple(there)
            )
        require_space([self.disk])


def plan_export(order: ExportOrder, library: Library) -> ExportPlan:
    """Return the plan of a bundle; nothing is written. Raise UsageError for pieces below 1 MiB."""
    if order.piece and order.piece < _SMALLEST_PIECE:
        raise UsageError("a piece has at least 1 MiB", hint="--split 4G")
    known = order.since
    carried = {file.digest for model in known.models for file in model.wanted.files} if known is not None else set()
    blobs: dict[Digest, int] = {}
    for model in order.models:
        blobs |= {file.digest: file.size for file in model.files if file.digest not in carried}
    since = known.id if known is not None else ""
    models = tuple(_with_others(model, library) for model in order.models)
    index = BundleIndex(models, blobs, tuple(app.name for app in order.apps), since, order.piece)
    content = Layer(str(order.at), tuple(_entries(order, index, library)))
    if order.piece:
        count = -(-content.size // order.piece)
        names = [order.at.with_name(order.at.name + piece_suffix(number)) for number in range(1, count + 1)]
        sizes = [order.piece] * (count - 1) + [content.size - (count - 1) * order.piece]
    else:
        names, sizes = [order.at], [content.size]
    files = tuple(zip(names, sizes, strict=True))
    return ExportPlan(order, index, content, files, disk_need(order.at.parent, content.size))


def export(plan: ExportPlan, library: Library, on_event: Listener) -> None:
    """Write the bundle; a file gets its name when it is complete, the first piece last.

    Raise as `ExportPlan.require` does, before anything is written; LibraryError if a blob is missing or has changed
    its size, or the disk fails. After an error, no file of the bundle is left.
    """
    with library.wanted(*plan.order.models):
        for model in plan.order.models:
            library.require_files(model, hint="pull it again")
        plan.require()
        on_event(Reading("export", len(plan.index.blobs), plan.size))
        named: list[Path] = []
        try:
            at = plan.size
            # The first piece has the index: without it, a part of a bundle is not read as one.
            for path, size in reversed(plan.files):
                at -= size
                _write(plan.content, path, at, size, lambda count: on_event(Read(count)))
                named.append(path)
            sync_folder(plan.order.at.parent)
        except BaseException:
            for path in named:
                path.unlink(missing_ok=True)
            raise


def _with_others(wanted: Snapshot, library: Library) -> BundleModel:
    """Return a version with the other files of its record: a mirror of the importing library must not hide them."""
    known = library.find(wanted.ref.at(wanted.commit))
    if known is None:
        return BundleModel(wanted)
    others = tuple(file for file in known.files if wanted.file(file.path) is None)
    return BundleModel(replace(wanted, unlisted=known.unlisted), others)


def _entries(order: ExportOrder, index: BundleIndex, library: Library) -> Iterator[LayerEntry]:
    yield file_entry(INDEX, index.text())
    for app in order.apps:
        yield file_entry(f"{FOLDER}/apps/{app.name}/preheat.toml", app.recipe)
        yield file_entry(f"{FOLDER}/apps/{app.name}/preheat.lock", app.lock)
    if order.portable:
        for name, path in portable_files():
            yield file_entry(f"{FOLDER}/{name}", path.read_bytes() if isinstance(path, Path) else path)
    for digest, size in index.blobs.items():
        yield blob_entry(blob_name(digest), size, digest, library.held_location(digest))


def _write(content: Layer, path: Path, start: int, size: int, on_bytes: OnBytes) -> None:
    """Write `size` bytes of the content from `start` on to a file, whose name must be free."""
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tidy(path)
        aside, out = create(path, 0o644)
        try:
            write_content(_Section(content, start, size), out, 0, on_bytes)
            os.fsync(out)
            os.link(aside, path)  # unlike a rename, it replaces no file
        except FileExistsError as error:
            raise Occupied(f"{path} exists already", hint="choose another --output", paths=(str(path),)) from error
        except ImageError as error:
            raise LibraryError(error.message, hint="to find the damaged blobs: preheat verify") from error
        finally:
            os.close(out)
            with suppress(OSError):
                aside.unlink()


@dataclass(frozen=True)
class _Section:
    """Consecutive bytes of a content. See Content."""

    whole: Layer
    start: int
    size: int
    digest: None = None
    trusted: bool = False
    local: bool = True

    @property
    def name(self) -> str:
        """See Content."""
        return self.whole.name

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """See Content."""
        left = self.size - start
        for piece in self.whole.pieces(self.start + start):
            length = piece.stop - piece.start if isinstance(piece, FileSpan) else len(piece)
            if length >= left:
                yield replace(piece, stop=piece.start + left) if isinstance(piece, FileSpan) else piece[:left]
                return
            yield piece
            left -= length
