"""View entries: a folder with a view in it, as entries of a layer."""

import os
import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path

from preheat.core.snapshot import File
from preheat.oci.layers.layer import LARGE, LayerEntry, blob_entry, file_entry, folder_entry, link_entry

# Where a layer of its own puts a file, whatever views it is in; what else of ours is beside it.
HOME = "opt/preheat"
BlobAt = Callable[[str], File | None]


def blob_path(file: File) -> str:
    """Say where in an image a large file lies."""
    return f"{HOME}/blobs/{file.digest.algorithm}/{file.digest.hex}"


def read_tree(folder: Path, at: str, blob_at: BlobAt) -> Iterator[LayerEntry]:
    """Tell the entries of what is in `folder`, for `at` in the image.

    A symlink to a blob of the library, which `blob_at` says by its target, becomes the blob itself, or, where that is
    large, a link to where it lies. Other links stay as they are: they lead to places in the same folder.
    """
    yield folder_entry(at)
    for one in sorted(os.scandir(folder), key=lambda one: one.name):
        path = posixpath.join(at, one.name)
        if one.is_symlink():
            yield from _link(Path(one.path), path, blob_at)
        elif one.is_dir():
            yield from read_tree(Path(one.path), path, blob_at)
        else:
            yield file_entry(path, Path(one.path).read_bytes())


def _link(at: Path, path: str, blob_at: BlobAt) -> Iterator[LayerEntry]:
    target = str(at.readlink())
    file = blob_at(target)
    if file is None:
        yield link_entry(path, target)
    elif file.size < LARGE:
        yield blob_entry(path, file.size, file.digest, Path(target))
    else:
        large = blob_path(file)
        yield link_entry(path, posixpath.relpath(large, posixpath.dirname(path)))
        yield blob_entry(large, file.size, file.digest, Path(target), file.path)


def parents(path: str) -> Iterator[str]:
    """Name the folders above a path, from the top."""
    parts = path.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])
