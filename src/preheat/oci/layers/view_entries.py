"""View entries: where the files of views are in an image."""

import functools
import posixpath
from collections.abc import Iterator

from preheat.core.snapshot import File

# Contains the large files of all views, which are stored once, and preheat's own files.
HOME = "opt/preheat"
BLOBS = f"{HOME}/blobs"


def blob_path(file: File) -> str:
    """Return the path of a large file in the image; a view has a symlink to it."""
    return f"{BLOBS}/{file.digest.algorithm}/{file.digest.hex}"


def relative(path: str, link: str) -> str:
    """Return the target of a symlink at `link` to `path`; both are relative to the image's root."""
    folder, _, name = path.rpartition("/")
    between = _between(folder, link.rpartition("/")[0])
    return name if between == "." else f"{between}/{name}"


@functools.lru_cache(maxsize=1024)
def _between(folder: str, start: str) -> str:
    """Return the path from the folder `start` to `folder`. A view has far fewer folders than links."""
    return posixpath.relpath(f"/{folder}", f"/{start}")


def parents(path: str) -> Iterator[str]:
    """Yield the folders above a path, from the top."""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
