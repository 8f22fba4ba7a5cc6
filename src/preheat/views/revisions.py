"""Revisions: the branch under which an app looks for a ref."""

from preheat.core.ref import Ref

HUGGING_FACE_BRANCH, MODELSCOPE_BRANCH = "main", "master"


def branch_for(ref: Ref, default: str) -> str:
    """Return the branch to place `ref` under, for clients whose default branch is `default`.

    An app that names no revision asks for the default branch, whether the ref is pinned or of another hub; it gets
    the version that was placed last.
    """
    return default if ref.pinned or ref.revision == ref.branch else ref.revision
