"""ModelScope routes, called without a socket: responses as clients expect them; no request crashes the mirror."""

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import git_sha1, sha256
from preheat.core.errors import AccessDenied, HubUnavailable, NotFound, PreheatError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.ms_documents import MOST_ENTRIES
from preheat.mirror.api.folders import ServedSnapshot, Shelf
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.messages import Answer, Request, Slice

COMMIT, HEX = "740dcaff396282ffb241903d150ac011cd4b1ede", "5f" * 32
FILES = (
    File("config.json", 10, sha256("a6" * 32)),
    File("only/listed.bin", 5, sha256("b7" * 32)),
    File("voices/müde & #1?.bin", 100, sha256(HEX)),
)
MODEL = "/api/v1/models/acme/tiny"


def _find(ref: Ref) -> ServedSnapshot | None:
    if (ref.hub, ref.repo) != ("ms", "acme/tiny") or ref.revision not in ("master", "v1", COMMIT):
        return None
    return ServedSnapshot(
        Snapshot(ref, COMMIT, FILES), lambda file: None if file.path.startswith("only") else Path("/kept") / file.path
    )


def _ask(target: str, method: str = "GET", **headers: str) -> Answer:
    return answer(Request(method, target, headers), _find)


def _document(told: Answer) -> Any:
    assert isinstance(told.body, bytes)
    assert told.headers["Content-Length"] == str(len(told.body))
    return json.loads(told.body)


def test_describes_a_repository() -> None:
    for kind in ("models", "datasets"):
        told = _ask(f"/api/v1/{kind}/acme/tiny")
        assert (told.status, _document(told)["Code"], _document(told)["Success"]) == (200, 200, True)
    assert _document(_ask("/api/v1/datasets/acme/tiny"))["Data"]["Id"] == "acme/tiny"


def test_lists_the_branch() -> None:
    branches = _document(_ask(f"{MODEL}/revisions"))["Data"]["RevisionMap"]
    assert branches == {"Branches": [{"Revision": "master", "CreatedAt": 0}], "Tags": []}


@pytest.mark.parametrize("revision", ["master", "v1", COMMIT])
def test_lists_all_files_and_folders_each_with_sha256_and_a_commit(revision: str) -> None:
    entries = _document(_ask(f"{MODEL}/repo/files?Revision={revision}&Recursive=True"))["Data"]["Files"]
    assert [(entry["Type"], entry["Path"], entry["Name"], entry["Size"]) for entry in entries] == [
        ("blob", "config.json", "config.json", 10),
        ("tree", "only", "only", 0),
        ("blob", "only/listed.bin", "listed.bin", 5),
        ("tree", "voices", "voices", 0),
        ("blob", "voices/müde & #1?.bin", "müde & #1?.bin", 100),
    ]
    assert entries[-1]["Sha256"] == HEX
    commits = {entry["Revision"] for entry in entries if entry["Type"] == "blob"}
    assert len(commits) == 3
    assert all(len(commit) == 40 for commit in commits)


def test_lists_a_folder() -> None:
    flat = _document(_ask(f"{MODEL}/repo/files?Recursive=False"))["Data"]["Files"]
    assert [entry["Path"] for entry in flat] == ["config.json", "only", "voices"]
    under = _document(_ask(f"{MODEL}/repo/files?Recursive=False&Root=only"))["Data"]["Files"]
    assert [entry["Path"] for entry in under] == ["only/listed.bin"]


def test_lists_a_dataset_in_pages() -> None:
    def page(number: int) -> list[str]:
        target = f"/api/v1/datasets/acme/tiny/repo/tree?Recursive=True&Root=/&PageNumber={number}&PageSize=3"
        return [entry["Path"] for entry in _document(_ask(target))["Data"]["Files"]]

    assert page(1) == ["config.json", "only", "only/listed.bin"]
    assert page(2) == ["voices", "voices/müde & #1?.bin"]
    assert page(3) == []
    assert _ask("/api/v1/datasets/acme/tiny/repo/tree?PageNumber=0").status == 400


def _file_target(path: str, revision: str = "master") -> str:
    return f"{MODEL}/repo?Revision={quote_plus(revision)}&FilePath={quote_plus(path)}"


def test_serves_a_file_or_a_range_of_it() -> None:
    told = _ask(_file_target("voices/müde & #1?.bin"))
    assert (told.status, told.body) == (200, Slice(Path("/kept/voices/müde & #1?.bin"), 0, 100))
    # The new client compares the downloaded file with this.
    assert told.headers["X-Linked-Etag"] == f'"{HEX}"'
    told = _ask(_file_target("config.json"), range="bytes=0-9")
    assert (told.status, told.headers["Content-Range"]) == (206, "bytes 0-9/10")
    assert _ask(_file_target("config.json"), range="bytes=10-").status == 416


