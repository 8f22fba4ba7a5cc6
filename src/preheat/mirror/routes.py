"""Routes: what the mirror answers to a request, decided without a socket."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote_to_bytes

import msgspec

from preheat.digest import SHA256
from preheat.errors import AccessDenied, HubUnavailable, NotFound, PreheatError, UsageError
from preheat.hubs.hf_documents import ENTRY_NOT_FOUND, REPO_NOT_FOUND, REVISION_NOT_FOUND
from preheat.mirror import hf_answers
from preheat.mirror.shelf import Find, Found
from preheat.ref import DATASET, HUGGING_FACE, MODEL, SPACE, Ref, is_revision
from preheat.snapshot import File, Snapshot

_KINDS = {"models": MODEL, "datasets": DATASET, "spaces": SPACE}
_VERBS = frozenset(("revision", "tree", "paths-info", "refs"))
# As the hub: its clients follow the Link header.
_PAGE = 1000
_MOST_FIELDS = 20_000


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes `start` up to, not including, `stop` of the file at `path`."""

    path: Path
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. An answer to HEAD has the headers of the body that it leaves out."""

    status: int
    headers: Mapping[str, str]
    body: bytes | Slice = b""


class _Refused(Exception):
    """The request cannot be served, and this is what to say."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def answer(request: Request, find: Find) -> Answer:
    """Answer a request from what `find` finds."""
    try:
        full = _route(request, find)
    except _Refused as refused:
        full = refused.answer
    except PreheatError as error:
        full = _answer_error(error)
    return replace(full, body=b"") if request.method == "HEAD" else full


def refuse(status: int, message: str, code: str = "", **headers: str) -> Answer:
    """Say no, as the hub's clients understand it: they read the headers, people the body."""
    told = {"X-Error-Message": re.sub(r"[^ -~]", "?", message)} | ({"X-Error-Code": code} if code else {})
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    return _json(msgspec.json.encode({"error": message}), status, told)


def _answer_error(error: PreheatError) -> Answer:
    match error:
        case NotFound():
            return refuse(404, error.message, REPO_NOT_FOUND)
        case AccessDenied():
            return refuse(403, error.message)
        case HubUnavailable():
            return refuse(503, error.message, Retry_After=str(max(1, round(error.wait_s or 1))))
        case _:
            return refuse(502, error.message)


# ---- which question it is -----------------------------------------------------------------------------------------


def _route(request: Request, find: Find) -> Answer:
    segments, query = _target(request.target)
    match segments:
        case ["api", kinds, *rest] if kinds in _KINDS and rest:
            return _api(request, _KINDS[kinds], rest, query, find)
        case ["api", "whoami-v2"]:
            return refuse(401, "this mirror knows no accounts, and needs no token")
        case [("datasets" | "spaces") as kinds, *rest] if "resolve" in rest[1:3]:
            return _resolve(request, _KINDS[kinds], rest, find)
        case [_, *rest] if "resolve" in rest[:2]:
            return _resolve(request, MODEL, segments, find)
        case _:
            raise _Refused(refuse(404, "this mirror has no such page"))


