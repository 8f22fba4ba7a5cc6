"""Hugging Face cache: the layout that huggingface_hub, transformers and their kin look into.

As written by huggingface_hub 0.20 to 2.4 (file_download.py, `_create_symlink`, `_get_pointer_path`; constants.py):

    models--OWNER--NAME/refs/BRANCH                the commit's 40 digits, and no newline: one makes every client miss
    models--OWNER--NAME/blobs/ETAG                 sha256 for LFS files, git's blob SHA-1 for the others
    models--OWNER--NAME/snapshots/COMMIT/PATH      a relative symlink to ../../blobs/ETAG
    models--OWNER--NAME/trees/COMMIT.json          of whole snapshots: see hf_tree.py

Where there are no symlinks, the files themselves lie in the snapshot, as the client does it.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from preheat.snapshot import Snapshot
from preheat.views.hf_tree import tree_listing
from preheat.views.links import AUTO
from preheat.views.placer import Placer
from preheat.views.revisions import HUGGING_FACE_BRANCH, branch_for
from preheat.views.view import BlobPath, Placement


class HuggingFaceCache:
    """See View. `at` becomes a HF_HUB_CACHE."""

    kind = "hf-cache"
    renames = False

    def __init__(self, ways: Sequence[str] = AUTO) -> None:
        self._ways = ways

    def place(self, snapshot: Snapshot, blob_path: BlobPath, at: Path, *, whole: bool) -> Placement:
        """See View."""
        placer = Placer(blob_path, self._ways)
        repo = at / snapshot.ref.slug
        pointers = repo / "snapshots" / snapshot.commit
        symlinks = True
        for file in snapshot.files:
            pointer, blob = pointers / file.path, repo / "blobs" / file.digest.hex
            symlinks = symlinks and placer.point(pointer, os.path.relpath(blob, pointer.parent))
            placer.put(file, blob if symlinks else pointer)
        tree = repo / "trees" / f"{snapshot.commit}.json"
        if whole and not tree.exists():
            placer.write(tree, tree_listing(snapshot))
        # Last: who finds the branch finds all of it.
        branch = branch_for(snapshot.ref, HUGGING_FACE_BRANCH)
        placer.write(repo / "refs" / branch, snapshot.commit.encode())
        return placer.placement()

    def environ(self, at: Path) -> dict[str, str]:
        """See View."""
        return {"HF_HUB_CACHE": str(at), "HUGGINGFACE_HUB_CACHE": str(at)}
