"""Hugging Face API, client side: documents, paths and errors, without I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

import msgspec

from preheat.core.digest import GIT_SHA1, SHA256, Digest
from preheat.core.errors import AccessDenied, HubError, IntegrityError, NotFound, PreheatError, UsageError
from preheat.core.ref import ARCHIVES, MADE, MODEL, Ref
from preheat.core.secret_text import one_line
from preheat.core.snapshot import File
from preheat.hubs.hf_documents import (
    ENTRY_NOT_FOUND,
    GATED_REPO,
    REPO_NOT_FOUND,
    REVISION_NOT_FOUND,
    HfEntry,
    InfoDocument,
    Sibling,
)
from preheat.hubs.http_errors import read_temporary

_LONGEST_LINK = 16_384
_DISABLED = "Access to this resource is disabled."
_OTHER_HUB = "try another --endpoint, or report it to the operator of this one"

_Document = TypeVar("_Document")


@dataclass(frozen=True, slots=True)
class Info:
    """A hub's description of one revision. `files` is None if it lacks sizes or digests: then list the tree.

    `named`: whether it contains the name of any file.
    """

    commit: str
    private: bool
    gated: bool
    files: tuple[File, ...] | None
    named: bool = False


def read_info(body: bytes, ref: Ref) -> Info:
    """Parse a response for `info_path`; raise HubError if it is invalid, IntegrityError for another commit."""
    document = _decode(body, InfoDocument, f"description of {ref}")
    if not re.fullmatch(r"[0-9a-f]{40}", document.sha):
        raise HubError(f"the hub returned an invalid commit for {ref}: {document.sha!r}", hint=_OTHER_HUB)
    if ref.pinned and document.sha != ref.revision:
        raise IntegrityError(f"requested {ref}, but the hub responded with commit {document.sha}", hint=_OTHER_HUB)
    files, named = _files(document.siblings), bool(document.siblings)
    return Info(document.sha, bool(document.private), bool(document.gated), files, named)


def read_tree(body: bytes) -> tuple[File, ...]:
    """Parse one page of a response for `tree_path`; raise HubError if it is invalid."""
    entries = _decode(body, list[HfEntry], "list of files")
    return tuple(_file_of_entry(entry) for entry in entries if entry.type == "file")


def next_page(link: str | None) -> str | None:
    """Return the URL of the next page from a `Link` header (RFC 8288), or None; in linear time."""
    text = (link or "")[:_LONGEST_LINK]
    start = text.find("<")
    while start >= 0 and (stop := text.find(">", start)) >= 0:
        following = text.find("<", stop)
        parameters = text[stop + 1 : following if following >= 0 else len(text)]
        for parameter in parameters.split(";"):
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "rel" and "next" in value.strip(' \t,"').lower().split():
                return text[start + 1 : stop]
        start = following
    return None


def read_error(status: int, headers: Mapping[str, str], what: str) -> PreheatError:
    """Return the error for a status other than success; `what` is the ref or file, for the message."""
    lower = {name.lower(): value for name, value in headers.items()}
    code = lower.get("x-error-code", "")
    message = one_line(lower.get("x-error-message", ""))
    token = "check the name; if it is private, set HF_TOKEN to a token that can read it"  # noqa: S105 - a hint, no token
    if message == _DISABLED:
        return AccessDenied(
            f"{what}: the hub has disabled access to it", hint="ask its owner, or try another --endpoint"
        )
    if code == GATED_REPO:
        return AccessDenied(
            f"{what} is gated: you must accept its terms first",
            hint="accept the terms on its page, then set HF_TOKEN to a token of the same account",
            gated=True,
        )
    if code == REVISION_NOT_FOUND:
        return NotFound(f"{what}: the hub has no such revision", hint="a revision is a branch, a tag or a commit")
    if code == ENTRY_NOT_FOUND:
        return NotFound(f"{what}: the hub has no such file")
    if code == REPO_NOT_FOUND or status == 404:
        missing, hidden = f"{what}: the hub has no such repository", code == REPO_NOT_FOUND
        return NotFound(missing, hint=token, hidden=hidden, repository=what)
    if status in (401, 403):
        # huggingface.co returns 401 for missing and private repositories alike, so as not to reveal private names.
        because = f" ({message})" if message else ""
        denied = f"{what}: the hub denies access, or has no such repository{because}"
        return AccessDenied(denied, hint=token, repository=what)
    return read_temporary(status, headers, what, "HF_TOKEN") or HubError(
        f"{what}: the hub answered {status}" + (f" ({message})" if message else ""), hint=_OTHER_HUB
    )


def _decode(body: bytes, form: type[_Document], what: str) -> _Document:
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise HubError(f"the hub's {what} is invalid: {error}", hint=_OTHER_HUB) from error


def _files(siblings: list[Sibling] | None) -> tuple[File, ...] | None:
    if siblings is None:
        return None
    files = [_file_of_sibling(sibling) for sibling in siblings]
    whole = tuple(file for file in files if file is not None)
    return whole if len(whole) == len(files) else None


def _file_of_sibling(sibling: Sibling) -> File | None:
    lfs = sibling.lfs
    if lfs is not None and lfs.sha256 is not None and lfs.size is not None:
        return _file(sibling.rfilename, lfs.size, SHA256, lfs.sha256)
    if lfs is not None or sibling.size is None or sibling.blob_id is None:
        return None
    return _file(sibling.rfilename, sibling.size, GIT_SHA1, sibling.blob_id)


def _file_of_entry(entry: HfEntry) -> File:
    if entry.lfs is not None:
        return _file(entry.path, entry.lfs.size, SHA256, entry.lfs.oid)
    if entry.size is None:
        raise HubError(f"the hub lists {entry.path!r} without its size", hint=_OTHER_HUB)
    return _file(entry.path, entry.size, GIT_SHA1, entry.oid)


def _file(path: str, size: int, algorithm: str, value: str) -> File:
    try:
        digest = Digest(algorithm, value)
    except UsageError as error:
        raise HubError(f"the hub returned an invalid digest for {path!r}: {error.message}", hint=_OTHER_HUB) from error
    return File(path, size, digest)


def info_path(ref: Ref) -> str:
    """Return the API path of the description of `ref`, with sizes and digests."""
    return f"{_api(ref)}/revision/{quote(ref.revision, safe='')}?blobs=true"


def tree_path(ref: Ref, commit: str) -> str:
    """Return the API path of the file list of `commit`; its first page."""
    return f"{_api(ref)}/tree/{quote(commit, safe='')}?recursive=true&expand=false"


def resolve_path(ref: Ref, commit: str, file_path: str) -> str:
    """Return the download path of a file."""
    prefix = "" if ref.kind == MODEL else f"{ref.kind}s/"
    return f"/{_own(ref) or f'{prefix}{quote(ref.repo)}'}/resolve/{quote(commit, safe='')}/{quote(file_path)}"


def _api(ref: Ref) -> str:
    return f"/api/{_own(ref) or f'{ref.kind}s/{quote(ref.repo)}'}"


def _own(ref: Ref) -> str:
    """Return the repository name under which preheat mirrors serve made files and members of archives; else "".

    The name of an archive is its address, in one segment.
    """
    return f"{ref.hub}/{quote(ref.repo, safe='/' if ref.hub == MADE else '')}" if ref.hub in (MADE, *ARCHIVES) else ""
