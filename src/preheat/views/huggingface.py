"""Hugging Face cache: the layout that huggingface_hub, transformers and their kin look into.

As written by huggingface_hub 0.20 to 2.4 (file_download.py, `_create_symlink`, `_get_pointer_path`; constants.py):

    models--OWNER--NAME/refs/BRANCH                the commit's 40 digits, and no newline: one makes every client miss
    models--OWNER--NAME/blobs/ETAG                 sha256 for LFS files, git's blob SHA-1 for the others
    models--OWNER--NAME/snapshots/COMMIT/PATH      a relative symlink to ../../blobs/ETAG

`trees/COMMIT.json` is left out: with it, clients from 1.22 on refuse a subset as incomplete.
"""

import os
from collections.abc import Callable
from pathlib import Path

from preheat.digest import Digest
from preheat.snapshot import Snapshot
from preheat.views.links import AUTO, link


class HuggingFaceCache:
    """See View. `at` becomes a HF_HUB_CACHE."""

    kind = "hf-cache"

    def __init__(self, mode: str = AUTO) -> None:
        self._mode = mode

    def place(self, snapshot: Snapshot, blob_path: Callable[[Digest], Path], at: Path) -> None:
        """See View."""
        repo = at / snapshot.ref.slug
        blobs, pointers = repo / "blobs", repo / "snapshots" / snapshot.commit
        blobs.mkdir(parents=True, exist_ok=True)
        for file in snapshot.files:
            link(blob_path(file.digest), blobs / file.digest.hex, self._mode)
            pointer = pointers / file.path
            pointer.parent.mkdir(parents=True, exist_ok=True)
            _point(pointer, os.path.relpath(blobs / file.digest.hex, pointer.parent))
        if not snapshot.ref.pinned:
            ref = repo / "refs" / snapshot.ref.revision
            ref.parent.mkdir(parents=True, exist_ok=True)
            aside = ref.with_name(f".{ref.name}.{os.getpid()}.new")
            aside.write_text(snapshot.commit, encoding="ascii")
            aside.replace(ref)

    def environ(self, at: Path) -> dict[str, str]:
        """See View."""
        return {"HF_HUB_CACHE": str(at), "HUGGINGFACE_HUB_CACHE": str(at)}


def _point(pointer: Path, target: str) -> None:
    """Make `pointer` a symlink to `target`, in one step, unless it is one already."""
    if pointer.is_symlink() and str(pointer.readlink()) == target:
        return
    aside = pointer.with_name(f".{pointer.name[:200]}.{os.getpid()}.new")
    aside.symlink_to(target)
    aside.replace(pointer)
