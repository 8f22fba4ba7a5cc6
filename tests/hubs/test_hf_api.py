"""The Hugging Face API: documented responses are parsed, ours are read back, and anything else is rejected."""

import hashlib
import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import Digest, git_sha1, sha256
from preheat.core.errors import AccessDenied, HubError, HubUnavailable, IntegrityError, NotFound, PreheatError
from preheat.core.ref import DATASET, MODEL, SPACE, Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs import hf_api
from preheat.mirror.api import hf_answers

# Written like the responses of the real hub, with invented names and digests.
GOLDEN = Path(__file__).parents[1] / "golden" / "hf"
COMMIT = "740dcaff396282ffb241903d150ac011cd4b1ede"
REF = Ref.parse("acme/tiny")
FILES = (
    File(".gitattributes", 1519, git_sha1("a6344aac8c09253b3b630fb776ae94478aa0275b")),
    File("README.md", 0, git_sha1("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")),
    File(
        "qwen/model.safetensors",
        1192135096,
        sha256("5f6c1d3a2b4e8f7091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708"),
    ),
)

_hex = st.sampled_from("0123456789abcdef")
_digests = st.one_of(
    st.text(_hex, min_size=64, max_size=64).map(sha256), st.text(_hex, min_size=40, max_size=40).map(git_sha1)
)
_segments = st.text("ab.é漢 #?%+&=~'\"<>", min_size=1, max_size=5).filter(lambda text: text not in (".", ".."))
_paths = st.lists(_segments, min_size=1, max_size=3).map("/".join)
_refs = st.builds(
    Ref,
    st.just("hf"),
    st.sampled_from([MODEL, DATASET, SPACE]),
    st.sampled_from(["acme/tiny", "gpt2"]),
    st.just("main"),
)


def _is_file_twice(paths: list[str]) -> bool:
    return any(other.startswith(f"{path}/") for path in paths for other in paths)


_snapshots = st.builds(
    lambda ref, paths, sizes, digests: Snapshot(ref, COMMIT, tuple(map(File, paths, sizes, digests))),
    _refs,
    st.lists(_paths, max_size=8, unique=True).filter(lambda paths: not _is_file_twice(paths)),
    st.lists(st.integers(0, 2**50), min_size=8, max_size=8),
    st.lists(_digests, min_size=8, max_size=8),
)


def _golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def test_parses_the_description_of_a_revision() -> None:
    info = hf_api.read_info(_golden("revision-blobs.json"), REF)
    assert (info.commit, info.private, info.gated) == (COMMIT, False, True)
    assert info.files == FILES


def test_files_without_sizes_are_left_to_the_tree_listing() -> None:
    assert hf_api.read_info(_golden("revision-plain.json"), REF).files is None
    assert hf_api.read_tree(_golden("tree-recursive.json")) == FILES


def test_an_empty_repository_has_no_files_and_is_not_unknown() -> None:
    assert hf_api.read_info(json.dumps({"sha": COMMIT, "siblings": []}).encode(), REF).files == ()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"", "is invalid"),
        (b"<html>login</html>", "is invalid"),
        (b"[" * 100_000, "is invalid"),
        (b'{"sha": 7}', "is invalid"),
        (b'{"id": "acme/tiny"}', "sha"),
        (b'{"sha": "main"}', "invalid commit"),
        (b'{"sha": "../../../etc"}', "invalid commit"),
        (
            json.dumps({"sha": COMMIT, "siblings": [{"rfilename": "a", "size": 1, "blobId": "xyz"}]}).encode(),
            "invalid digest",
        ),
    ],
)
def test_an_invalid_description_raises_with_the_reason(document: bytes, words: str) -> None:
    with pytest.raises(HubError, match=words):
        hf_api.read_info(document, REF)


def test_a_path_that_leaves_the_folder_is_rejected() -> None:
    sibling = {"rfilename": "../../.bashrc", "size": 1, "blobId": "0" * 40}
    with pytest.raises(IntegrityError):
        hf_api.read_info(json.dumps({"sha": COMMIT, "siblings": [sibling]}).encode(), REF)


def test_a_listed_file_must_have_a_size() -> None:
    with pytest.raises(HubError, match="without its size"):
        hf_api.read_tree(json.dumps([{"type": "file", "path": "a", "oid": "0" * 40}]).encode())


@given(_snapshots)
def test_the_mirrors_documents_are_read_back(snapshot: Snapshot) -> None:
    info = hf_api.read_info(hf_answers.write_info(snapshot), snapshot.ref)
    assert (info.commit, info.files) == (snapshot.commit, snapshot.files)
    in_order = tuple(sorted(snapshot.files, key=lambda file: file.path))
    assert hf_api.read_tree(hf_answers.write_entries(hf_answers.list_tree(snapshot, recursive=True))) == in_order


@given(_snapshots)
def test_listing_folder_by_folder_finds_the_same_as_a_recursive_listing(snapshot: Snapshot) -> None:
    walked, folders = [], [""]
    while folders:
        for entry in hf_answers.list_tree(snapshot, folders.pop(), recursive=False):
            walked.append(entry)
            if entry.type == "directory":
                folders.append(entry.path)
    assert sorted(walked, key=lambda entry: entry.path) == list(hf_answers.list_tree(snapshot, recursive=True))
    assert hf_answers.list_paths(snapshot, [entry.path for entry in walked]) == walked


@given(_refs, st.text("abé/ #?%-", min_size=1), _paths)
def test_api_paths_are_ascii_and_decode_to_the_original_names(ref: Ref, revision: str, path: str) -> None:
    url = hf_api.resolve_path(ref, revision, path)
    assert url.isascii()
    assert " " not in url
    parts = urlsplit(f"http://hub{url}")
    assert not parts.query
    prefix = f"/{ref.repo}" if ref.kind == MODEL else f"/{ref.kind}s/{ref.repo}"
    assert unquote(parts.path) == f"{prefix}/resolve/{revision}/{path}"
    assert parts.path.count("/") == prefix.count("/") + 2 + len(path.split("/"))


