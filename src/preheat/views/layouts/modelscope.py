"""ModelScope cache: the layout of modelscope 1.38 and later (modelscope_hub/_download.py, 0.5).

    models/OWNER--NAME/snapshots/REVISION/PATH          REVISION as the app passes it, by default `master`

Online, the client hashes each file and compares it with the hub's SHA-256; with `local_files_only`, it uses the files
unchecked. If the old layout exists too, the client prefers that one.
"""

from collections.abc import Sequence
from pathlib import Path

from preheat.core.cache_variables import MODELSCOPE_CACHE
from preheat.core.errors import LibraryError
from preheat.core.ref import HUGGING_FACE, MODELSCOPE, Ref
from preheat.core.snapshot import Snapshot
from preheat.views.links import AUTO
from preheat.views.revisions import MODELSCOPE_BRANCH, branch_for
from preheat.views.view_protocol import Piece, PlacedFile


class ModelScopeCache:
    """See View. `at` is for MODELSCOPE_CACHE."""

    kind = "modelscope"
    renames = False
    edited = False

    def __init__(self, ways: Sequence[str] = AUTO) -> None:
        self.ways = ways

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:  # noqa: ARG002 - it has no list of missing files
        """See View. Raise LibraryError if the ref has no owner and name."""
        owner, name = owner_and_name(snapshot.ref)
        snapshots = at / f"{snapshot.ref.kind}s" / f"{owner}--{name}" / "snapshots"
        branch = branch_for(snapshot.ref, MODELSCOPE_BRANCH)
        pinned = snapshot.ref.pinned
        # An app that asks for a commit opens the folder of that name. If a branch is placed too, its files take
        # precedence in the branch's folder.
        return tuple(
            PlacedFile(snapshots / revision / file.path, file, yields=pinned and revision == branch)
            for revision in dict.fromkeys((branch, snapshot.ref.revision) if pinned else (branch,))
            for file in snapshot.files
        )

    def environ(self, at: Path) -> dict[str, str]:
        """See View."""
        return {MODELSCOPE_CACHE: str(at)}


def owner_and_name(ref: Ref) -> tuple[str, str]:
    """Return owner and name of a repository; raise LibraryError if it has none that ModelScope's clients support."""
    owner, slash, name = ref.repo.partition("/")
    if ref.hub not in (HUGGING_FACE, MODELSCOPE) or not slash:
        raise LibraryError(
            f"{ref} has no name of the form owner/name, which ModelScope's caches need", hint="--view flat=DIR"
        )
    return owner, name
