"""Prepare answers: compute the hubs' responses about an app's needs, for a container's guard to serve.

The mirror answers each request that the hubs' clients can make about the files of the needs: it alone knows the APIs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, unquote, urlencode

from preheat.core.digest import Digest
from preheat.core.ref import DATASET, HUGGING_FACE, MODEL, MODELSCOPE, SPACE, Ref
from preheat.core.snapshot import Snapshot
from preheat.guard.net.prepared_answers import FORM
from preheat.library.library import Library
from preheat.mirror.api.folders import Find, ServedSnapshot
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.api.ms_answers import file_revision
from preheat.mirror.http.messages import Answer, Request, Slice
from preheat.mirror.upstream.recorded_find import Kept
from preheat.verbs.local_hub import needs_alone
from preheat.verbs.locked_needs import Required

_OK = 200
_MS = "/api/v1"
_HOST = "preheat.invalid"
# A name that no repository has, for the response about any unknown file; the response's message contains it.
_UNKNOWN = "such-file"
# Accepted values of query parameters; "" is a missing one.
_TRUE, _FIRST, _ROOT = ("true", "True", "TRUE", "1"), ("", "1"), ("", "/")
_MOST_PAGE = "999999"
_ENVIRON = {"HF_ENDPOINT": "{url}", "MODELSCOPE_ENDPOINT": "{url}", "HF_HUB_DISABLE_XET": "1"}
# modelscope up to 1.37 always uses https (modelscope/hub/utils/utils.py).
_SECURE = {"MODELSCOPE_DOMAIN": "{host}", "REQUESTS_CA_BUNDLE": "{trusted}"}


@dataclass(slots=True)
class _Document:
    """The answers so far; `find` finds the needs, `places` maps a blob's path to that in the container, maybe "".

    The paths of requests are encoded.
    """

    find: Find
    places: Mapping[str, str]
    answers: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    below: dict[str, dict[str, object]] = field(default_factory=dict)

    def ask(
        self, path: str, query: Mapping[str, str] | None = None, accepted: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Add the answer to GET `path?query`, for requests whose query has the `accepted` values; skip refusals."""
        told = self._told(self._given(path, query or {}))
        if told is not None:
            self._add(path, {**told, "query": accepted} if accepted else told)

    def ask_entries(self, path: str, paths: list[str]) -> None:
        """Add the answer to POST `path`, which lists those of `paths` that a request names."""
        body = json.dumps({"paths": paths}).encode()
        given = answer(Request("POST", path, {"content-type": "application/json"}, body), self.find)
        if given.status == _OK and isinstance(given.body, bytes):
            entries = {one["path"]: one for one in json.loads(given.body)}
            self._add(path, {"status": _OK, "headers": _headers(given), "entries": entries})

    def refuse_below(self, prefix: str, path: str) -> None:
        """Give all unlisted paths that begin with `prefix` the answer of `path`."""
        given = self._given(path, {})
        headers = {name: value for name, value in _headers(given).items() if name != "X-Error-Message"}
        body = given.body.decode() if isinstance(given.body, bytes) else ""
        self.below[unquote(prefix)] = {"status": given.status, "headers": headers, "body": body}

    def text(self) -> str:
        """Return the document."""
        secure = _SECURE if any(path.startswith(f"{_MS}/") for path in self.answers) else {}
        told = {"form": FORM, "environ": _ENVIRON, "secure": secure, "answers": self.answers, "below": self.below}
        return json.dumps(told, ensure_ascii=False, sort_keys=True)

    def _add(self, path: str, told: dict[str, object]) -> None:
        known = self.answers.setdefault(unquote(path), [])
        if told not in known:  # two needs may have files of the same version
            known.append(told)

    def _given(self, path: str, query: Mapping[str, str]) -> Answer:
        target = f"{path}{'?' if query else ''}{urlencode(query)}"
        return answer(Request("GET", target, {"host": _HOST}), self.find)

    def _told(self, given: Answer) -> dict[str, object] | None:
        """Return an answer as the document has it; None for a refusal, and for a file that the container lacks."""
        told: dict[str, object] = {"status": given.status, "headers": _headers(given)}
        if given.status != _OK:
            return None
        if isinstance(given.body, bytes):
            return {**told, "body": given.body.decode()}
        assert isinstance(given.body, Slice), "the needs are complete"
        at = self.places[str(given.body.path)]
        return {**told, "file": at, "size": given.body.stop} if at else None


