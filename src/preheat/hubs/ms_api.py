"""ModelScope API, client side: documents, paths and errors, without I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from preheat.core.digest import SHA256, Digest
from preheat.core.errors import AccessDenied, HubError, NotFound, PreheatError, UsageError
from preheat.core.ref import DATASET, Ref
from preheat.core.secret_text import one_line
from preheat.core.snapshot import File
from preheat.hubs.http_errors import read_temporary
from preheat.hubs.ms_documents import BLOB, OK, PAGE, TREE, EntriesDocument, MsEntry, Refusal, RevisionsDocument

_OTHER_HUB = "try another --endpoint, or report it to the operator of this one"

_Document = TypeVar("_Document", EntriesDocument, RevisionsDocument)


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A listed file, and the commit that last changed it (empty if unknown)."""

    file: File
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """The files and folders of one response; `entries` counts all entries, including other types."""

    files: tuple[ListedFile, ...]
    folders: tuple[str, ...]
    entries: int


def read_page(body: bytes, what: str) -> Page:
    """Parse a response for `files_path` or `tree_path`; raise HubError if it is invalid."""
    document = _decode(body, EntriesDocument, what)
    data = document.data
    if isinstance(data, msgspec.UnsetType):
        raise HubError(f"the hub's response for {what} is invalid: it has no list of files", hint=_OTHER_HUB)
    entries = data if isinstance(data, list) else ((data and data.files) or [])
    return Page(
        tuple(_listed(entry) for entry in entries if entry.type == BLOB),
        tuple(entry.path for entry in entries if entry.type == TREE),
        len(entries),
    )


def read_revisions(body: bytes, what: str) -> tuple[str, ...]:
    """Parse a response for `revisions_path`; return the branches, then the tags."""
    document = _decode(body, RevisionsDocument, what)
    both = document.data and document.data.revision_map
    if not both:
        return ()
    return tuple(one.revision for one in (*(both.branches or ()), *(both.tags or ())))


def read_error(status: int, headers: Mapping[str, str], body: bytes, what: str) -> PreheatError:
    """Return the error for a status other than success; `what` is the ref or file, for the message."""
    try:
        message = one_line(msgspec.json.decode(body, type=Refusal).message or "")
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        message = ""
    because = f" ({message})" if message else ""
    token = "check the name; if it is private, set MODELSCOPE_API_TOKEN to a token with read access"  # noqa: S105 - a hint, no token
    if status == 404:
        missing = f"{what}: the hub has no such repository, revision or file{because}"
        return NotFound(missing, hint=token, repository=what)
    if status in (401, 403):
        denied = f"{what}: the hub denies access, or has no such repository{because}"
        return AccessDenied(denied, hint=token, repository=what)
    temporary = read_temporary(status, headers, what, "MODELSCOPE_API_TOKEN")
    return temporary or HubError(f"{what}: the hub answered {status}{because}", hint=_OTHER_HUB)


def revisions_path(ref: Ref) -> str:
    """Return the API path of the list of branches and tags."""
    return f"{_api(ref)}/revisions"


def files_path(ref: Ref, revision: str, root: str = "", *, recursive: bool = True) -> str:
    """Return the API path of the list of a model's files, or of those below the folder `root`."""
    fields = {"Revision": revision, "Recursive": str(recursive)} | ({"Root": root} if root else {})
    return f"{_api(ref)}/repo/files?{urlencode(fields)}"


def tree_path(ref: Ref, revision: str, page: int) -> str:
    """Return the API path of a page of a dataset's files; page 1 is the first, a page that is not full the last."""
    fields = {"Revision": revision, "Recursive": "True", "PageNumber": page, "PageSize": PAGE}
    return f"{_api(ref)}/repo/tree?{urlencode(fields)}"


def file_path(ref: Ref, revision: str, path: str) -> str:
    """Return the download path of a file."""
    return f"{_api(ref)}/repo?{urlencode({'Revision': revision, 'FilePath': path})}"


def _api(ref: Ref) -> str:
    return f"/api/v1/{'datasets' if ref.kind == DATASET else 'models'}/{ref.repo}"


def _decode(body: bytes, form: type[_Document], what: str) -> _Document:
    try:
        document = msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise HubError(f"the hub's response for {what} is invalid: {error}", hint=_OTHER_HUB) from error
    if document.code != OK:
        # An error sent with status 200: `code` is the real status, or a number of ModelScope's.
        status = document.code if 400 <= document.code < 600 else OK
        raise read_error(status, {}, body, what)
    return document


def _listed(entry: MsEntry) -> ListedFile:
    if entry.size is None or not entry.sha256:
        raise HubError(f"the hub lists {entry.path!r} without its size or sha256", hint=_OTHER_HUB)
    try:
        digest = Digest(SHA256, entry.sha256.lower())
    except UsageError as error:
        raise HubError(
            f"the hub returned an invalid digest for {entry.path!r}: {error.message}", hint=_OTHER_HUB
        ) from error
    revision = entry.revision or ""
    return ListedFile(
        File(entry.path, entry.size, digest), revision if re.fullmatch(r"[0-9a-f]{7,64}", revision) else ""
    )
