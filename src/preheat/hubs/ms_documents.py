"""ModelScope API documents: the JSON types that preheat's ModelScope client and its mirror both use.

Their fields are those of modelscope/hub/api.py and modelscope_hub/_legacy_api.py.
"""

import msgspec

# The hub truncates a listing of a model's files to this many entries without notice: modelscope_hub/constants.py.
MOST_ENTRIES = 3000
# Entries per page of a dataset's listing.
PAGE = 200

OK = 200
BLOB, TREE = "blob", "tree"


class MsEntry(msgspec.Struct, rename="pascal"):
    """An entry of a listing: a file, or a folder (`type` is `tree`). `revision` is the commit that last changed it."""

    path: str
    type: str = BLOB
    size: int | None = None
    sha256: str | None = None
    revision: str | None = None
    name: str | None = None


class Entries(msgspec.Struct, rename="pascal"):
    """The entries of a listing."""

    files: list[MsEntry] | None = None


class EntriesDocument(msgspec.Struct, rename="pascal"):
    """A response with a listing. Without `data`, it is an error; null is an empty listing."""

    code: int = OK
    message: str | None = None
    data: Entries | list[MsEntry] | msgspec.UnsetType | None = msgspec.UNSET


class Revision(msgspec.Struct, rename="pascal"):
    """A branch or a tag; `created_at` is in seconds since 1970."""

    revision: str
    created_at: int | None = None


class RevisionMap(msgspec.Struct, rename="pascal"):
    """The branches and the tags."""

    branches: list[Revision] | None = None
    tags: list[Revision] | None = None


class Revisions(msgspec.Struct, rename="pascal"):
    """The data of a RevisionsDocument."""

    revision_map: RevisionMap | None = None


class RevisionsDocument(msgspec.Struct, rename="pascal"):
    """A response with the branches and tags."""

    code: int = OK
    message: str | None = None
    data: Revisions | None = None


class Refusal(msgspec.Struct, rename="pascal"):
    """An error response; `code` is the status or one of ModelScope's error numbers."""

    code: int = 0
    message: str | None = None
    request_id: str = ""
    success: bool = False
