"""View tree: the views of an app's needs as entries of an image, laid out in memory."""

from collections.abc import Iterator
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import SOURCE, ImageError
from preheat.core.snapshot import File
from preheat.oci.layers.layer import LARGE, LayerEntry, blob_entry, file_entry, link_entry
from preheat.oci.layers.view_entries import blob_path, parents, relative
from preheat.views.view_protocol import Alias, BlobPath, Piece, PlacedFile, PriorNote, ViewNote

# A file of a snapshot, the bytes of a note, or the target of a symlink.
_Content = File | bytes | str


class ViewTree:
    """The views' paths, relative to the image's root, each with its content and the need that placed it last.

    Costs no file operation, so it is the same for 30 or 300,000 files.
    """

    def __init__(self, source: BlobPath) -> None:
        self._source = source
        self._found: dict[str, tuple[_Content, str]] = {}
        self._folders: set[str] = set()
        self._whole: set[str] = set()

    def lay(self, pieces: list[Piece], need: str, *, whole: bool = False) -> None:
        """Add the pieces of a need, whose paths are absolute. A path of an earlier need is replaced.

        The list is emptied, so that each piece is freed: the paths of 30,000 files take 30 MB, more than the tree.

        `whole`: the files themselves are at their paths, for an app that opens no symlinks; large ones are then in the
        image once for each path.
        Raise ImageError if a path would be both a file and a folder.
        """
        pieces.reverse()
        while pieces:
            piece = pieces.pop()
            path = _inside(piece.at)
            match piece:
                case PlacedFile():
                    self._put(path, piece.file, need)
                    if whole:
                        self._whole.add(path)
                    if piece.pointer is not None:
                        self._put(_inside(piece.pointer), relative(path, _inside(piece.pointer)), need)
                case Alias():
                    self._put(path, piece.target, need)
                case ViewNote():
                    earlier = self._found.get(path, (None,))[0]
                    before = PriorNote(earlier if isinstance(earlier, bytes) else None, modified_s=self._modified_s)
                    body = piece.settle(before)
                    if body is not None:
                        self._put(path, body, need)

    def entries(self) -> Iterator[tuple[LayerEntry, str]]:
        """Yield all entries except folders, each with the need that placed it; a large blob once."""
        blobs: set[Digest] = set()
        for path, (content, need) in self._found.items():
            if isinstance(content, str):
                yield link_entry(path, content), need
            elif isinstance(content, bytes):
                yield file_entry(path, content), need
            elif content.size < LARGE or path in self._whole:
                yield blob_entry(path, content.size, content.digest, self._source(content.digest)), need
            else:
                large = blob_path(content)
                yield link_entry(path, relative(large, path)), need
                if content.digest not in blobs:
                    blobs.add(content.digest)
                    source = self._source(content.digest)
                    yield blob_entry(large, content.size, content.digest, source, content.path), need

    def _put(self, path: str, content: _Content, need: str) -> None:
        if path not in self._found:
            folders = tuple(parents(path))
            if path in self._folders or not self._found.keys().isdisjoint(folders):
                raise ImageError(
                    f"/{path} would be both a file and a folder in the image",
                    hint="another `at` in the recipe",
                    end=SOURCE,
                )
            self._folders.update(folders)
        elif self._found[path][0] == content:
            return
        self._found[path] = (content, need)

    def _modified_s(self, path: Path) -> float | None:
        return 0.0 if _inside(path) in self._found else None


def _inside(path: Path) -> str:
    return str(path).lstrip("/")
