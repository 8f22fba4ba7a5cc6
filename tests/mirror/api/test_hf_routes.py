"""Hugging Face routes, called without a socket: responses as clients expect them; no request crashes the mirror."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import git_sha1, sha256
from preheat.core.errors import AccessDenied, HubUnavailable, NoSpace, NotFound, PreheatError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs import hf_api
from preheat.mirror.api.folders import ServedSnapshot
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.messages import Answer, Request, Slice

COMMIT = "740dcaff396282ffb241903d150ac011cd4b1ede"
SHA256, GIT_SHA1 = "5f" * 32, "a6" * 20
REPOS = ("acme/tiny", "gpt2", "datasets/acme/rows", "spaces/acme/demo", "datasets/squad")
FILES = (
    File("config.json", 10, git_sha1(GIT_SHA1)),
    File("empty", 0, git_sha1(GIT_SHA1)),
    File("only/listed.bin", 5, sha256(SHA256)),
    File("voices/müde #1?.bin", 100, sha256(SHA256)),
)


def _find(ref: Ref) -> ServedSnapshot | None:
    name = ref.repo if ref.kind == "model" else f"{ref.kind}s/{ref.repo}"
    if ref.hub != "hf" or name not in REPOS or ref.revision not in ("main", "refs/pr/1", COMMIT):
        return None
    return ServedSnapshot(
        Snapshot(ref, COMMIT, FILES), lambda file: None if file.path.startswith("only") else Path("/kept") / file.path
    )


def _ask(target: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
    return answer(
        Request(method, target, {name.replace("_", "-"): value for name, value in headers.items()}, body), _find
    )


def _document(told: Answer) -> object:
    assert isinstance(told.body, bytes)
    document: object = json.loads(told.body)
    return document


@pytest.mark.parametrize("repo", REPOS)
@pytest.mark.parametrize("revision", ["main", COMMIT, "refs%2Fpr%2F1"])
def test_serves_a_file_with_the_headers_that_clients_require(repo: str, revision: str) -> None:
    told = _ask(f"/{repo}/resolve/{revision}/voices/m%C3%BCde%20%231%3F.bin?download=true")
    assert told.status == 200
    assert told.body == Slice(Path("/kept/voices/müde #1?.bin"), 0, 100)
    assert told.headers["X-Repo-Commit"] == COMMIT
    assert told.headers["ETag"] == told.headers["X-Linked-Etag"] == f'"{SHA256}"'
    assert told.headers["Content-Length"] == told.headers["X-Linked-Size"] == "100"
    assert told.headers["Accept-Ranges"] == "bytes"
    assert not [name for name in told.headers if "xet" in name.lower() or name == "Location"]


def test_a_file_outside_lfs_has_no_link_header() -> None:
    told = _ask("/acme/tiny/resolve/main/config.json")
    assert told.headers["ETag"] == f'"{GIT_SHA1}"'
    assert "X-Linked-Etag" not in told.headers


@pytest.mark.parametrize(
    "target",
    [
        "/acme/tiny/resolve/main/config.json",
        "/acme/tiny/resolve/main/none",
        "/api/models/gpt2",
        "/api/models/acme/tiny/tree/main",
        "/nothing/here",
    ],
)
def test_head_is_get_without_the_body(target: str) -> None:
    get, head = _ask(target), _ask(target, "HEAD")
    assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")


@pytest.mark.parametrize(
    ("asked", "status", "span", "said"),
    [
        ("bytes=0-0", 206, (0, 1), "bytes 0-0/100"),
        ("bytes=10-", 206, (10, 100), "bytes 10-99/100"),
        ("bytes=10-5000", 206, (10, 100), "bytes 10-99/100"),
        ("bytes=-7", 206, (93, 100), "bytes 93-99/100"),
        ("bytes=-700", 206, (0, 100), "bytes 0-99/100"),
        ("Bytes = 1-2", 206, (1, 3), "bytes 1-2/100"),
        ("bytes=100-", 416, None, "bytes */100"),
        ("bytes=-0", 416, None, "bytes */100"),
        ("bytes=5-3", 200, (0, 100), None),
        ("bytes=1-2,5-6", 200, (0, 100), None),
        ("bytes=-", 200, (0, 100), None),
        ("pages=1-2", 200, (0, 100), None),
        (f"bytes={'9' * 5000}-", 200, (0, 100), None),
        ("bytes=٣-٤", 200, (0, 100), None),
    ],
)
def test_serves_ranges(asked: str, status: int, span: tuple[int, int] | None, said: str | None) -> None:
    told = _ask("/gpt2/resolve/main/voices/m%C3%BCde%20%231%3F.bin", range=asked)
    assert (told.status, told.headers.get("Content-Range")) == (status, said)
    if span is not None:
        assert told.body == Slice(Path("/kept/voices/müde #1?.bin"), *span)
        assert told.headers["Content-Length"] == str(span[1] - span[0])


def test_an_empty_file_has_no_range() -> None:
    assert _ask("/gpt2/resolve/main/empty").status == 200
    assert _ask("/gpt2/resolve/main/empty", range="bytes=0-").status == 416


def test_conditional_requests_save_a_download_and_never_mix_two_files() -> None:
    target = "/acme/tiny/resolve/main/config.json"
    same, other = f'"{GIT_SHA1}"', f'"{"0" * 40}"'
    for condition in (same, f"{other}, W/{same}", "*"):
        told = _ask(target, if_none_match=condition)
        assert (told.status, told.body) == (304, b"")
        assert told.headers["X-Repo-Commit"] == COMMIT
    assert _ask(target, if_none_match=other).status == 200
    assert _ask(target, range="bytes=5-", if_range=same).status == 206
    assert _ask(target, range="bytes=5-", if_range=other).status == 200
    assert _ask(target, range="bytes=5-", if_range="Wed, 21 Oct 2015 07:28:00 GMT").status == 200
    assert _ask(target, "HEAD", range="bytes=5-").status == 200


@pytest.mark.parametrize(
    ("target", "status", "code", "commit"),
    [
        ("/acme/tiny/resolve/main/none", 404, "EntryNotFound", COMMIT),
        ("/acme/tiny/resolve/main/voices", 404, "EntryNotFound", COMMIT),
        ("/acme/tiny/resolve/v9/config.json", 404, "RevisionNotFound", None),
        ("/acme/none/resolve/main/config.json", 404, "RepoNotFound", None),
        ("/datasets/acme/tiny/resolve/main/config.json", 404, "RepoNotFound", None),
        ("/acme/tiny/resolve/%20/config.json", 404, "RevisionNotFound", None),
        ("/acme/tiny/resolve/main/only/listed.bin", 404, None, COMMIT),
        ("/acme/tiny/resolve/main/", 404, None, None),
        ("/acme/tiny/resolve/main", 404, None, None),
        ("/api/models/acme/none", 404, "RepoNotFound", None),
        ("/api/models/acme/tiny/revision/v9", 404, "RevisionNotFound", None),
        ("/api/models/acme/tiny/tree/v9", 404, "RevisionNotFound", None),
        ("/api/models/acme/tiny/tree/main/none", 404, "EntryNotFound", COMMIT),
        ("/api/models/acme/tiny/tree/main?cursor=x", 400, None, None),
        ("/api/models/acme/none/refs", 404, "RepoNotFound", None),
        ("/api/models/acme/tiny/xet-read-token/main", 404, None, None),
        ("/api/whoami-v2", 401, None, None),
        ("/api/agent-harnesses", 404, None, None),
        ("/", 404, None, None),
        ("", 404, None, None),
        ("*", 404, None, None),
    ],
)
def test_errors_have_the_form_that_clients_parse(
    target: str, status: int, code: str | None, commit: str | None
) -> None:
    told = _ask(target)
    assert (told.status, told.headers.get("X-Error-Code"), told.headers.get("X-Repo-Commit")) == (status, code, commit)
    assert told.headers["X-Error-Message"].isprintable()


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "..%5c..%5cetc",
        "config.json%00.txt",
        "config.json/",
        "./config.json%2F..",
        "%ff%fe",
        "%c0%ae%c0%ae/",
    ],
)
def test_no_path_leaves_the_repository(path: str) -> None:
    told = _ask(f"/acme/tiny/resolve/main/{path}")
    # A trailing slash may still mean the file, which is inside.
    assert told.status in (400, 404) or told.body == Slice(Path("/kept/config.json"), 0, 10)
    assert _ask(f"/api/models/acme/tiny/tree/main/{path}").status in (400, 404)
    assert _ask(f"/{path}/resolve/main/config.json").status in (400, 404)


def test_describes_a_repository() -> None:
    for target in ("/api/models/acme/tiny", "/api/models/acme/tiny/revision/main?blobs=true&expand=a&expand=b"):
        told = _ask(target)
        assert isinstance(told.body, bytes)
        info = hf_api.read_info(told.body, Ref.parse("acme/tiny"))
        assert (info.commit, info.files) == (COMMIT, FILES)


@pytest.mark.parametrize("kind", ["models/gpt2", "datasets/squad", "spaces/acme/demo"])
def test_supports_all_kinds_and_names_of_one_word(kind: str) -> None:
    for verb in ("", "/revision/main", "/tree/main", "/refs", f"/revision/{COMMIT}"):
        assert _ask(f"/api/{kind}{verb}").status == 200
    assert _ask(f"/api/{kind}/paths-info/main", "POST", b"paths=empty").status == 200


@pytest.mark.parametrize("recursive", ["true", "True", "1"])
def test_lists_a_tree(recursive: str) -> None:
    told = _document(_ask(f"/api/models/acme/tiny/tree/main?recursive={recursive}&expand=False"))
    assert isinstance(told, list)
    assert [(entry["type"], entry["path"]) for entry in told] == [
        ("file", "config.json"),
        ("file", "empty"),
        ("directory", "only"),
        ("file", "only/listed.bin"),
        ("directory", "voices"),
        ("file", "voices/müde #1?.bin"),
    ]
    flat = _document(_ask("/api/models/acme/tiny/tree/main?recursive=False"))
    assert isinstance(flat, list)
    assert [entry["path"] for entry in flat] == ["config.json", "empty", "only", "voices"]
    under = _document(_ask("/api/models/acme/tiny/tree/main/voices"))
    assert isinstance(under, list)
    assert [entry["path"] for entry in under] == ["voices/müde #1?.bin"]


@pytest.mark.parametrize("count", [0, 999, 1000, 1001, 2500])
def test_pages_link_to_each_other_until_all_entries_are_listed(count: int) -> None:
    files = tuple(File(f"d/{number:05}", 1, git_sha1(GIT_SHA1)) for number in range(count))

    def find(ref: Ref) -> ServedSnapshot | None:
        return ServedSnapshot(Snapshot(ref, COMMIT, files), lambda _file: None)

    def pages() -> Iterator[tuple[File, ...]]:
        url: str | None = "http://mirror:80/api/models/acme/tiny/tree/main/d?recursive=true&expand=False"
        while url is not None:
            parts = urlsplit(url)
            assert (parts.scheme, parts.netloc) == ("http", "mirror:80")
            told = answer(Request("GET", f"{parts.path}?{parts.query}", {"host": "mirror:80"}), find)
            if not count:
                assert told.status == 404
                return
            assert isinstance(told.body, bytes)
            page = hf_api.read_tree(told.body)
            assert len(page) <= 1000
            yield page
            url = hf_api.next_page(told.headers.get("Link"))

    assert tuple(file for page in pages() for file in page) == files


def test_a_link_is_https_if_a_proxy_reports_that_the_client_used_it() -> None:
    files = tuple(File(f"{number}", 1, git_sha1(GIT_SHA1)) for number in range(1001))
    headers = {"host": "mirror.example", "x-forwarded-proto": "https"}
    found = ServedSnapshot(Snapshot(Ref.parse("acme/tiny"), COMMIT, files), lambda _file: None)
    link = answer(Request("GET", "/api/models/acme/tiny/tree/main", headers), lambda _ref: found).headers["Link"]
    assert link.startswith("<https://mirror.example/api/models/acme/tiny/tree/main?cursor=1000>")


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("application/x-www-form-urlencoded", b"paths=empty&paths=voices&paths=none&expand=False"),
        ("application/json", b'{"paths": ["empty", "voices", "none"], "expand": false}'),
    ],
)
def test_describes_the_requested_paths(form: str, body: bytes) -> None:
    told = _document(_ask("/api/models/acme/tiny/paths-info/main", "POST", body, content_type=form))
    assert isinstance(told, list)
    assert [(entry["type"], entry["path"]) for entry in told] == [("file", "empty"), ("directory", "voices")]


@pytest.mark.parametrize(
    "body", [b"{", b"[" * 50_000, b'{"paths": 1}', b'{"paths": ["\xff"]}', b'{"paths": ["\\ud800"]}']
)
def test_unreadable_path_lists_are_client_errors(body: bytes) -> None:
    told = _ask("/api/models/acme/tiny/paths-info/main", "POST", body, content_type="application/json")
    assert told.status == 400


def test_lists_the_commits_of_branches() -> None:
    assert _document(_ask("/api/models/acme/tiny/refs")) == {
        "branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": COMMIT}],
        "tags": [],
        "converts": [],
    }


def test_only_reading_methods_are_allowed() -> None:
    told = _ask("/acme/tiny/resolve/main/config.json", "DELETE")
    assert (told.status, told.headers["Allow"]) == (405, "GET, HEAD")
    assert _ask("/api/models/acme/tiny/paths-info/main").headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("no"), 404),
        (AccessDenied("no"), 401),
        (AccessDenied("no", gated=True), 401),
        (NoSpace("full"), 507),
        (HubUnavailable("later", wait_s=7.4), 503),
        (PreheatError("ü\r\nSet-Cookie: a"), 502),
    ],
)
def test_errors_raised_by_find_become_responses(error: PreheatError, status: int) -> None:
    def find(ref: Ref) -> ServedSnapshot | None:
        raise error

    told = answer(Request("GET", "/acme/tiny/resolve/main/config.json"), find)
    assert told.status == status
    assert told.headers["X-Error-Message"].isascii()
    assert told.headers["X-Error-Message"].isprintable()
    assert told.headers.get("Retry-After") == ("7" if status == 503 else None)
    gated = isinstance(error, AccessDenied) and error.gated
    code = "RepoNotFound" if isinstance(error, NotFound) else "GatedRepo" if gated else None
    assert told.headers.get("X-Error-Code") == code
    told = answer(Request("GET", "/acme/tiny/resolve/main/config.json", {"authorization": "Bearer a"}), find)
    assert told.status == (403 if status == 401 else status)


_words = st.one_of(
    st.sampled_from(
        "api models datasets spaces acme tiny gpt2 resolve main tree revision refs paths-info config.json voices "
        f". .. %2e%2e %2F %00 % %ff @ : {COMMIT}".split(" ")
    ),
    st.text(max_size=6),
    st.text(max_size=6).map(lambda text: quote(text.encode("utf-8", "replace"), safe="")),
)
_queries = st.sampled_from(
    ["", "?recursive=true", "?cursor=5", "?cursor=-1", "?blobs=true", "?=&=%", "#x", "?" + "a&" * 9]
)
_targets = st.builds(lambda words, query: "/" + "/".join(words) + query, st.lists(_words, max_size=8), _queries)
_headers = st.dictionaries(
    st.sampled_from(["range", "if-range", "if-none-match", "content-type", "host", "x-forwarded-proto"]),
    st.one_of(st.text(), st.sampled_from(["bytes=0-", "bytes=-1", "*", "application/json", f'"{GIT_SHA1}"'])),
)


@given(
    st.builds(
        Request,
        st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "BREW"]),
        st.one_of(_targets, st.text()),
        _headers,
        st.binary(),
    )
)
def test_no_request_crashes_the_mirror(request: Request) -> None:
    told = answer(request, _find)
    assert told.status < 500
    assert "Content-Length" in told.headers or told.status == 304
    for name, value in told.headers.items():
        assert f"{name}{value}".isascii()
        assert f"{name}{value}".isprintable()
    if isinstance(told.body, Slice):
        assert told.body.path in [Path("/kept") / file.path for file in FILES]
    elif request.method != "HEAD" and told.status != 304:
        assert isinstance(told.body, bytes)
        assert told.headers["Content-Length"] == str(len(told.body))


@given(st.text("0123456789-=, bytes", max_size=20), st.integers(0, 50))
def test_a_range_stays_within_the_file(header: str, size: int) -> None:
    file = File("f", size, git_sha1(GIT_SHA1))
    found = ServedSnapshot(Snapshot(Ref.parse("acme/tiny"), COMMIT, (file,)), lambda _file: Path("/kept/f"))
    told = answer(Request("GET", "/acme/tiny/resolve/main/f", {"range": f"bytes={header}"}), lambda _ref: found)
    if isinstance(told.body, Slice):
        assert 0 <= told.body.start <= told.body.stop <= size
        assert told.headers["Content-Length"] == str(told.body.stop - told.body.start)
