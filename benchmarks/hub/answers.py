"""Answers: responses of the stand-in hub in the Hugging Face and ModelScope APIs; independent of preheat's mirror."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, unquote

from benchmarks.hub.repo import Entry, Repo

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Said:
    """A response: a head, then either `body` or bytes `start` up to `stop` of `entry`."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    entry: Entry | None = None
    start: int = 0
    stop: int = 0


def say(repos: Mapping[str, Repo], target: str, headers: Mapping[str, str]) -> Said:
    """Respond to a request; header names are in lower case."""
    path, _, query = target.partition("?")
    fields = {name: values[-1] for name, values in parse_qs(query).items()}
    segments = [unquote(segment) for segment in path.strip("/").split("/")]
    match segments:
        case ["api", "v1", "models", owner, name, *rest] if f"{owner}/{name}" in repos:
            return _modelscope(repos[f"{owner}/{name}"], rest, fields, headers)
        case ["api", "models", owner, name, *rest] if f"{owner}/{name}" in repos:
            return _api(
                repos[f"{owner}/{name}"],
                rest,
                fields,
                f"{headers.get('x-forwarded-proto', 'http')}://{headers.get('host', '')}{path}",
            )
        case [owner, name, "resolve", _, *rest] if f"{owner}/{name}" in repos:
            repo = repos[f"{owner}/{name}"]
            entry = repo.entries.get("/".join(rest))
            if entry is None:
                return _refuse(404, "EntryNotFound", {"X-Repo-Commit": repo.commit})
            return _file(entry, headers, _hf_headers(repo, entry))
        case _:
            return _refuse(404, "RepoNotFound")


def _api(repo: Repo, rest: list[str], fields: Mapping[str, str], url: str) -> Said:
    match rest:
        case [] | ["revision", _]:
            blobs = fields.get("blobs", "").lower() == "true"
            siblings = [_sibling(entry, blobs=blobs) for entry in repo.entries.values()]
            document = {"_id": repo.commit[:24], "id": repo.name, "modelId": repo.name, "sha": repo.commit}
            flags = {"private": False, "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}
            return _json(document | flags | {"siblings": siblings})
        case ["tree", _, *_]:
            at = int(fields.get("cursor", "0"))
            every = [_line(entry) for entry in repo.entries.values()]
            link = {}
            if at + _PAGE < len(every):
                page = "&".join(f"{k}={quote(v)}" for k, v in (dict(fields) | {"cursor": str(at + _PAGE)}).items())
                link = {"Link": f'<{url}?{page}>; rel="next"'}
            return _json(every[at : at + _PAGE], link)
        case ["refs"]:
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.commit}
            return _json({"branches": [main], "tags": [], "converts": []})
        case _:
            return _refuse(404, "EntryNotFound")


def _sibling(entry: Entry, *, blobs: bool) -> dict[str, object]:
    told: dict[str, object] = {"rfilename": entry.path}
    if blobs:
        told |= {"size": entry.size, "blobId": entry.git_sha1}
        if entry.is_lfs:
            told["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": 134}
    return told


def _line(entry: Entry) -> dict[str, object]:
    told: dict[str, object] = {"type": "file", "path": entry.path, "oid": entry.git_sha1, "size": entry.size}
    if entry.is_lfs:
        told["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": 134}
    return told


def _hf_headers(repo: Repo, entry: Entry) -> dict[str, str]:
    linked = {"X-Linked-Etag": f'"{entry.etag}"', "X-Linked-Size": str(entry.size)} if entry.is_lfs else {}
    return {"X-Repo-Commit": repo.commit, "ETag": f'"{entry.etag}"', **linked}


def _modelscope(repo: Repo, rest: list[str], fields: Mapping[str, str], headers: Mapping[str, str]) -> Said:
    match rest:
        case []:
            return _data({"Path": repo.name.split("/")[0], "Name": repo.name.split("/")[1], "Visibility": 5})
        case ["revisions"]:
            branch = {"Revision": "master", "CreatedAt": 1_700_000_000}
            return _data({"RevisionMap": {"Branches": [branch], "Tags": []}})
        case ["repo", "files"]:
            files = [
                {
                    "Name": entry.path.rpartition("/")[2],
                    "Path": entry.path,
                    "Type": "blob",
                    "Size": entry.size,
                    "Sha256": entry.sha256,
                    "Revision": repo.commit,
                    "IsLFS": entry.is_lfs,
                    "Mode": "33188",
                    "CommittedDate": 1_700_000_000,
                }
                for entry in repo.entries.values()
            ]
            return _data({"Files": files, "IsVisual": 0, "LatestCommitter": {}})
        case ["repo"] if entry := repo.entries.get(fields.get("FilePath", "")):
            return _file(entry, headers, {"X-Linked-ETag": entry.sha256, "ETag": f'"{entry.sha256}"'})
        case _:
            return _json({"Code": 10010205001, "Message": "not found", "Success": False}, status=404)


def _file(entry: Entry, headers: Mapping[str, str], told: dict[str, str]) -> Said:
    told |= {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("range", ""))
    if match is None or match.groups() == ("", ""):
        return Said(200, told | {"Content-Length": str(entry.size)}, entry=entry, start=0, stop=entry.size)
    first, last = match.groups()
    start = int(first) if first else max(0, entry.size - int(last))
    stop = min(entry.size, int(last) + 1) if first and last else entry.size
    if start >= stop:
        return Said(416, {"Content-Range": f"bytes */{entry.size}", "Content-Length": "0"})
    told |= {"Content-Range": f"bytes {start}-{stop - 1}/{entry.size}", "Content-Length": str(stop - start)}
    return Said(206, told, entry=entry, start=start, stop=stop)


def _data(data: object) -> Said:
    return _json({"Code": 200, "Data": data, "Message": "success", "RequestId": "0", "Success": True})


def _refuse(status: int, code: str, headers: dict[str, str] | None = None) -> Said:
    return _json({"error": code}, {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})}, status)


def _json(document: object, headers: dict[str, str] | None = None, status: int = 200) -> Said:
    body = json.dumps(document).encode()
    form = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return Said(status, form | (headers or {}), body)
