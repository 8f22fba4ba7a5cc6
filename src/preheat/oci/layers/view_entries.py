"""View entries: convert a folder with a view to entries of a layer."""

import os
import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path

from preheat.core.snapshot import File
from preheat.oci.layers.layer import LARGE, LayerEntry, blob_entry, file_entry, folder_entry, link_entry

# Contains the large files of all views, which are stored once, and preheat's own files.
HOME = "opt/preheat"
BlobAt = Callable[[str], File | None]


def blob_path(file: File) -> str:
    """Return the path of a large file in the image."""
    return f"{HOME}/blobs/{file.digest.algorithm}/{file.digest.hex}"


def read_tree(folder: Path, at: str, blob_at: BlobAt) -> Iterator[LayerEntry]:
    """Yield the entries of `folder`, which becomes the folder `at` in the image.

    `blob_at` maps the target of a symlink to a file of the library, or None. A link to a small blob becomes the file
    itself; a link to a large blob becomes a link to `blob_path`, followed by the blob. Other links, which point within
    the folder, are kept.
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
    """Yield the folders above a path, from the top."""
    parts = path.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])
