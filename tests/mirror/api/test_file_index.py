"""A repository's page: a working link for each file; names in it cannot become markup."""

import re
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import git_sha1, sha256
from preheat.core.errors import PreheatError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.mirror.api.file_index import write_index
from preheat.mirror.api.folders import ServedSnapshot
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.messages import Answer, Request, Slice

COMMIT = "740dcaff396282ffb241903d150ac011cd4b1ede"
FILES = (
    File('<img src=x onerror="alert(1)">.bin', 5, sha256("5f" * 32)),
    File("voices/müde & #1?.txt", 10, git_sha1("a6" * 20)),
)


def _ask(target: str, method: str = "GET") -> Answer:
    def find(ref: Ref) -> ServedSnapshot | None:
        names = ("acme/tiny", "gpt2", "acme/rows")
        return (
            ServedSnapshot(Snapshot(ref, COMMIT, FILES), lambda file: Path("/kept") / file.digest.hex)
            if ref.repo in names
            else None
        )

    return answer(Request(method, target), find)


@pytest.mark.parametrize(
    "target", ["/acme/tiny", "/acme/tiny/", "/gpt2", "/datasets/acme/rows", "/spaces/acme/tiny", "/models/acme/tiny"]
)
def test_each_link_leads_to_its_file(target: str) -> None:
    told = _ask(target)
    assert (told.status, told.headers["X-Repo-Commit"]) == (200, COMMIT)
    assert "default-src 'none'" in told.headers["Content-Security-Policy"]
    assert isinstance(told.body, bytes)
    links = [unescape(link) for link in re.findall(r'href="([^"]*)"', told.body.decode())]
    places = [_ask(link).body for link in links]
    assert places == [Slice(Path("/kept") / file.digest.hex, 0, file.size) for file in FILES]


def test_no_name_becomes_markup() -> None:
    body = write_index(Snapshot(Ref.parse("acme/tiny"), COMMIT, FILES)).decode()
    assert "<img" not in body
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;" in body


@given(st.text(min_size=1, max_size=20))
def test_the_page_has_the_same_tags_for_any_file_name(name: str) -> None:
    try:
        snapshot = Snapshot(Ref.parse("acme/tiny"), COMMIT, (File(name, 1, sha256("5f" * 32)),))
        body = write_index(snapshot).decode()
    except (PreheatError, UnicodeEncodeError):
        return  # clients of hubs reject such a name
    assert re.findall(r"<(\w+)", body.partition("<body>")[2]) == ["h1", "p", "table", "tr", "td", "a", "bdi", "td"]


@pytest.mark.parametrize(
    "target", ["/", "/acme/none", "/favicon.ico", "/robots.txt", "/a b", "/..", "/acme/..%2f", "/acme/tiny/more"]
)
def test_an_unknown_repository_has_no_page(target: str) -> None:
    assert _ask(target).status == 404


def test_the_page_supports_only_reading_methods() -> None:
    assert _ask("/acme/tiny", "POST").status == 405
    assert _ask("/acme/tiny", "HEAD").body == b""
