"""Hugging Face routes: from request to response, without a socket.

What only preheats have is served to them in the same form: what apps' starts made at `/api/made/APP/NAME/…` and
`/made/APP/NAME/…`, members of archives at `/api/zip/ADDRESS/…` and `/zip/ADDRESS/…`, with the address as one segment.
"""

import re
from urllib.parse import parse_qs, quote

import msgspec

from preheat.core.errors import AccessDenied, Busy, CheckFailed, HubUnavailable, NoSpace, NotFound, PreheatError
from preheat.core.ref import (
    ARCHIVES,
    DATASET,
    HUGGING_FACE,
    MADE,
    MODEL,
    MODELSCOPE,
    SPACE,
    Ref,
    is_repository,
    is_revision,
)
from preheat.hubs.hf_documents import ENTRY_NOT_FOUND, GATED_REPO, REPO_NOT_FOUND, REVISION_NOT_FOUND
from preheat.mirror.api import hf_answers, ms_routes
from preheat.mirror.api.file_answer import give_file, provenance
from preheat.mirror.api.file_index import POLICY, write_index
from preheat.mirror.api.folders import Find, ServedSnapshot
from preheat.mirror.http.messages import (
    MOST_FIELDS,
    Answer,
    Refused,
    Request,
    bearer,
    json_answer,
    read_target,
    refuse,
    scheme_of,
)

_KINDS = {"models": MODEL, "datasets": DATASET, "spaces": SPACE}
_VERBS = frozenset(("revision", "tree", "paths-info", "refs"))
# The hub's page size; clients follow the Link header.
_PAGE = 1000


def answer(request: Request, find: Find) -> Answer:
    """Return the response to a request; `find` finds its repository."""
    try:
        full = _route(request, find)
    except Refused as refused:
        full = refused.answer
    except PreheatError as error:
        full = _answer_error(error, known=bool(bearer(request)))
    return Answer(full.status, full.headers) if request.method == "HEAD" and full.body else full


def _answer_error(error: PreheatError, *, known: bool) -> Answer:
    """Return an error response as the hub does: 401 to a client without a token, 403 with one."""
    match error:
        case NotFound():
            return refuse(404, error.message, REPO_NOT_FOUND)
        case AccessDenied():
            return refuse(403 if known else 401, error.message, GATED_REPO if error.gated else "")
        case CheckFailed():
            return refuse(403, error.message)
        case NoSpace():
            return refuse(507, error.message)
        case Busy():
            return refuse(409, error.message)
        case HubUnavailable():
            return refuse(503, error.message, Retry_After=str(max(1, round(error.wait_s or 1))))
        case _:
            return refuse(502, error.message)


# ---- routing ------------------------------------------------------------------------------------------------------


def _route(request: Request, find: Find) -> Answer:
    segments, query = read_target(request.target)
    match segments:
        case ["api", "v1", *rest]:
            return ms_routes.route(request, rest, query, find)
        case ["api", kinds, *rest] if kinds in _KINDS and rest:
            return _api(request, _KINDS[kinds], rest, query, find)
        case ["api", ("made" | "zip" | "tar") as hub, *rest] if rest:
            return _api(request, hub, rest, query, find)
        case ["api", "whoami-v2"]:
            return refuse(401, "this mirror has no accounts, and requires no token")
        case [("datasets" | "spaces") as kinds, *rest] if "resolve" in rest[1:3]:
            return _resolve(request, _KINDS[kinds], rest, find)
        case ["made", *rest] if "resolve" in rest[2:3]:
            return _resolve(request, MADE, rest, find)
        case [("zip" | "tar") as hub, *rest] if "resolve" in rest[1:2] and "://" in rest[0]:
            return _resolve(request, hub, rest, find)
        case [_, *rest] if "resolve" in rest[:2]:
            return _resolve(request, MODEL, segments, find)
        case ["models", owner, name]:
            return _index(request, find, Ref(MODELSCOPE, MODEL, f"{owner}/{name}", "master"))
        case [("datasets" | "spaces") as kinds, owner, name]:
            return _index(request, find, Ref(HUGGING_FACE, _KINDS[kinds], f"{owner}/{name}"))
        case [_] | [_, _]:
            return _index(request, find, Ref(HUGGING_FACE, MODEL, "/".join(segments)))
        case _:
            raise Refused(refuse(404, "this mirror has no such page"))