def test_api_paths_are_those_of_the_hub() -> None:
    pull_request = Ref.parse("hf:datasets/acme/rows@refs/pr/1")
    assert hf_api.info_path(pull_request) == "/api/datasets/acme/rows/revision/refs%2Fpr%2F1?blobs=true"
    assert hf_api.tree_path(REF, COMMIT) == f"/api/models/acme/tiny/tree/{COMMIT}?recursive=true&expand=false"
    assert hf_api.resolve_path(REF, COMMIT, "a b/c.bin") == f"/acme/tiny/resolve/{COMMIT}/a%20b/c.bin"


@pytest.mark.parametrize(
    ("link", "page"),
    [
        (None, None),
        ("", None),
        (
            '<https://hub/api/tree?cursor=Zm9v%3D&limit=1000>; rel="next"',
            "https://hub/api/tree?cursor=Zm9v%3D&limit=1000",
        ),
        ('<https://hub/?a=1,2>; rel="prev", <https://hub/?a=2;3>; rel="next"', "https://hub/?a=2;3"),
        ("</page/2>; title=two; rel=next", "/page/2"),
        ('<https://hub/>; rel="last"', None),
        # A backtracking pattern would take minutes to hours for each of these.
        ("<" * 60_000, None),
        ("<>;" + " " * 60_000, None),
        ("<>" + "; rel=" * 10_000, None),
        ("<>;" + " rel" * 15_000 + "=", None),
    ],
)
def test_finds_the_next_page(link: str | None, page: str | None) -> None:
    assert hf_api.next_page(link) == page


@pytest.mark.parametrize(
    ("status", "headers", "kind", "words"),
    [
        (404, {"X-Error-Code": "RepoNotFound"}, NotFound, "no such repository"),
        (401, {"X-Error-Code": "RepoNotFound"}, NotFound, "no such repository"),
        (404, {"x-error-code": "RevisionNotFound"}, NotFound, "no such revision"),
        (404, {"X-Error-Code": "EntryNotFound"}, NotFound, "no such file"),
        (404, {}, NotFound, "no such repository"),
        (403, {"X-Error-Code": "GatedRepo"}, AccessDenied, "gated"),
        (401, {"X-Error-Code": "GatedRepo"}, AccessDenied, "gated"),
        (403, {"X-Error-Message": "Access to this resource is disabled."}, AccessDenied, "disabled"),
        (401, {"X-Error-Message": "Invalid username or password."}, AccessDenied, "Invalid username"),
        (429, {}, HubUnavailable, "slow down"),
        (503, {}, HubUnavailable, "503"),
        (408, {}, HubUnavailable, "408"),
        (418, {}, HubError, "418"),
    ],
)
def test_errors_are_explained(status: int, headers: dict[str, str], kind: type[HubError], words: str) -> None:
    error = hf_api.read_error(status, headers, "hf:acme/tiny")
    assert type(error) is kind
    assert error.message.startswith("hf:acme/tiny")
    assert words in error.message


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:10 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 10.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Wed, 21 Oct 2015 07:28:10 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "7\x1f"}, 7.0),  # white space to a regular expression, but not to float()
        ({"RateLimit": '"api";r=0;t=55'}, 55.0),
    ],
)
def test_parses_the_time_to_wait(headers: dict[str, str], wait_s: float | None) -> None:
    error = hf_api.read_error(429, headers, "hf:acme/tiny")
    assert isinstance(error, HubUnavailable)
    assert error.wait_s == wait_s


@given(
    st.integers(400, 599),
    st.dictionaries(
        st.sampled_from(["X-Error-Code", "X-Error-Message", "Retry-After", "Date", "RateLimit"]), st.text()
    ),
)
def test_any_error_message_fits_on_a_line(status: int, headers: dict[str, str]) -> None:
    error = hf_api.read_error(status, headers, "hf:acme/tiny")
    assert isinstance(error, HubError)
    assert error.message.isprintable()
    assert len(error.message) < 400


@given(st.sampled_from(["revision-blobs.json", "tree-recursive.json"]), st.data())
def test_a_damaged_document_raises_our_error_or_gives_a_valid_value(name: str, data: st.DataObject) -> None:
    document = _golden(name)
    start = data.draw(st.integers(0, len(document)))
    stop = data.draw(st.integers(start, min(len(document), start + 40)))
    damaged = document[:start] + data.draw(st.binary(max_size=20)) + document[stop:]
    for read in (lambda: hf_api.read_info(damaged, REF), lambda: hf_api.read_tree(damaged)):
        try:
            read()
        except PreheatError as error:
            assert isinstance(error, HubError | IntegrityError)  # noqa: PT017 - which of our errors is the question


def test_an_lfs_file_is_named_by_its_pointer_as_in_git() -> None:
    content = b"hello\n"
    file = File("a.bin", len(content), Digest("sha256", hashlib.sha256(content).hexdigest()))
    pointer = hf_answers.lfs_pointer(file)
    assert pointer == (
        b"version https://git-lfs.github.com/spec/v1\n"
        b"oid sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\n"
        b"size 6\n"
    )
    # printf '...' | git hash-object --stdin
    assert hf_answers.git_oid(file) == hashlib.sha1(b"blob 126\0" + pointer).hexdigest()
    [entry] = hf_answers.list_tree(Snapshot(REF, COMMIT, (file,)), recursive=True)
    assert json.loads(hf_answers.write_entries([entry]))[0]["lfs"]["pointerSize"] == 126
