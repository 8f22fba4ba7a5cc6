"""The ModelScope API: documented responses are parsed, ours are read back, and anything else is rejected."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.errors import AccessDenied, HubError, HubUnavailable, IntegrityError, NotFound, PreheatError
from preheat.core.events import Answered, Event
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot, listing_commit
from preheat.hubs import ms_api
from preheat.hubs.modelscope import ModelScope
from preheat.mirror.api import ms_answers
from preheat.mirror.api.folders import ServedSnapshot
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.messages import Answer, Request, refuse
from preheat.mirror.http.server import Server
from preheat.net.http import Transport
from tests.authority import authority, trusting

REF = Ref.parse("ms:acme/tiny")
HEX = "5f6c1d3a2b4e8f7091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708"
COMMIT = "740dcaff396282ffb241903d150ac011cd4b1ede"

# Written like the responses of the real hub, with invented names and digests.
FILES = {
    "Code": 200,
    "Data": {
        "Files": [
            {
                "CommitMessage": "upload weights",
                "CommittedDate": 1725000000,
                "CommitterName": "acme",
                "InCheck": False,
                "IsLFS": False,
                "Mode": "33188",
                "Name": "config.json",
                "Path": "config.json",
                "Revision": COMMIT,
                "Sha256": HEX,
                "Size": 51,
                "Type": "blob",
            },
            {
                "Mode": "16384",
                "Name": "qwen",
                "Path": "qwen",
                "Revision": COMMIT,
                "Sha256": "",
                "Size": 0,
                "Type": "tree",
            },
            {
                "IsLFS": True,
                "Name": "m.pt",
                "Path": "qwen/m.pt",
                "Revision": "",
                "Sha256": HEX.upper(),
                "Size": 9,
                "Type": "blob",
            },
        ],
        "IsVisual": 0,
        "LatestCommitter": None,
    },
    "Message": "success",
    "RequestId": "d2f3a0d8",
    "Success": True,
}
REVISIONS = {
    "Code": 200,
    "Data": {
        "RevisionMap": {
            "Branches": [{"Revision": "master", "CreatedAt": 1725000000}, {"Revision": "dev", "CreatedAt": 1725000001}],
            "Tags": [{"Revision": "v1.0.0", "CreatedAt": 1725000002}],
        }
    },
}


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def test_parses_a_listing() -> None:
    page = ms_api.read_page(_json(FILES), str(REF))
    assert page.files == (
        ms_api.ListedFile(File("config.json", 51, sha256(HEX)), COMMIT),
        ms_api.ListedFile(File("qwen/m.pt", 9, sha256(HEX)), ""),
    )
    assert (page.folders, page.entries) == (("qwen",), 3)


def test_parses_the_branches_and_tags() -> None:
    assert ms_api.read_revisions(_json(REVISIONS), str(REF)) == ("master", "dev", "v1.0.0")
    assert ms_api.read_revisions(
        _json({"Code": 200, "Data": {"RevisionMap": {"Branches": [{"Revision": "x", "CreatedAt": None}]}}}), str(REF)
    ) == ("x",)
    assert ms_api.read_revisions(_json({"Code": 200, "Data": {"RevisionMap": {"Branches": None}}}), str(REF)) == ()
    assert ms_api.read_page(_json({"Code": 200, "Data": None}), str(REF)).files == ()


@pytest.mark.parametrize(
    ("document", "kind", "words"),
    [
        (b"", HubError, "is invalid"),
        (b"<html>login</html>", HubError, "is invalid"),
        (b"[" * 100_000, HubError, "is invalid"),
        (_json({"Code": 200, "Data": {"Files": [{"Type": "blob"}]}}), HubError, "is invalid"),
        (_json({"Code": 200, "Data": {"Files": [{"Path": "a", "Size": 1}]}}), HubError, "without its size or sha256"),
        (_json({"Code": 200, "Data": {"Files": [{"Path": "a", "Sha256": HEX}]}}), HubError, "without its size"),
        (
            _json({"Code": 200, "Data": {"Files": [{"Path": "a", "Size": 1, "Sha256": "xyz"}]}}),
            HubError,
            "invalid digest",
        ),
        (
            _json({"Code": 200, "Data": {"Files": [{"Path": "../a", "Size": 1, "Sha256": HEX}]}}),
            IntegrityError,
            "invalid path",
        ),
        (_json({"Code": 404, "Message": "gone", "Data": None}), NotFound, "gone"),
        (_json({"Code": 10010205001, "Message": "no such thing", "Data": None}), HubError, "no such thing"),
    ],
)
def test_an_invalid_listing_raises_with_the_reason(document: bytes, kind: type[PreheatError], words: str) -> None:
    with pytest.raises(kind, match=words):
        ms_api.read_page(document, str(REF))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, NotFound),
        (401, AccessDenied),
        (403, AccessDenied),
        (429, HubUnavailable),
        (502, HubUnavailable),
        (418, HubError),
    ],
)
def test_errors_are_explained_with_the_hubs_own_message(status: int, kind: type[HubError]) -> None:
    error = ms_api.read_error(status, {"Retry-After": "7"}, _json({"Code": status, "Message": "the\nreason"}), "ms:a/b")
    assert type(error) is kind
    assert error.message.startswith("ms:a/b")
    if isinstance(error, HubUnavailable):
        assert error.wait_s == 7.0
    else:
        assert "(the reason)" in error.message


@given(st.integers(400, 599), st.binary(max_size=300))
def test_any_error_message_fits_on_a_line(status: int, body: bytes) -> None:
    error = ms_api.read_error(status, {}, body, "ms:a/b")
    assert isinstance(error, HubError)
    assert error.message.isprintable()
    assert len(error.message) < 400


@given(st.data())
def test_a_damaged_listing_raises_our_error_or_gives_a_valid_value(data: st.DataObject) -> None:
    document = _json(FILES)
    start = data.draw(st.integers(0, len(document)))
    stop = data.draw(st.integers(start, min(len(document), start + 40)))
    damaged = document[:start] + data.draw(st.binary(max_size=20)) + document[stop:]
    try:
        ms_api.read_page(damaged, str(REF))
    except PreheatError as error:
        assert isinstance(error, HubError | IntegrityError)  # noqa: PT017 - which of our errors is the question


@given(st.text("ab/é漢 #?%+&=", min_size=1), st.text("abé/ +&=-", min_size=1))
def test_api_paths_are_ascii_and_decode_to_the_original_names(path: str, revision: str) -> None:
    url = ms_api.file_path(REF, revision, path)
    assert url.isascii()
    parts = urlsplit(url)
    assert parts.path == "/api/v1/models/acme/tiny/repo"
    assert parse_qs(parts.query, keep_blank_values=True) == {"Revision": [revision], "FilePath": [path]}


_paths = st.lists(st.sampled_from(["a", "b", "c d", "é"]), min_size=1, max_size=4).map("/".join)


def _none_is_a_folder(paths: list[str]) -> bool:
    return not any(other.startswith(f"{path}/") for path in paths for other in paths)


@given(st.lists(_paths, max_size=8, unique=True).filter(_none_is_a_folder))
def test_the_mirrors_documents_are_read_back_folder_by_folder(paths: list[str]) -> None:
    files = tuple(File(path, 1, sha256(HEX)) for path in sorted(paths))
    found = ServedSnapshot(Snapshot(REF, COMMIT, files), lambda file: None)
    page = ms_api.read_page(ms_answers.write_entries(ms_answers.list_files(found, recursive=True)), "")
    assert tuple(one.file for one in page.files) == files
    walked, folders = [], [""]
    while folders:
        page = ms_api.read_page(
            ms_answers.write_entries(ms_answers.list_files(found, folders.pop(), recursive=False)), ""
        )
        walked += [one.file for one in page.files]
        folders += page.folders
    assert sorted(walked, key=lambda file: file.path) == list(files)


@given(st.permutations([File(name, size, sha256(HEX)) for size, name in enumerate(("a", "b/c", "b/d", "é"))]))
def test_the_order_of_a_listing_does_not_change_its_commit(files: list[File]) -> None:
    # printf "sha256:HEX 0 a\0sha256:HEX 1 b/c\0…" | sha1sum
    assert listing_commit(files) == "2a508d2d1f8214d46cdec25b3cc2fc61a382f0fb"


# ---- truncated listings


def _honest(request: Request, full: Answer) -> Answer:
    return full


@contextmanager
def _serving(
    paths: list[str], fault: Callable[[Request, Answer], Answer] = _honest
) -> Iterator[tuple[ModelScope, list[Event]]]:
    files = tuple(File(path, 1, sha256(HEX)) for path in paths)

    def find(ref: Ref) -> ServedSnapshot | None:
        return ServedSnapshot(Snapshot(ref, COMMIT, files), lambda file: None)

    events: list[Event] = []
    transport = Transport(trusting())

    def reply(request: Request) -> Answer:
        return fault(request, answer(request, find))

    with Server(("127.0.0.1", 0), reply, events.append, tls=authority().context) as server:
        yield ModelScope(server.url, transport), events
    transport.close()


def test_a_truncated_listing_is_completed_folder_by_folder() -> None:
    paths = [f"{folder}/{name:04}.npy" for folder in ("a", "b/c", "b/d", "e") for name in range(1_600)] + ["top.json"]
    with _serving(paths) as (hub, events):
        snapshot = hub.resolve(REF)
    assert sorted(file.path for file in snapshot.files) == sorted(paths)
    assert len([event for event in events if isinstance(event, Answered)]) < 12
    assert snapshot.commit == listing_commit(snapshot.files)


def test_more_files_in_one_folder_than_the_hub_lists_raise_an_error() -> None:
    with (
        _serving([f"a/{name:04}.npy" for name in range(3_100)]) as (hub, _),
        pytest.raises(HubError, match="more files"),
    ):
        hub.resolve(REF)


def test_a_dataset_of_any_size_is_read_page_by_page() -> None:
    paths = [f"a/{name:05}.wav" for name in range(3_399)]  # together with its folder, a whole number of pages
    with _serving(paths) as (hub, events):
        snapshot = hub.resolve(Ref.parse("ms:datasets/acme/rows"))
    assert [file.path for file in snapshot.files] == paths
    assert len([event for event in events if isinstance(event, Answered)]) == 18


def test_a_denial_in_the_middle_of_a_list_is_retried() -> None:
    """The real hub sometimes does this, as a comment in its own client says."""
    paths = [f"a/{name:05}.wav" for name in range(500)]

    def denies(request: Request, full: Answer) -> Answer:
        return refuse(403, "access denied") if "PageNumber=2" in request.target else full

    with _serving(paths, denies) as (hub, _), pytest.raises(HubUnavailable, match="in the middle"):
        hub.resolve(Ref.parse("ms:datasets/acme/rows"))


@pytest.mark.parametrize("moved", [refuse(404, "no such file"), Answer(200, {"Content-Length": "2"}, b"yz")])
def test_a_file_of_a_moved_branch_is_requested_by_the_commit_that_changed_it_last(moved: Answer) -> None:
    def moves(request: Request, full: Answer) -> Answer:
        if "FilePath=" not in request.target:
            return full
        (asked,) = parse_qs(urlsplit(request.target).query)["Revision"]
        return Answer(200, {"Content-Length": "1"}, b"x") if len(asked) == 40 else moved

    with _serving(["a"], moves) as (hub, _):
        snapshot = hub.resolve(REF.at("v1"))
        reader, buffer = hub.open(snapshot, snapshot.files[0], 0, 1), bytearray(9)
        assert reader.readinto(memoryview(buffer)) == 1
        assert buffer.startswith(b"x")
        reader.close()


def test_a_hub_that_supports_only_branches_reports_what_is_wrong_with_the_branch() -> None:
    def moves(request: Request, full: Answer) -> Answer:
        if "FilePath=" not in request.target:
            return full
        (asked,) = parse_qs(urlsplit(request.target).query)["Revision"]
        return refuse(404, "none") if len(asked) == 40 else Answer(200, {"Content-Length": "2"}, b"yz")

    with _serving(["a"], moves) as (hub, _):
        snapshot = hub.resolve(REF)
        with pytest.raises(IntegrityError, match="should have 1 bytes"):
            hub.open(snapshot, snapshot.files[0], 0, 1)
