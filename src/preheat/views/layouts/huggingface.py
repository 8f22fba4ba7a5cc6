"""Hugging Face cache: the layout that huggingface_hub, transformers and related libraries read.

As written by huggingface_hub 0.20 to 2.4 (file_download.py, `_create_symlink`, `_get_pointer_path`; constants.py):

    models--OWNER--NAME/refs/BRANCH                the commit's 40 digits, and no newline: one makes every client miss
    models--OWNER--NAME/blobs/ETAG                 sha256 for LFS files, git's blob SHA-1 for the others
    models--OWNER--NAME/snapshots/COMMIT/PATH      a relative symlink to ../../blobs/ETAG
    models--OWNER--NAME/trees/COMMIT.json          of whole snapshots: see hf_tree.py

Where there are no symlinks, the files themselves lie in the snapshot, as the client does it.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from preheat.core.snapshot import Snapshot
from preheat.views.layouts.hf_tree import tree_note
from preheat.views.links import AUTO
from preheat.views.revisions import HUGGING_FACE_BRANCH, branch_for
from preheat.views.view_protocol import Before, Bytes, Piece, ViewNote


class HuggingFaceCache:
    """See View. `at` becomes a HF_HUB_CACHE."""

    kind = "hf-cache"
    renames = False
    edited = False

    def __init__(self, ways: Sequence[str] = AUTO) -> None:
        self.ways = ways

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:
        """See View."""
        repo = at / snapshot.ref.slug
        blobs, pointers = repo / "blobs", repo / "snapshots" / snapshot.commit
        files = (Bytes(blobs / file.digest.hex, file, pointers / file.path) for file in snapshot.files)
        tree = (tree_note(snapshot, repo / "trees"),) if whole else ()
        branch = branch_for(snapshot.ref, HUGGING_FACE_BRANCH)
        # Last: who finds the branch finds all of it.
        return (
            *files,
            *tree,
            ViewNote(repo / "refs" / branch, partial(_commit, snapshot.commit.encode()), single=True),
        )

    def environ(self, at: Path) -> dict[str, str]:
        """See View."""
        return {"HF_HUB_CACHE": str(at), "HUGGINGFACE_HUB_CACHE": str(at)}


def _commit(commit: bytes, before: Before) -> bytes | None:
    if before.body is not None and before.body.strip() == commit and not before.ours:
        return before.body
    return commit if before.body is None or before.ours else None
