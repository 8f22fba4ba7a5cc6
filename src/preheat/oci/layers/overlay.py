"""Overlay: the paths that remain when layers replace and remove paths of lower layers."""

import posixpath
from collections.abc import Iterator

from preheat.oci.layers.tar_reader import Damaged

FOLDER, FILE = "folder", "file"
MOST_PATHS = 2_000_000
MOST_LETTERS = 256 << 20  # the total length of all names


class _Place:
    """A node for one path: its kind ("" for none), the layer that last changed it, and its children.

    `cleared` is the last layer that removed all older children, so this is not repeated.
    """

    __slots__ = ("below", "cleared", "kind", "layer")

    def __init__(self, layer: int) -> None:
        self.kind = ""
        self.layer = self.cleared = layer
        self.below: dict[str, _Place] = {}


class Overlay:
    """A tree of paths, relative to an image's root. Methods cost time linear in the path, and per layer in its entries.

    Raise Damaged if the image has more paths than the limit.
    """

    def __init__(self) -> None:
        self._root = _Place(0)
        self._layer = 0
        self._count = 0
        self._letters = 0

    def begin(self) -> None:
        """Start the next layer."""
        self._layer += 1

    def kind(self, path: str) -> str:
        """Return the kind of `path`, or "" if it is missing."""
        place = self._find(path)
        return "" if place is None else place.kind

    def names(self, folder: str) -> tuple[str, ...]:
        """Return the names in `folder`, sorted; none if it is missing."""
        place = self._find(folder)
        return () if place is None else tuple(sorted(name for name, one in place.below.items() if one.kind))

    def put(self, path: str, kind: str) -> None:
        """Add `path`, and any missing folders above it."""
        place = self._root
        place.layer = self._layer
        for name in path.split("/"):
            if place is not self._root and not place.kind:
                place.kind = FOLDER
            place.layer = self._layer
            place = place.below.get(name) or self._new(place, name)
        if kind != FOLDER and place.kind == FOLDER:
            self._clear(place)
        place.kind, place.layer = kind, self._layer

    def take_away(self, path: str) -> None:
        """Remove `path` and everything below it that comes from lower layers."""
        folder, _, name = path.rpartition("/")
        parent = self._find(folder)
        place = None if parent is None else parent.below.get(name)
        if parent is None or place is None:
            return
        if place.layer < self._layer:
            del parent.below[name]
        else:
            self._clear(place)

    def take_away_below(self, folder: str) -> None:
        """Remove everything below `folder` that comes from lower layers."""
        place = self._find(folder)
        if place is not None:
            self._clear(place)

    def _clear(self, place: _Place) -> None:
        waiting = [place]
        while waiting:
            one = waiting.pop()
            if one.cleared == self._layer:
                continue
            one.cleared = self._layer
            one.below = {name: below for name, below in one.below.items() if below.layer == self._layer}
            waiting += one.below.values()

    def _find(self, path: str) -> _Place | None:
        place = self._root
        for name in _names(path):
            found = place.below.get(name)
            if found is None:
                return None
            place = found
        return place

    def _new(self, parent: _Place, name: str) -> _Place:
        self._count += 1
        self._letters += len(name)
        if self._count > MOST_PATHS or self._letters > MOST_LETTERS:
            raise Damaged(f"the base has more than {MOST_PATHS} paths, or their names are too long")
        place = parent.below[name] = _Place(self._layer)
        return place


def _names(path: str) -> Iterator[str]:
    return iter(path.split("/") if path else ())


def normal(name: str) -> str:
    """Normalize a name from a tar to a path relative to the root, without `.` or `..`; "" for the root."""
    return posixpath.normpath(f"/{name}").strip("/")
