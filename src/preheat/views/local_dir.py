"""Local dir: what `snapshot_download(…, local_dir=DIR)` of huggingface_hub leaves behind.

As written by huggingface_hub 0.23 to 2.4 (_local_folder.py):

    PATH
    .cache/huggingface/.gitignore                       *
    .cache/huggingface/CACHEDIR.TAG                     from 1.9 on
    .cache/huggingface/download/PATH.metadata           three lines: commit, ETag, seconds since 1970
    .cache/huggingface/trees/COMMIT.json                of whole snapshots: see hf_tree.py
    .huggingface/…                                      .gitignore and metadata, where 0.23 and 0.24 look for them

With the metadata, a client takes the files for its own and asks for nothing again. It stops to believe them when a
file is newer by a second than its third line.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from preheat.snapshot import File, Snapshot
from preheat.views.hf_tree import tree_listing
from preheat.views.links import AUTO
from preheat.views.placer import Placer
from preheat.views.view import BlobPath, Placement

_CACHEDIR_TAG = b"""\
Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by huggingface_hub.
# For information about cache directory tags, see:
#\thttps://bford.info/cachedir/
"""


class LocalDir:
    """See View. `at` is the folder that the app names."""

    kind = "local-dir"
    renames = False

    def __init__(self, ways: Sequence[str] = AUTO, now: Callable[[], float] = time.time) -> None:
        self._ways = ways
        self._now = now

    def place(self, snapshot: Snapshot, blob_path: BlobPath, at: Path, *, whole: bool) -> Placement:
        """See View."""
        placer = Placer(blob_path, self._ways)
        home, former_home = at / ".cache" / "huggingface", at / ".huggingface"
        placer.write(home / "CACHEDIR.TAG", _CACHEDIR_TAG)
        for file in snapshot.files:
            placer.put(file, at / file.path)
        for one in (home, former_home):
            placer.write(one / ".gitignore", b"*")
            for file in snapshot.files:
                metadata = one / "download" / f"{file.path}.metadata"
                _describe(file, snapshot.commit, at / file.path, metadata, placer, self._now)
        tree = home / "trees" / f"{snapshot.commit}.json"
        if whole and not tree.exists():
            placer.write(tree, tree_listing(snapshot))
        return placer.placement()

    def environ(self, at: Path) -> dict[str, str]:  # noqa: ARG002 - nothing leads a client to a folder that it names
        """See View."""
        return {}


def _describe(file: File, commit: str, placed: Path, metadata: Path, placer: Placer, now: Callable[[], float]) -> None:
    written = f"{commit}\n{file.digest.hex}\n"
    try:
        said = metadata.read_text(encoding="utf-8")
        if said.startswith(written) and placed.stat().st_mtime - 1 <= float(said[len(written) :]):
            return
    except (OSError, ValueError):
        pass
    placer.write(metadata, f"{written}{now()}\n".encode())