def _target(target: str) -> tuple[list[str], dict[str, list[str]]]:
    """Take a target apart; a segment may hold a `/` that came encoded, as in the revision `refs/pr/1`."""
    path, _, query = re.sub(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*", "", target).partition("#")[0].partition("?")
    try:
        segments = [unquote_to_bytes(segment.encode("latin-1")).decode() for segment in path.split("/")]
        fields = parse_qs(query, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise _Refused(refuse(400, "the address cannot be read")) from error
    if "\0" in "".join(segments):
        raise _Refused(refuse(400, "the address holds a NUL"))
    while segments and not segments[-1]:
        segments.pop()
    return (segments if segments[:1] != [""] else segments[1:]), fields


def _api(request: Request, kind: str, segments: list[str], query: dict[str, list[str]], find: Find) -> Answer:
    # One name or two, then perhaps a verb: `gpt2/tree/main` as well as `openai/gpt2/tree/main`.
    length = next((n for n in (2, 1) if len(segments) > n and segments[n] in _VERBS), len(segments))
    repo = "/".join(segments[:length])
    if length > 2:
        raise _Refused(refuse(404, "this mirror has no such page"))
    match segments[length:]:
        case []:
            _allow(request, "GET", "HEAD")
            found = _find(find, kind, repo, "main")
            return _json(hf_answers.write_info(found.snapshot), 200, _commit(found))
        case ["revision", revision]:
            _allow(request, "GET", "HEAD")
            found = _find(find, kind, repo, revision)
            return _json(hf_answers.write_info(found.snapshot), 200, _commit(found))
        case ["tree", revision, *path]:
            _allow(request, "GET", "HEAD")
            return _tree(request, _find(find, kind, repo, revision), "/".join(path).strip("/"), query)
        case ["paths-info", revision]:
            _allow(request, "POST")
            found = _find(find, kind, repo, revision)
            return _json(hf_answers.write_paths_info(found.snapshot, _paths(request)), 200, _commit(found))
        case ["refs"]:
            _allow(request, "GET", "HEAD")
            found = _find(find, kind, repo, "main")
            return _json(hf_answers.write_refs({"main": found.snapshot.commit}), 200, {})
        case _:
            raise _Refused(refuse(404, "this mirror has no such page"))


def _allow(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise _Refused(refuse(405, f"{request.method} is not answered here", Allow=", ".join(methods)))


def _find(find: Find, kind: str, repo: str, revision: str) -> Found:
    """Find a repository at a revision, or say which of the two is unknown."""
    try:
        # The repository alone, since `datasets/squad` would read as a model's owner and name.
        named = Ref.parse(f"{HUGGING_FACE}:{repo}")
    except UsageError as error:
        raise _Refused(refuse(404, "that is no repository's name", REPO_NOT_FOUND)) from error
    if (named.hub, named.kind, named.repo, named.revision) != (HUGGING_FACE, MODEL, repo, "main"):
        raise _Refused(refuse(404, "that is no repository's name", REPO_NOT_FOUND))
    ref = replace(named, kind=kind, revision=revision)
    if is_revision(revision) and (found := find(ref)) is not None:
        return found
    if revision != "main" and find(ref.at("main")) is not None:
        raise _Refused(refuse(404, f"{ref} is not on this mirror at this revision", REVISION_NOT_FOUND))
    raise _Refused(refuse(404, f"{ref} is not on this mirror", REPO_NOT_FOUND))


# ---- listings -----------------------------------------------------------------------------------------------------


def _tree(request: Request, found: Found, under: str, query: dict[str, list[str]]) -> Answer:
    recursive = query.get("recursive", [""])[-1].lower() in ("true", "1")
    entries = hf_answers.list_tree(found.snapshot, under, recursive=recursive)
    if under and not entries:
        raise _Refused(_no_entry(found, under))
    cursor = query.get("cursor", ["0"])[-1]
    if not re.fullmatch(r"[0-9]{1,9}", cursor):
        raise _Refused(refuse(400, "the cursor is none of this mirror's"))
    start, stop = int(cursor), int(cursor) + _PAGE
    headers = _commit(found)
    if stop < len(entries):
        fields = {name: values[-1] for name, values in query.items()} | {"cursor": str(stop)}
        page = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in fields.items())
        headers["Link"] = f'<{_url(request)}?{page}>; rel="next"'
    return _json(hf_answers.write_entries(entries[start:stop]), 200, headers)


def _url(request: Request) -> str:
    """Say the request's own URL without its query; clients want it whole in a Link."""
    path = re.sub(r"[^!-~]|[<>\"]", "", request.target.partition("#")[0].partition("?")[0])
    host = request.headers.get("host", "")
    if path.startswith("/") and re.fullmatch(r"[A-Za-z0-9.:\[\]_-]+", host):
        forwarded = request.headers.get("x-forwarded-proto", "")
        return f"{'https' if forwarded == 'https' else 'http'}://{host}{path}"
    return path


def _paths(request: Request) -> list[str]:
    try:
        if request.headers.get("content-type", "").lower().startswith("application/json"):
            return msgspec.json.decode(request.body, type=_PathsInfo).listed
        return parse_qs(request.body.decode(), max_num_fields=_MOST_FIELDS).get("paths", [])
    except (ValueError, RecursionError) as error:
        raise _Refused(refuse(400, "the paths cannot be read")) from error


class _PathsInfo(msgspec.Struct):
    paths: list[str] | str

    @property
    def listed(self) -> list[str]:
        return [self.paths] if isinstance(self.paths, str) else self.paths


# ---- files --------------------------------------------------------------------------------------------------------


def _resolve(request: Request, kind: str, segments: list[str], find: Find) -> Answer:
    _allow(request, "GET", "HEAD")
    length = 2 if segments[2:3] == ["resolve"] else 1
    match segments[length + 1 :]:
        case [revision, *rest] if rest:
            found = _find(find, kind, "/".join(segments[:length]), revision)
        case _:
            raise _Refused(refuse(404, "this mirror has no such page"))
    path = "/".join(rest)
    # Looked up among the names of the snapshot, never joined to a folder: no path leads out.
    file = found.snapshot.file(path)
    if file is None:
        raise _Refused(_no_entry(found, path))
    place = found.locate(file)
    if place is None:
        # Not EntryNotFound: clients would remember that the repository has no such file.
        message = f"{path} of {found.snapshot.ref} is not on this mirror, though it is in the repository"
        raise _Refused(refuse(404, message, X_Repo_Commit=found.snapshot.commit))
    return _file(request, found.snapshot, file, place)


def _file(request: Request, snapshot: Snapshot, file: File, place: Path) -> Answer:
    etag = f'"{file.digest.hex}"'
    headers = {"X-Repo-Commit": snapshot.commit, "ETag": etag, "Accept-Ranges": "bytes"}
    if file.digest.algorithm == SHA256:
        headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(file.size)}
    if _matches(request.headers.get("if-none-match", ""), etag):
        return Answer(304, headers)
    headers |= {"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff"}
    wanted = None
    if request.method == "GET" and request.headers.get("if-range", etag) == etag:
        wanted = _range(request.headers.get("range", ""), file.size)
    if wanted is None:
        return Answer(200, headers | {"Content-Length": str(file.size)}, Slice(place, 0, file.size))
    start, stop = wanted
    if start >= stop:
        return refuse(416, f"the file has {file.size} bytes", Content_Range=f"bytes */{file.size}")
    headers |= {"Content-Length": str(stop - start), "Content-Range": f"bytes {start}-{stop - 1}/{file.size}"}
    return Answer(206, headers, Slice(place, start, stop))


def _matches(condition: str, etag: str) -> bool:
    """Whether an If-None-Match names the file (RFC 9110 section 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in condition.split(",")]
    return "*" in tags or etag in tags


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Read a Range (RFC 9110 section 14.1.2): empty if it cannot be satisfied, None if it is not a single good one."""
    match = re.fullmatch(r"\s*bytes\s*=\s*([0-9]{0,18})-([0-9]{0,18})\s*", header, re.IGNORECASE)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


# ---- forms --------------------------------------------------------------------------------------------------------


def _json(body: bytes, status: int, headers: Mapping[str, str]) -> Answer:
    form = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body))}
    return Answer(status, form | dict(headers), body)


def _commit(found: Found) -> dict[str, str]:
    return {"X-Repo-Commit": found.snapshot.commit}


def _no_entry(found: Found, path: str) -> Answer:
    # The commit lets clients remember that there is no such file, and not ask again.
    message = f"{found.snapshot.ref} has no {path}"
    return refuse(404, message, ENTRY_NOT_FOUND, X_Repo_Commit=found.snapshot.commit)
