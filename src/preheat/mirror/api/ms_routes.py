"""ModelScope routes, below `/api/v1`: from request to response, without a socket."""

import re

from preheat.core.errors import AccessDenied, Busy, CheckFailed, HubUnavailable, NoSpace, NotFound, PreheatError
from preheat.core.ref import DATASET, MODEL, MODELSCOPE, Ref, is_repository, is_revision
from preheat.core.snapshot import File
from preheat.hubs.ms_documents import PAGE
from preheat.mirror.api import ms_answers
from preheat.mirror.api.file_answer import give_file, provenance
from preheat.mirror.api.folders import Find, ServedSnapshot
from preheat.mirror.http.messages import Answer, Refused, Request, bearer, json_answer

_KINDS = {"models": MODEL, "datasets": DATASET}


def route(request: Request, segments: list[str], query: dict[str, list[str]], find: Find) -> Answer:
    """Return the response to a request whose path below `/api/v1` is `segments`; `find` finds its repository."""
    try:
        return _route(request, segments, {name: values[-1] for name, values in query.items()}, find)
    except PreheatError as error:
        return _answer_error(error, known=bool(bearer(request)))


def _route(request: Request, segments: list[str], query: dict[str, str], find: Find) -> Answer:
    match segments:
        case [("models" | "datasets") as kinds, owner, name, *rest]:
            ref = _name(_KINDS[kinds], f"{owner}/{name}")
        case _:
            raise Refused(_refuse(404, "this mirror has no such page"))
    if request.method not in ("GET", "HEAD"):
        raise Refused(_refuse(405, f"{request.method} is not allowed"))
    match rest:
        case []:
            return _document(ms_answers.write_repository(ref), _find(find, ref))
        case ["revisions"]:
            found = _find(find, ref)
            names = dict.fromkeys((ref.revision, *found.revisions()))
            return _document(ms_answers.write_revisions(names), found)
        case ["repo", "files"] if ref.kind == MODEL:
            return _files(_whole(_find(find, _at(ref, query))), query)
        case ["repo", "tree"] if ref.kind == DATASET:
            return _pages(_whole(_find(find, _at(ref, query))), query)
        case ["repo"] if "FilePath" in query:
            return _bytes(request, _at(ref, query), query["FilePath"], find)
        case _:
            raise Refused(_refuse(404, "this mirror has no such page"))


def _name(kind: str, repo: str) -> Ref:
    ref = Ref(MODELSCOPE, kind, repo, "master")
    if not is_repository(ref):
        raise Refused(_refuse(404, "invalid repository name"))
    return ref


def _at(ref: Ref, query: dict[str, str]) -> Ref:
    return ref.at(query.get("Revision", ref.branch))


def _find(find: Find, ref: Ref) -> ServedSnapshot:
    found = find(ref) if is_revision(ref.revision) else None
    if found is None:
        raise Refused(_refuse(404, f"{ref} is not on this mirror"))
    return found


def _whole(found: ServedSnapshot) -> ServedSnapshot:
    if found.why_partial:
        raise Refused(_refuse(404, found.why_partial))
    return found


# ---- listings


def _files(found: ServedSnapshot, query: dict[str, str]) -> Answer:
    entries = ms_answers.list_files(found, _root(query), recursive=_recursive(query))
    return _document(ms_answers.write_entries(ms_answers.cut_short(entries)), found)


def _pages(found: ServedSnapshot, query: dict[str, str]) -> Answer:
    number, size = query.get("PageNumber", "1"), query.get("PageSize", str(PAGE))
    if not re.fullmatch(r"[1-9][0-9]{0,8}", number) or not re.fullmatch(r"[1-9][0-9]{0,5}", size):
        raise Refused(_refuse(400, "invalid page number or size"))
    start = (int(number) - 1) * int(size)
    entries = ms_answers.list_files(found, _root(query), recursive=_recursive(query))
    return _document(ms_answers.write_entries(entries[start : start + int(size)]), found)


def _root(query: dict[str, str]) -> str:
    return query.get("Root", "").strip("/")


def _recursive(query: dict[str, str]) -> bool:
    return query.get("Recursive", "").lower() in ("true", "1")


# ---- files


def _bytes(request: Request, ref: Ref, path: str, find: Find) -> Answer:
    found = find(ref) if is_revision(ref.revision) else None
    file = found.snapshot.file(path) if found else None
    if found is None or file is None:
        found, file = _by_its_own_commit(ref, path, find)
    given = give_file(request, found, file)
    if given is None:
        raise Refused(_refuse(404, f"{path} of {ref} is not on this mirror, although the repository has it"))
    return given


def _by_its_own_commit(ref: Ref, path: str, find: Find) -> tuple[ServedSnapshot, File]:
    """Find a file on the default branch by the commit that last changed it, as listings return it."""
    found = find(ref.at(ref.branch))
    file = found.snapshot.file(path) if found else None
    if found is None or file is None or ms_answers.file_revision(found, file) != ref.revision:
        raise Refused(_refuse(404, f"{ref} has no {path}"))
    return found, file


# ---- helpers


def _document(body: bytes, found: ServedSnapshot) -> Answer:
    return json_answer(body, 200, provenance(found))


def _refuse(status: int, message: str, **headers: str) -> Answer:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return json_answer(ms_answers.write_refusal(status, message), status, told)


def _answer_error(error: PreheatError, *, known: bool) -> Answer:
    match error:
        case NotFound():
            return _refuse(404, error.message)
        case AccessDenied():
            return _refuse(403 if known else 401, error.message)
        case CheckFailed():
            return _refuse(403, error.message)
        case NoSpace():
            return _refuse(507, error.message)
        case Busy():
            return _refuse(409, error.message)
        case HubUnavailable():
            return _refuse(503, error.message, Retry_After=str(max(1, round(error.wait_s or 1))))
        case _:
            return _refuse(502, error.message)