def _index(request: Request, find: Find, ref: Ref) -> Answer:
    """Return a repository's page for browsers."""
    _allow(request, "GET", "HEAD")
    # Browsers request these by themselves: they are not repositories, so do not contact upstream for them.
    found = find(ref) if is_repository(ref) and ref.repo not in ("favicon.ico", "robots.txt") else None
    if found is None:
        raise Refused(refuse(404, "this mirror has no such page or repository"))
    body = write_index(found.snapshot)
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body))}
    headers |= {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", **provenance(found)}
    return Answer(200, headers, body)


def _api(request: Request, kind: str, segments: list[str], query: dict[str, list[str]], find: Find) -> Answer:
    # One name or two, then an optional verb: `gpt2/tree/main` and `openai/gpt2/tree/main`.
    length = next((n for n in (2, 1) if len(segments) > n and segments[n] in _VERBS), len(segments))
    repo = "/".join(segments[:length])
    if length > 2:
        raise Refused(refuse(404, "this mirror has no such page"))
    match segments[length:]:
        case []:
            _allow(request, "GET", "HEAD")
            found = _whole(_find(find, kind, repo, "main"))
            return json_answer(hf_answers.write_info(found.snapshot), 200, provenance(found))
        case ["revision", revision]:
            _allow(request, "GET", "HEAD")
            found = _whole(_find(find, kind, repo, revision))
            return json_answer(hf_answers.write_info(found.snapshot), 200, provenance(found))
        case ["tree", revision, *path]:
            _allow(request, "GET", "HEAD")
            found = _whole(_find(find, kind, repo, revision))
            return _tree(request, found, "/".join(path).strip("/"), query)
        case ["paths-info", revision]:
            _allow(request, "POST")
            found = _whole(_find(find, kind, repo, revision))
            return json_answer(hf_answers.write_paths_info(found.snapshot, _paths(request)), 200, provenance(found))
        case ["refs"]:
            _allow(request, "GET", "HEAD")
            found = _find(find, kind, repo, "main")
            return json_answer(hf_answers.write_refs(_branches(found)), 200, provenance(found))
        case _:
            raise Refused(refuse(404, "this mirror has no such page"))


def _allow(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise Refused(refuse(405, f"{request.method} is not allowed", Allow=", ".join(methods)))


def _find(find: Find, kind: str, repo: str, revision: str) -> ServedSnapshot:
    """Find a repository at a revision; raise Refused with the hub's code for an unknown repository or revision."""
    ref = Ref(kind, MODEL, repo, revision) if kind in (MADE, *ARCHIVES) else Ref(HUGGING_FACE, kind, repo, revision)
    if not is_repository(ref):
        raise Refused(refuse(404, "invalid repository name", REPO_NOT_FOUND))
    if is_revision(revision) and (found := find(ref)) is not None:
        return found
    if revision != "main" and find(ref.at("main")) is not None:
        raise Refused(refuse(404, f"{ref} is not on this mirror at this revision", REVISION_NOT_FOUND))
    raise Refused(refuse(404, f"{ref} is not on this mirror", REPO_NOT_FOUND))


def _whole(found: ServedSnapshot) -> ServedSnapshot:
    # Without the code of an unknown repository or file: the hub has it.
    if found.why_partial:
        raise Refused(refuse(404, found.why_partial))
    return found


# ---- listings -----------------------------------------------------------------------------------------------------


def _tree(request: Request, found: ServedSnapshot, under: str, query: dict[str, list[str]]) -> Answer:
    recursive = query.get("recursive", [""])[-1].lower() in ("true", "1")
    entries = hf_answers.list_tree(found.snapshot, under, recursive=recursive)
    if under and not entries:
        raise Refused(_no_entry(found, under))
    cursor = query.get("cursor", ["0"])[-1]
    if not re.fullmatch(r"[0-9]{1,9}", cursor):
        raise Refused(refuse(400, "invalid cursor"))
    start, stop = int(cursor), int(cursor) + _PAGE
    headers = provenance(found)
    if stop < len(entries):
        fields = {name: values[-1] for name, values in query.items()} | {"cursor": str(stop)}
        page = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in fields.items())
        headers["Link"] = f'<{_url(request)}?{page}>; rel="next"'
    return json_answer(hf_answers.write_entries(entries[start:stop]), 200, headers)


def _url(request: Request) -> str:
    """Return the request's own URL without its query: clients need an absolute URL in a Link header."""
    path = re.sub(r"[^!-~]|[<>\"]", "", request.target.partition("#")[0].partition("?")[0])
    host = request.headers.get("host", "")
    if path.startswith("/") and re.fullmatch(r"[A-Za-z0-9.:\[\]_-]+", host):
        return f"{scheme_of(request)}://{host}{path}"
    return path


def _paths(request: Request) -> list[str]:
    try:
        if request.headers.get("content-type", "").lower().startswith("application/json"):
            return msgspec.json.decode(request.body, type=_PathsInfo).listed
        return parse_qs(request.body.decode(), max_num_fields=MOST_FIELDS).get("paths", [])
    except (ValueError, RecursionError) as error:
        raise Refused(refuse(400, "invalid paths")) from error


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
            raise Refused(refuse(404, "this mirror has no such page"))
    path = "/".join(rest)
    # The path is only compared with names in the snapshot, never joined to a folder, so it cannot escape.
    file = found.snapshot.file(path)
    if file is None and not found.snapshot.may_have(path):
        raise Refused(_no_entry(found, path))
    given = give_file(request, found, file) if file is not None else None
    if given is None:
        # Not EntryNotFound: clients would cache that the repository has no such file.
        message = f"{path} of {found.snapshot.ref} is not on this mirror, although the repository has it"
        raise Refused(refuse(404, message, X_Repo_Commit=found.snapshot.commit))
    return given


# ---- helpers ------------------------------------------------------------------------------------------------------


def _commit(found: ServedSnapshot) -> dict[str, str]:
    return provenance(found)


def _branches(found: ServedSnapshot) -> dict[str, str]:
    """Return the known branches and tags; clients expect `main`, which defaults to this commit."""
    return {"main": found.snapshot.commit, **found.revisions()}


def _no_entry(found: ServedSnapshot, path: str) -> Answer:
    # With the commit, clients can cache that the file does not exist.
    message = f"{found.snapshot.ref} has no {path}"
    return refuse(404, message, ENTRY_NOT_FOUND, X_Repo_Commit=found.snapshot.commit)
