"""Prepared answers: responses of hubs' APIs that were computed in advance, and found by request; pure.

A container has the guard and no mirror. The file with the answers is written by `build` and `serve-config compose`:

    {"form": 1, "environ": {NAME: VALUE}, "secure": {NAME: VALUE},
     "answers": {PATH: [ANSWER, …]}, "below": {PREFIX: ANSWER}}

`environ` are the variables that lead clients here, `secure` those of clients that require TLS; `{url}`, `{host}` and
`{trusted}` in them are replaced by the server's URL, its host and port, and a CA file. A PATH is decoded, and has the
answers of requests with different queries; the first one whose `query` accepts the request counts. A path that is not
listed has the answer of its longest PREFIX.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Sequence, Tuple
from urllib.parse import parse_qs, unquote, urlsplit

from preheat.guard.kernel.descriptors import open_text
from preheat.guard.net.byte_ranges import matches_etag, read_range

FORM = 1
_MOST_FIELDS = 20_000


@dataclass(frozen=True)
class PreparedAnswer:
    """A response: `body`, the file of `size` bytes at `file`, or those of `entries` whose paths are in the request.

    `query` maps each parameter that matters to the accepted values; "" stands for a missing one.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    body: str = ""
    file: str = ""
    size: int = 0
    entries: Mapping[str, Any] | None = None

    def accepts(self, query: Mapping[str, str]) -> bool:
        """Return whether this answers a request with that query."""
        return all(query.get(name, "") in accepted for name, accepted in self.query.items())


@dataclass(frozen=True)
class HttpAnswer:
    """What to send: status, headers and a body, or the bytes `start` to `stop` (exclusive) of `file`."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    file: str = ""
    size: int = 0
    start: int = 0
    stop: int = 0


@dataclass(frozen=True)
class PreparedAnswers:
    """All answers of a file, and the variables that lead clients to their server."""

    environ: Mapping[str, str]
    secure: Mapping[str, str]
    answers: Mapping[str, Sequence[PreparedAnswer]]
    below: Mapping[str, PreparedAnswer]

    def find(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> HttpAnswer:
        """Return the response to a request. `headers` have names in lower case. The body of HEAD is not omitted."""
        if method not in ("GET", "HEAD", "POST"):
            return HttpAnswer(405, {"Allow": "GET, HEAD, POST"})
        try:
            parts = urlsplit(target)
            path = unquote(parts.path).rstrip("/")
            query = {name: values[-1] for name, values in _fields(parts.query).items()}
            answer = self._answer(path, query)
            if answer is None:
                return HttpAnswer(404, {})
            if answer.entries is not None:
                return _listed(answer, _paths(headers, body))
        except ValueError:
            return HttpAnswer(400, {})
        return _file(answer, method, headers) if answer.file else _text(answer, answer.body)

    def _answer(self, path: str, query: Mapping[str, str]) -> PreparedAnswer | None:
        known = next((one for one in self.answers.get(path, ()) if one.accepts(query)), None)
        if known is not None:
            return known
        prefixes = [prefix for prefix in self.below if path.startswith(prefix)]
        return self.below[max(prefixes, key=len)] if prefixes else None


def read_answers(path: str) -> PreparedAnswers:
    """Read a file of prepared answers. Raise ValueError with a message for the user."""
    try:
        with open_text(path) as file:
            told = json.load(file)
        if told["form"] != FORM:
            raise ValueError(f"form {told['form']} is not known to this guard")
        return PreparedAnswers(
            _variables(told["environ"]),
            _variables(told["secure"]),
            {str(at): [PreparedAnswer(**one) for one in some] for at, some in told["answers"].items()},
            {str(at): PreparedAnswer(**one) for at, one in told["below"].items()},
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error


def _variables(told: Mapping[str, object]) -> Dict[str, str]:
    return {str(name): str(value) for name, value in told.items()}


def _fields(text: str) -> Dict[str, list[str]]:
    return parse_qs(text, max_num_fields=_MOST_FIELDS, keep_blank_values=True) if text else {}


def _paths(headers: Mapping[str, str], body: bytes) -> Sequence[str]:
    """Return the paths that a request lists, as JSON or as a form."""
    if not headers.get("content-type", "").lower().startswith("application/json"):
        return _fields(body.decode()).get("paths", [])
    told = json.loads(body)
    paths = told.get("paths", []) if isinstance(told, dict) else []
    return [paths] if isinstance(paths, str) else [str(path) for path in paths]


def _listed(answer: PreparedAnswer, paths: Sequence[str]) -> HttpAnswer:
    entries = answer.entries or {}
    wanted = [path.strip("/") for path in dict.fromkeys(paths)]
    return _text(answer, json.dumps([entries[path] for path in wanted if path in entries]))


def _text(answer: PreparedAnswer, text: str) -> HttpAnswer:
    return HttpAnswer(answer.status, answer.headers, text.encode())


def _file(answer: PreparedAnswer, method: str, headers: Mapping[str, str]) -> HttpAnswer:
    etag = answer.headers.get("ETag", "")
    if etag and matches_etag(headers.get("if-none-match", ""), etag):
        return HttpAnswer(304, {name: value for name, value in answer.headers.items() if name != "Content-Type"})
    wanted: Tuple[int, int] | None = None
    if method == "GET" and headers.get("if-range", etag) == etag:
        wanted = read_range(headers.get("range", ""), answer.size)
    if wanted is None:
        return HttpAnswer(answer.status, answer.headers, b"", answer.file, answer.size, 0, answer.size)
    start, stop = wanted
    if start >= stop:
        return HttpAnswer(416, {"Content-Range": f"bytes */{answer.size}"})
    told = {**answer.headers, "Content-Range": f"bytes {start}-{stop - 1}/{answer.size}"}
    return HttpAnswer(206, told, b"", answer.file, answer.size, start, stop)
