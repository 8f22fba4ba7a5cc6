"""Revisions: the branch under which an app looks for a ref."""

from preheat.core.ref import Ref

HUGGING_FACE_BRANCH, MODELSCOPE_BRANCH = "main", "master"


def branch_for(ref: Ref, default: str) -> str:
    """Return the branch to place `ref` under, for clients whose default branch is `default`.

    For a pinned ref, or one of another hub, it is the default branch, since that is what an app without a revision
    requests: the app gets the version that was placed last.
    """
    return default if ref.pinned or ref.revision == ref.branch else ref.revision
