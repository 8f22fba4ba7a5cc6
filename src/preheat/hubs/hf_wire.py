"""The forms of the Hugging Face API: documents, paths and errors as bytes and words, without I/O.

The client reads them, the mirror writes them, and neither knows the other.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import quote

import msgspec

from preheat.digest import GIT_SHA1, SHA256, Digest, hasher
from preheat.errors import AccessDenied, HubError, HubUnavailable, NotFound, PreheatError, UsageError
from preheat.ref import MODEL, Ref
from preheat.snapshot import File, Snapshot

REPO_NOT_FOUND = "RepoNotFound"
REVISION_NOT_FOUND = "RevisionNotFound"
ENTRY_NOT_FOUND = "EntryNotFound"
GATED_REPO = "GatedRepo"

_DISABLED = "Access to this resource is disabled."
_OTHER_HUB = "ask another --endpoint, or report it to whoever runs this one"

# ---- the documents ------------------------------------------------------------------------------------------------


class _SiblingLfs(msgspec.Struct, rename="camel", omit_defaults=True):
    sha256: str | None = None
    size: int | None = None
    pointer_size: int | None = None


class _Sibling(msgspec.Struct, rename="camel", omit_defaults=True):
    rfilename: str
    size: int | None = None
    blob_id: str | None = None
    lfs: _SiblingLfs | None = None


class _InfoDocument(msgspec.Struct):
    sha: str
    private: bool | None = None
    gated: bool | str | None = None
    siblings: list[_Sibling] | None = None


class _EntryLfs(msgspec.Struct, rename="camel", omit_defaults=True):
    oid: str
    size: int
    pointer_size: int | None = None


class Entry(msgspec.Struct, omit_defaults=True):
    """A line of a tree listing: a file, or a folder (`type` is `directory`)."""

    type: str
    path: str
    oid: str
    size: int | None = None
    lfs: _EntryLfs | None = None


_Document = TypeVar("_Document")


# ---- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Info:
    """What a hub says of one revision. `files` is None when it kept sizes or digests to itself: ask the tree."""

    commit: str
    private: bool
    gated: bool
    files: tuple[File, ...] | None


def read_info(body: bytes, ref: Ref) -> Info:
    """Read the answer to `info_path`; raise HubError if it is none."""
    document = _decode(body, _InfoDocument, f"description of {ref}")
    if not re.fullmatch(r"[0-9a-f]{40}", document.sha):
        raise HubError(f"the hub says {ref} is at {document.sha!r}, which is not a commit", hint=_OTHER_HUB)
    return Info(document.sha, bool(document.private), bool(document.gated), _files(document.siblings))


def read_tree(body: bytes) -> tuple[File, ...]:
    """Read the files in one page of the answer to `tree_path`; raise HubError if it is none."""
    entries = _decode(body, list[Entry], "list of files")
    return tuple(_file_of_entry(entry) for entry in entries if entry.type == "file")


def next_page(link: str | None) -> str | None:
    """Find the URL of the next page in a `Link` header (RFC 8288)."""
    for url, parameters in re.findall(r"<([^>]*)>([^<]*)", link or ""):
        relation = re.search(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', parameters, re.IGNORECASE)
        if relation and "next" in (relation[1] or relation[2] or "").lower().split():
            return str(url)
    return None


def read_error(status: int, headers: Mapping[str, str], what: str) -> PreheatError:
    """Say what a status other than success means for `what`: a ref, or a file of one."""
    said = {name.lower(): value for name, value in headers.items()}
    code = said.get("x-error-code", "")
    message = _one_line(said.get("x-error-message", ""))
    token = "check the name; if it is private, set HF_TOKEN to a token that may read it"  # noqa: S105 - a hint, no token
    if message == _DISABLED:
        return AccessDenied(f"{what}: the hub has disabled access to it", hint="ask its owner, or another --endpoint")
    if code == GATED_REPO:
        return AccessDenied(
            f"{what} is gated: its terms must be accepted first",
            hint="accept the terms on its page, then set HF_TOKEN to a token of the same account",
        )
    if code == REVISION_NOT_FOUND:
        return NotFound(f"{what}: the hub has no such revision", hint="a revision is a branch, a tag or a commit")
    if code == ENTRY_NOT_FOUND:
        return NotFound(f"{what}: the hub has no such file")
    if code == REPO_NOT_FOUND or status == 404:
        return NotFound(f"{what}: the hub has no such repository", hint=token)
    if status in (401, 403):
        # The real hub says 401 for what does not exist as for what is private, so as not to tell which.
        because = f" ({message})" if message else ""
        return AccessDenied(f"{what}: the hub denies access, or has no such repository{because}", hint=token)
    if status == 429:
        return HubUnavailable(
            f"{what}: the hub asks to slow down",
            hint="wait, use fewer --connections, or set HF_TOKEN: accounts have a larger allowance",
            wait_s=_wait_s(said),
        )
    if status == 408 or status >= 500:
        return HubUnavailable(
            f"{what}: the hub answered {status}", hint="try again, or another --endpoint", wait_s=_wait_s(said)
        )
    return HubError(f"{what}: the hub answered {status}" + (f" ({message})" if message else ""), hint=_OTHER_HUB)


def _decode(body: bytes, form: type[_Document], what: str) -> _Document:
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise HubError(f"the hub's {what} cannot be understood: {error}", hint=_OTHER_HUB) from error


def _files(siblings: list[_Sibling] | None) -> tuple[File, ...] | None:
    if siblings is None:
        return None
    files = [_file_of_sibling(sibling) for sibling in siblings]
    whole = tuple(file for file in files if file is not None)
    return whole if len(whole) == len(files) else None


def _file_of_sibling(sibling: _Sibling) -> File | None:
    lfs = sibling.lfs
    if lfs is not None and lfs.sha256 is not None and lfs.size is not None:
        return _file(sibling.rfilename, lfs.size, SHA256, lfs.sha256)
    if lfs is not None or sibling.size is None or sibling.blob_id is None:
        return None
    return _file(sibling.rfilename, sibling.size, GIT_SHA1, sibling.blob_id)


def _file_of_entry(entry: Entry) -> File:
    if entry.lfs is not None:
        return _file(entry.path, entry.lfs.size, SHA256, entry.lfs.oid)
    if entry.size is None:
        raise HubError(f"the hub lists {entry.path!r} without its size", hint=_OTHER_HUB)
    return _file(entry.path, entry.size, GIT_SHA1, entry.oid)


def _file(path: str, size: int, algorithm: str, value: str) -> File:
    try:
        digest = Digest(algorithm, value)
    except UsageError as error:
        raise HubError(f"the hub gives {path!r} a digest that is none: {error.message}", hint=_OTHER_HUB) from error
    return File(path, size, digest)


def _wait_s(said: Mapping[str, str]) -> float | None:
    after = said.get("retry-after", "")
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", after):
        return float(after)
    try:
        # Both times are the hub's, so that its clock and ours need not agree.
        waiting = parsedate_to_datetime(after) - parsedate_to_datetime(said.get("date", ""))
        return max(0.0, waiting.total_seconds())
    except (ValueError, TypeError, OverflowError):
        pass
    # The hub's own: RateLimit: "api";r=0;t=55 (draft-ietf-httpapi-ratelimit-headers).
    limit = re.search(r";\s*t=([0-9]{1,9})\b", said.get("ratelimit", ""))
    return float(limit[1]) if limit else None


def _one_line(text: str, most: int = 200) -> str:
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


# ---- paths --------------------------------------------------------------------------------------------------------


def info_path(ref: Ref) -> str:
    """Where a hub describes `ref`, with sizes and digests."""
    return f"{_api(ref)}/revision/{quote(ref.revision, safe='')}?blobs=true"


def tree_path(ref: Ref, commit: str) -> str:
    """Where a hub lists all files of `commit`, the first page of them."""
    return f"{_api(ref)}/tree/{quote(commit, safe='')}?recursive=true&expand=false"


def resolve_path(ref: Ref, commit: str, file_path: str) -> str:
    """Where a hub keeps the bytes of a file."""
    prefix = "" if ref.kind == MODEL else f"{ref.kind}s/"
    return f"/{prefix}{quote(ref.repo)}/resolve/{quote(commit, safe='')}/{quote(file_path)}"


def _api(ref: Ref) -> str:
    return f"/api/{ref.kind}s/{quote(ref.repo)}"


# ---- writing ------------------------------------------------------------------------------------------------------


def write_info(snapshot: Snapshot) -> bytes:
    """Describe a snapshot as `read_info` reads it."""
    ref = snapshot.ref
    return msgspec.json.encode(
        {
            "_id": hashlib.sha1(ref.repo.encode(), usedforsecurity=False).hexdigest()[:24],
            "id": ref.repo,
            **({"modelId": ref.repo} if ref.kind == MODEL else {}),
            "author": ref.repo.rpartition("/")[0] or None,
            "sha": snapshot.commit,
            "private": False,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [_sibling(file) for file in snapshot.files],
        }
    )


def list_tree(snapshot: Snapshot, under: str = "", *, recursive: bool) -> list[Entry]:
    """List files and folders under a folder in the order of their paths; just its own, or all those below as well.

    Nothing is listed for a folder that is not there.
    """
    prefix = f"{under}/" if under else ""
    entries: dict[str, Entry] = {}
    folders: dict[str, list[File]] = {}
    for file in snapshot.files:
        if not file.path.startswith(prefix):
            continue
        parent = file.path.rpartition("/")[0]
        while len(parent) > len(under):
            folders.setdefault(parent, []).append(file)
            parent = parent.rpartition("/")[0]
        entries[file.path] = _file_entry(file)
    for path, files in folders.items():
        entries[path] = _folder_entry(path, files)
    kept = entries.values() if recursive else (e for e in entries.values() if "/" not in e.path[len(prefix) :])
    return sorted(kept, key=lambda entry: entry.path)


def list_paths(snapshot: Snapshot, paths: Iterable[str]) -> list[Entry]:
    """List those of `paths` that are files or folders of the snapshot."""
    every = {entry.path: entry for entry in list_tree(snapshot, recursive=True)}
    return [every[path] for path in dict.fromkeys(path.strip("/") for path in paths) if path in every]


def write_entries(entries: list[Entry]) -> bytes:
    """Write a page of a tree, or the answer about some paths."""
    return msgspec.json.encode(entries)


def write_tree(snapshot: Snapshot, under: str = "", *, recursive: bool) -> bytes:
    """Write a tree in a single page, as `read_tree` reads it."""
    return write_entries(list_tree(snapshot, under, recursive=recursive))


def write_paths_info(snapshot: Snapshot, paths: Iterable[str]) -> bytes:
    """Write what is known of some paths; those that are not there are left out."""
    return write_entries(list_paths(snapshot, paths))


def write_refs(branches: Mapping[str, str]) -> bytes:
    """Write which commit each branch means."""
    return msgspec.json.encode(
        {
            "branches": [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit} for name, commit in branches.items()
            ],
            "tags": [],
            "converts": [],
        }
    )


def lfs_pointer(file: File) -> bytes:
    """Write the file that git keeps in the place of an LFS file (git-lfs/docs/spec.md)."""
    return f"version https://git-lfs.github.com/spec/v1\noid {file.digest}\nsize {file.size}\n".encode()


def git_oid(file: File) -> str:
    """Name what git keeps of a file: itself, or its LFS pointer."""
    if file.digest.algorithm != SHA256:
        return file.digest.hex
    pointer = lfs_pointer(file)
    naming = hasher(GIT_SHA1, len(pointer))
    naming.update(pointer)
    return naming.hexdigest()


def _sibling(file: File) -> _Sibling:
    lfs = None
    if file.digest.algorithm == SHA256:
        lfs = _SiblingLfs(sha256=file.digest.hex, size=file.size, pointer_size=len(lfs_pointer(file)))
    return _Sibling(rfilename=file.path, size=file.size, blob_id=git_oid(file), lfs=lfs)


def _file_entry(file: File) -> Entry:
    lfs = None
    if file.digest.algorithm == SHA256:
        lfs = _EntryLfs(oid=file.digest.hex, size=file.size, pointer_size=len(lfs_pointer(file)))
    return Entry(type="file", path=file.path, oid=git_oid(file), size=file.size, lfs=lfs)


def _folder_entry(path: str, files: Iterable[File]) -> Entry:
    # Not git's own name for the tree, which nobody can check over this API, but as steady: same files, same name.
    naming = hashlib.sha1(usedforsecurity=False)
    for file in sorted(files, key=lambda file: file.path):
        naming.update(f"{file.digest} {file.size} {file.path}\n".encode())
    return Entry(type="directory", path=path, oid=naming.hexdigest(), size=0)