def prepare_answers(needed: Required, library: Library, locate: Callable[[Digest], str]) -> str:
    """Return the text of the answers' file; `locate` returns a blob's path in the container, or "" if it lacks it."""
    asked = tuple((need, one) for need, one in needed if need.ref.hub in (HUGGING_FACE, MODELSCOPE) and not need.unpack)
    with TemporaryDirectory(prefix="preheat-needs-") as folder:
        alone = needs_alone(asked, library, Path(folder))
        find = Kept(alone).find
        places = {alone.location(file.digest): locate(file.digest) for _, one in asked for file in one.files}
        document = _Document(find, places)
        for snapshot in dict.fromkeys(snapshot for _, snapshot in asked):
            found = find(snapshot.ref.at(snapshot.commit))
            assert found is not None, "it was just recorded"
            if snapshot.ref.hub == HUGGING_FACE:
                _add_hf(document, snapshot.ref, found.snapshot)
            else:
                _add_ms(document, snapshot.ref, found)
        document.refuse_below("/", f"/no/{_UNKNOWN}/resolve/main/file")
        document.refuse_below("/api/", f"/api/{_UNKNOWN}")
        for kind in (MODEL, DATASET, SPACE):
            document.refuse_below(f"/api/{kind}s/", f"/api/{kind}s/no/{_UNKNOWN}")
        document.refuse_below(f"{_MS}/", f"{_MS}/models/no/{_UNKNOWN}")
        return document.text()


def _add_hf(document: _Document, ref: Ref, snapshot: Snapshot) -> None:
    api = f"/api/{ref.kind}s/{ref.repo}"
    files = f"/{ref.repo}" if ref.kind == MODEL else f"/{ref.kind}s/{ref.repo}"
    folders = _folders(snapshot)
    document.ask(api)
    document.ask(f"{api}/refs")
    document.refuse_below(f"{api}/", f"{api}/revision/{_UNKNOWN}")
    document.refuse_below(f"{files}/resolve/", f"{files}/resolve/{_UNKNOWN}/{_UNKNOWN}")
    for revision in (quote(one, safe="") for one in _revisions(ref, snapshot)):
        document.ask(f"{api}/revision/{revision}")
        for folder in folders:
            at = f"{api}/tree/{revision}{'/' if folder else ''}{quote(folder)}"
            document.ask(at, {"recursive": "true"}, {"recursive": _TRUE})
            document.ask(at)
        document.ask_entries(f"{api}/paths-info/{revision}", [*(file.path for file in snapshot.files), *folders])
        for file in snapshot.files:
            document.ask(f"{files}/resolve/{revision}/{quote(file.path)}")
        document.refuse_below(f"{api}/tree/{revision}/", f"{api}/tree/{revision}/{_UNKNOWN}")
        document.refuse_below(f"{files}/resolve/{revision}/", f"{files}/resolve/{revision}/{_UNKNOWN}")


def _add_ms(document: _Document, ref: Ref, found: ServedSnapshot) -> None:
    api = f"{_MS}/{ref.kind}s/{ref.repo}"
    document.ask(api)
    document.ask(f"{api}/revisions")
    for revision in _revisions(ref, found.snapshot):
        named = {"Revision": (revision, "") if revision == ref.branch else (revision,)}
        for folder in _folders(found.snapshot):
            asked = {"Revision": revision, "Root": folder}
            accepted = {**named, "Root": (folder, f"/{folder}", f"{folder}/") if folder else _ROOT}
            for query, values in (({"Recursive": "true"}, {"Recursive": _TRUE}), ({}, {})):
                _list_ms(document, api, ref.kind, asked | query, {**accepted, **values})
        for file in found.snapshot.files:
            asked = {"Revision": revision, "FilePath": file.path}
            document.ask(f"{api}/repo", asked, {**named, "FilePath": (file.path,)})
    for file in found.snapshot.files:
        own = file_revision(found, file)  # as listings name it
        document.ask(
            f"{api}/repo", {"Revision": own, "FilePath": file.path}, {"Revision": (own,), "FilePath": (file.path,)}
        )


def _list_ms(
    document: _Document, api: str, kind: str, query: Mapping[str, str], accepted: Mapping[str, Sequence[str]]
) -> None:
    if kind == MODEL:
        document.ask(f"{api}/repo/files", query, accepted)
        return
    # The first page has everything, and the others nothing.
    pages = f"{api}/repo/tree"
    document.ask(pages, {**query, "PageSize": _MOST_PAGE}, {**accepted, "PageNumber": _FIRST})
    document.ask(pages, {**query, "PageSize": _MOST_PAGE, "PageNumber": "2"}, accepted)


def _revisions(ref: Ref, snapshot: Snapshot) -> list[str]:
    """Return the names by which a client may ask for the version: the default branch, the ref's own, the commit."""
    return [one for one in dict.fromkeys((ref.branch, ref.revision, snapshot.commit)) if one]


def _folders(snapshot: Snapshot) -> list[str]:
    """Return all folders, the top one as ""."""
    found = {""}
    for file in snapshot.files:
        parent = file.path.rpartition("/")[0]
        while parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return sorted(found)


def _headers(given: Answer) -> dict[str, str]:
    told = {name: value.replace(f"http://{_HOST}", "{url}") for name, value in given.headers.items()}
    return {name: value for name, value in told.items() if name != "Content-Length"}
