"""Revisions: the branch under which an app looks for a ref."""

from preheat.core.ref import Ref

HUGGING_FACE_BRANCH, MODELSCOPE_BRANCH = "main", "master"


def branch_for(ref: Ref, default: str) -> str:
    """Say under which branch to place `ref` for clients whose default branch is `default`.

    An app that names no revision asks for that one, be the ref pinned or another hub's; what was placed last is what
    it gets.
    """
    return default if ref.pinned or ref.revision == ref.branch else ref.revision
