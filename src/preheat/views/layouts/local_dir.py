"""Local dir: the layout that `snapshot_download(…, local_dir=DIR)` of huggingface_hub writes.

As written by huggingface_hub 0.23 to 2.4 (_local_folder.py):

    PATH
    .cache/huggingface/.gitignore                       *
    .cache/huggingface/CACHEDIR.TAG                     since 1.9
    .cache/huggingface/download/PATH.metadata           three lines: commit, ETag, seconds since 1970
    .cache/huggingface/trees/COMMIT.json                for complete snapshots: see hf_tree.py
    .huggingface/…                                      .gitignore and metadata for 0.23 and 0.24

With the metadata, a client treats the files as its own download and does not download them again. It ignores the
metadata of a file whose mtime is more than one second later than the third line. A file whose name would be too long
with `.metadata` has none, and a client checks it by its hash.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from preheat.core.snapshot import NAME_MAX, File, Snapshot
from preheat.views.layouts.hf_tree import tree_note
from preheat.views.links import AUTO
from preheat.views.view_protocol import Piece, PlacedFile, PriorNote, ViewNote

_CACHEDIR_TAG = b"""\
Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by huggingface_hub.
# For information about cache directory tags, see:
#\thttps://bford.info/cachedir/
"""


class LocalDir:
    """See View. `at` is the folder that the app is configured with."""

    kind = "local-dir"
    renames = False
    edited = True

    def __init__(self, ways: Sequence[str] = AUTO, now: Callable[[], float] = time.time) -> None:
        self.ways = ways
        self._now = now

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:
        """See View."""
        home, former_home = at / ".cache" / "huggingface", at / ".huggingface"
        pieces: list[Piece] = [_constant(home / "CACHEDIR.TAG", _CACHEDIR_TAG)]
        pieces += [PlacedFile(at / file.path, file) for file in snapshot.files]
        for one in (home, former_home):
            pieces.append(_constant(one / ".gitignore", b"*"))
            pieces += [
                ViewNote(
                    one / "download" / f"{file.path}.metadata",
                    partial(_described, file, snapshot.commit, at / file.path, self._now),
                    of=at / file.path,
                )
                for file in snapshot.files
                if _fits(file)
            ]
        return (*pieces, *((tree_note(snapshot, home / "trees"),) if whole else ()))

    def environ(self, at: Path) -> dict[str, str]:  # noqa: ARG002 - the client itself names the folder
        """See View."""
        return {}


def _fits(file: File) -> bool:
    """Return whether the name of the file's metadata is short enough; the name of its lock file is shorter still."""
    return len(f"{file.path.rpartition('/')[2]}.metadata".encode()) <= NAME_MAX


def _constant(at: Path, body: bytes) -> ViewNote:
    return ViewNote(at, lambda before: body if before.body is None else before.body)


def _described(file: File, commit: str, placed: Path, now: Callable[[], float], before: PriorNote) -> bytes:
    """Return a file's metadata; the existing content, if it is for this file and the client still trusts it.

    Metadata that the client wrote for another commit is kept: the file is the same, as the client sees by its ETag.
    """
    text, etag, seconds, *_ = [*(before.body or b"").decode("utf-8", "replace").split("\n"), "", "", ""]
    modified_s = before.modified_s(placed)
    try:
        believed = modified_s is not None and modified_s - 1 <= float(seconds)
    except ValueError:
        believed = False
    if before.body is not None and believed and etag == file.digest.hex and (text == commit or not before.ours):
        return before.body
    return f"{commit}\n{file.digest.hex}\n{now()}\n".encode()
