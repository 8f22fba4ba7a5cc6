"""Hugging Face API documents, shared by client and mirror: huggingface_hub/hf_api.py, RepoSibling, RepoFile."""

import msgspec

# Values of the header X-Error-Code.
REPO_NOT_FOUND = "RepoNotFound"
REVISION_NOT_FOUND = "RevisionNotFound"
ENTRY_NOT_FOUND = "EntryNotFound"
GATED_REPO = "GatedRepo"


class SiblingLfs(msgspec.Struct, rename="camel", omit_defaults=True):
    """A file's LFS entry in a description."""

    sha256: str | None = None
    size: int | None = None
    pointer_size: int | None = None


class Sibling(msgspec.Struct, rename="camel", omit_defaults=True):
    """A file in a description; sizes and digests only with `blobs=true`."""

    rfilename: str
    size: int | None = None
    blob_id: str | None = None
    lfs: SiblingLfs | None = None


class InfoDocument(msgspec.Struct):
    """A description of one revision."""

    sha: str
    private: bool | None = None
    gated: bool | str | None = None
    siblings: list[Sibling] | None = None


class EntryLfs(msgspec.Struct, rename="camel", omit_defaults=True):
    """A file's LFS entry in a tree listing."""

    oid: str
    size: int
    pointer_size: int | None = None


class HfEntry(msgspec.Struct, omit_defaults=True):
    """An entry of a tree listing: a file, or a folder (`type` is `directory`)."""

    type: str
    path: str
    oid: str
    size: int | None = None
    lfs: EntryLfs | None = None
