"""Hugging Face cache: the layout that huggingface_hub, transformers and related libraries read.

As written by huggingface_hub 0.20 to 2.4 (file_download.py, `_create_symlink`, `_get_pointer_path`; constants.py):

    models--OWNER--NAME/refs/BRANCH                the commit's 40 digits; with a newline, clients miss the commit
    models--OWNER--NAME/blobs/ETAG                 SHA-256 of LFS files, git blob SHA-1 of other files
    models--OWNER--NAME/snapshots/COMMIT/PATH      a relative symlink to ../../blobs/ETAG
    models--OWNER--NAME/trees/COMMIT.json          for complete snapshots: see hf_tree.py

On a filesystem without symlinks, the snapshot folder contains the files themselves, as the client writes them there.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from preheat.core.cache_variables import HF_HUB_CACHES
from preheat.core.snapshot import Snapshot
from preheat.views.layouts.hf_tree import tree_note
from preheat.views.links import AUTO
from preheat.views.revisions import HUGGING_FACE_BRANCH, branch_for
from preheat.views.view_protocol import Piece, PlacedFile, PriorNote, ViewNote


class HuggingFaceCache:
    """See View. `at` is for HF_HUB_CACHE."""

    kind = "hf-cache"
    renames = False
    edited = False

    def __init__(self, ways: Sequence[str] = AUTO) -> None:
        self.ways = ways

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:
        """See View."""
        repo = at / snapshot.ref.slug
        blobs, pointers = repo / "blobs", repo / "snapshots" / snapshot.commit
        files = (PlacedFile(blobs / file.digest.hex, file, pointers / file.path) for file in snapshot.files)
        tree = (tree_note(snapshot, repo / "trees"),) if whole else ()
        branch = branch_for(snapshot.ref, HUGGING_FACE_BRANCH)
        # Last: a client that finds the branch must find all files.
        return (
            *files,
            *tree,
            ViewNote(repo / "refs" / branch, partial(_commit, snapshot.commit.encode()), single=True),
        )

    def environ(self, at: Path) -> dict[str, str]:
        """See View."""
        return dict.fromkeys(HF_HUB_CACHES, str(at))


def _commit(commit: bytes, before: PriorNote) -> bytes | None:
    if before.body is not None and before.body.strip() == commit and not before.ours:
        return before.body
    return commit if before.body is None or before.ours else None