def test_serves_a_file_by_the_commit_that_last_changed_it() -> None:
    entries = _document(_ask(f"{MODEL}/repo/files?Recursive=True"))["Data"]["Files"]
    commits = {entry["Path"]: entry["Revision"] for entry in entries}
    assert _ask(_file_target("config.json", commits["config.json"])).status == 200
    assert _ask(_file_target("config.json", commits["only/listed.bin"])).status == 404


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/v1/models/acme/none", 404),
        ("/api/v1/models/acme/tiny--x/revisions", 404),
        ("/api/v1/models/tiny", 404),
        ("/api/v1/models/../..", 404),
        ("/api/v1/models/acme/tiny@v1", 404),
        ("/api/v1/models/acme%2Ftiny/x", 404),
        ("/api/v1/studios/acme/tiny", 404),
        ("/api/v1/repos/internalAccelerationInfo", 404),
        (f"{MODEL}/repo/files?Revision=v9", 404),
        (f"{MODEL}/repo/files?Revision=a..b", 404),
        (f"{MODEL}/repo/tree", 404),
        (f"{MODEL}/repo", 404),
        (_file_target("none.bin"), 404),
        (_file_target("only/listed.bin"), 404),
        (_file_target("../../etc/passwd"), 404),
        (_file_target("/etc/passwd"), 404),
        (_file_target("config.json", "v9"), 404),
    ],
)
def test_a_missing_file_is_reported_in_the_form_that_clients_read(target: str, status: int) -> None:
    told = _ask(target)
    document = _document(told)
    assert (told.status, document["Code"], document["Success"]) == (status, status, False)
    assert set(document) == {"Code", "Data", "Message", "RequestId", "Success"}


def test_methods_that_change_something_are_not_allowed() -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert _ask(MODEL, method).status == 405


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("gone"), 404),
        (AccessDenied("no"), 401),
        (HubUnavailable("later", wait_s=3), 503),
        (PreheatError("broken"), 502),
    ],
)
def test_errors_have_this_apis_form(error: PreheatError, status: int) -> None:
    def find(ref: Ref) -> ServedSnapshot | None:
        raise error

    told = answer(Request("GET", MODEL), find)
    assert (told.status, _document(told)["Message"]) == (status, error.message)


@given(st.text("ab/%.?&=#é\0@", max_size=30), st.sampled_from(["GET", "HEAD", "POST"]))
def test_no_request_crashes_it(tail: str, method: str) -> None:
    told = answer(Request(method, f"/api/v1/{quote(tail, safe='/%?&=#')}"), _find)
    assert told.status in (200, 206, 400, 404, 405)


def test_a_listing_is_truncated_where_the_hub_truncates_it() -> None:
    files = tuple(File(f"{name:05}", 1, sha256(HEX)) for name in range(MOST_ENTRIES + 5))

    def find(ref: Ref) -> ServedSnapshot | None:
        return ServedSnapshot(Snapshot(ref, COMMIT, files), lambda file: None)

    entries = _document(answer(Request("GET", f"{MODEL}/repo/files?Recursive=True"), find))["Data"]["Files"]
    assert len(entries) == MOST_ENTRIES


def test_a_folder_on_the_shelf_is_served_to_both_kinds_of_client(tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_bytes(b"hello\n")
    shelf = Shelf({"acme/tiny": tmp_path, "datasets/acme/rows": tmp_path})
    listed = _document(answer(Request("GET", f"{MODEL}/repo/files?Revision=master&Recursive=True"), shelf.find))
    (entry,) = listed["Data"]["Files"]
    # Hugging Face lists small files by git's digest, ModelScope by sha256: both are right.
    assert entry["Sha256"] == hashlib.sha256(b"hello\n").hexdigest()
    info = answer(Request("GET", "/api/models/acme/tiny?blobs=true"), shelf.find)
    assert isinstance(info.body, bytes)
    assert b"ce013625030ba8dba906f756967f9e9ca394464a" in info.body
    (tmp_path / "small.txt").write_bytes(b"other\n")
    listed = _document(answer(Request("GET", f"{MODEL}/repo/files?Recursive=True"), shelf.find))
    assert listed["Data"]["Files"][0]["Sha256"] == hashlib.sha256(b"other\n").hexdigest()
    assert listed["Data"]["Files"][0]["Revision"] != entry["Revision"]
    assert answer(Request("GET", f"{MODEL}/repo/files?Revision=main"), shelf.find).status == 404


def test_a_file_that_changes_while_being_hashed_is_not_described_wrongly(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"hello\n")
    ref = Ref.parse("ms:acme/tiny")
    snapshot = Snapshot(ref, COMMIT, (File("a.txt", 6, git_sha1("ce013625030ba8dba906f756967f9e9ca394464a")),))
    found = ServedSnapshot(snapshot, lambda file: tmp_path / file.path)
    request = Request("GET", f"{MODEL}/repo/files?Recursive=True")
    (tmp_path / "a.txt").write_bytes(b"other\n")
    assert answer(request, lambda ref: found).status == 503
    (tmp_path / "a.txt").write_bytes(b"hello\n")
    assert answer(request, lambda ref: found).status == 200
    gone = ServedSnapshot(snapshot, lambda file: None)
    assert answer(request, lambda ref: gone).status == 502
