"""Hubs over HTTP, with hostile servers: the token goes only to the endpoint, and wrong responses are rejected."""

import gzip
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.core.errors import AccessDenied, HubError, HubUnavailable, IntegrityError, NoRanges, NotFound
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.error_boundary import hide_in
from preheat.hubs.hub import Hub, Reader
from preheat.hubs.huggingface import HuggingFace
from preheat.hubs.modelscope import ModelScope
from preheat.hubs.url import Url
from preheat.mirror.http.messages import Answer, Request
from preheat.net.http import Transport
from tests.authority import trusting
from tests.flaky_hub import Fault, FlakyHub, redirects_to, refuses, wants_token

TOKEN = "hush-hush"
BYTES = r"/resolve/|FilePath="


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport(trusting())
    yield transport
    transport.close()


@pytest.fixture
def store(model: Path) -> Iterator[FlakyHub]:
    """The storage that the hub redirects to: another port of the same host."""
    with FlakyHub({"acme/tiny": model, "datasets/acme/rows": model}) as store:
        yield store


@pytest.fixture(params=[("hf", HuggingFace), ("ms", ModelScope)], ids=["huggingface", "modelscope"])
def asked(request: pytest.FixtureRequest, hub: FlakyHub, transport: Transport) -> tuple[Hub, Ref]:
    scheme, make = request.param
    return make(hub.url, transport, TOKEN), Ref.parse(f"{scheme}:acme/tiny")


def _file(snapshot: Snapshot, path: str = "model.safetensors") -> File:
    file = snapshot.file(path)
    assert file is not None
    return file


def _read(reader: Reader) -> bytes:
    content, buffer = b"", memoryview(bytearray(100_000))
    while count := reader.readinto(buffer):
        content += buffer[:count]
    reader.close()
    return content


def test_the_token_goes_to_the_endpoint_and_not_to_redirect_targets(
    asked: tuple[Hub, Ref], hub: FlakyHub, store: FlakyHub, model: Path
) -> None:
    theirs, ref = asked
    hub.fails(BYTES, redirects_to(store.url))
    hub.fails("", wants_token(TOKEN))
    snapshot = theirs.resolve(ref)
    file = _file(snapshot)
    whole = (model / file.path).read_bytes()
    assert _read(theirs.open(snapshot, file, 0, file.size)) == whole
    assert _read(theirs.open(snapshot, file, 100, 5_000)) == whole[100:5_000]
    assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in hub.asked())
    assert len(store.asked(BYTES)) == 2
    for request in store.asked():
        assert TOKEN not in str(request)
        assert not {"authorization", "cookie"} & set(request.headers)


def test_the_redirect_target_of_a_file_is_reused_for_its_parts(
    asked: tuple[Hub, Ref], hub: FlakyHub, store: FlakyHub, model: Path
) -> None:
    theirs, ref = asked
    snapshot = theirs.resolve(ref)
    file = _file(snapshot)
    whole = (model / file.path).read_bytes()
    hub.fails(BYTES, redirects_to(store.url))
    for start in range(0, 5_000, 1_000):
        assert _read(theirs.open(snapshot, file, start, start + 1_000)) == whole[start : start + 1_000]
    assert len(hub.asked(BYTES)) == 1
    assert len(store.asked(BYTES)) == 5
    store.fails(BYTES, _expired, times=1)
    assert _read(theirs.open(snapshot, file, 0, 1_000)) == whole[:1_000], "asked for a new address by itself"
    assert len(hub.asked(BYTES)) == 2
    store.fails("", refuses(503), times=1)
    hub.recovers()
    assert _read(theirs.open(snapshot, file, 0, 1_000)) == whole[:1_000], "a store that is down is not insisted on"


def test_no_request_is_for_xet(asked: tuple[Hub, Ref], hub: FlakyHub) -> None:
    theirs, ref = asked
    snapshot = theirs.resolve(ref)
    _read(theirs.open(snapshot, _file(snapshot, "note.txt"), 0, 4))
    assert hub.asked()
    assert not [request for request in hub.asked() if "xet" in str(request).lower()]


def _expired(request: Request, full: Answer) -> Answer:
    body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    return Answer(403, {"Content-Type": "application/xml", "Content-Length": str(len(body))}, body)


def test_an_expired_signed_address_is_requested_again_and_is_no_denial(
    asked: tuple[Hub, Ref], hub: FlakyHub, store: FlakyHub, model: Path
) -> None:
    theirs, ref = asked
    hub.fails(BYTES, redirects_to(store.url))
    store.fails(BYTES, _expired, times=1)
    snapshot = theirs.resolve(ref)
    file = _file(snapshot)
    with pytest.raises(HubUnavailable, match="may have expired"):
        theirs.open(snapshot, file, 0, file.size)
    assert _read(theirs.open(snapshot, file, 0, file.size)) == (model / file.path).read_bytes()


def test_a_denial_by_the_hub_is_final(asked: tuple[Hub, Ref], hub: FlakyHub) -> None:
    theirs, ref = asked
    snapshot = theirs.resolve(ref)
    denies = refuses(403, "not for you") if ref.hub == "hf" else _denies_in_json
    hub.fails("", denies)
    for ask in (lambda: theirs.resolve(ref), lambda: theirs.open(snapshot, _file(snapshot), 0, 9)):
        with pytest.raises(AccessDenied, match="not for you") as caught:
            ask()
        assert "_TOKEN" in caught.value.hint
        assert TOKEN not in caught.value.message + caught.value.hint


def _denies_in_json(request: Request, full: Answer) -> Answer:
    body = b'{"Code": 10010205003, "Message": "not for you", "RequestId": "x", "Success": false}'
    return Answer(403, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)


def test_an_endless_redirect_ends(asked: tuple[Hub, Ref], hub: FlakyHub) -> None:
    theirs, ref = asked
    snapshot = theirs.resolve(ref)
    hub.fails("", redirects_to(hub.url))
    for ask in (lambda: theirs.resolve(ref), lambda: theirs.open(snapshot, _file(snapshot), 0, 9)):
        with pytest.raises(HubError, match="without end"):
            ask()


def _packed(request: Request, full: Answer) -> Answer:
    body = gzip.compress(b"x" * 1000)
    return Answer(200, {"Content-Encoding": "gzip", "Content-Length": str(len(body))}, body)


def _odd(**odd: str | None) -> Fault:
    """Respond to range requests with other headers; None removes one."""

    def fault(request: Request, full: Answer) -> Answer:
        if full.status != 206:
            return full
        headers = {**full.headers, **{name.replace("_", "-"): value for name, value in odd.items()}}
        return replace(full, headers={name: value for name, value in headers.items() if value is not None})

    return fault


def _multipart(request: Request, full: Answer) -> Answer:
    if full.status != 206:
        return full
    body = b"--x\r\nContent-Range: bytes 10-18/99\r\n\r\n123456789\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/byteranges; boundary=x", "Content-Length": str(len(body))}
    return Answer(206, headers, body)


def _no_range(request: Request, full: Answer) -> Answer:
    return Answer(416, {"Content-Length": "0"}) if full.status == 206 else full


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(_no_range, id="416"),
        pytest.param(_odd(Content_Range="bytes 0-8/9000000"), id="shifted"),
        pytest.param(_odd(Content_Range="bytes 10-18/8"), id="another-size"),
        pytest.param(_odd(Content_Range="nonsense"), id="nonsense"),
        pytest.param(_odd(Content_Range=None), id="without"),
        pytest.param(_odd(Content_Encoding="gzip"), id="packed"),
        pytest.param(_multipart, id="multipart"),
    ],
)
def test_a_file_with_wrong_range_headers_is_read_as_a_whole(
    asked: tuple[Hub, Ref], hub: FlakyHub, model: Path, fault: Fault
) -> None:
    theirs, ref = asked
    snapshot = theirs.resolve(ref)
    file = _file(snapshot)
    hub.fails(BYTES, fault)
    with pytest.raises(NoRanges):
        theirs.open(snapshot, file, 10, 19)
    assert _read(theirs.open(snapshot, file, 10, 19)) == (model / file.path).read_bytes()[10:19]


SHORTER = {"Content-Length": "0", "Content-Range": "bytes */5"}


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (_packed, HubError, "compressed"),
        (
            lambda request, full: Answer(416, {"Content-Length": "0", "Content-Range": "bytes */5"}),
            IntegrityError,
            "fewer",
        ),
    ],
)
def test_bytes_of_another_range_or_encoding_are_rejected(
    asked: tuple[Hub, Ref], hub: FlakyHub, fault: Fault, kind: type[Exception], words: str
) -> None:
    theirs, ref = asked
    snapshot = theirs.resolve(ref)
    hub.fails(BYTES, fault)
    with pytest.raises(kind, match=words):
        theirs.open(snapshot, _file(snapshot), 10, 19)


def test_more_bytes_than_requested_are_not_passed_on(asked: tuple[Hub, Ref], hub: FlakyHub, model: Path) -> None:
    theirs, ref = asked
    snapshot = theirs.resolve(ref)
    file = _file(snapshot)

    def goes_on(request: Request, full: Answer) -> Answer:
        content = (model / file.path).read_bytes()[10:]
        headers = {"Content-Range": f"bytes 10-18/{file.size}", "Content-Length": str(len(content))}
        return Answer(206, headers, content)

    hub.fails(BYTES, goes_on)
    assert _read(theirs.open(snapshot, file, 10, 19)) == (model / file.path).read_bytes()[10:19]


def test_a_list_in_pages_is_read_to_its_end(hub: FlakyHub, store: FlakyHub, transport: Transport) -> None:
    """A mirror may pass on links that lead to the hub itself; pages are requested from the endpoint."""
    hub.fails("/revision/", _without_files)
    hub.fails(r"/tree/.*expand=false$", lambda request, full: _first_page(full, store.url + request.target + "&page=2"))
    snapshot = HuggingFace(hub.url, transport, TOKEN).resolve(Ref.parse("acme/tiny"))
    assert {"config.json", "extra.txt"} <= {file.path for file in snapshot.files}
    assert hub.asked("page=2")
    assert not store.asked()


def _without_files(request: Request, full: Answer) -> Answer:
    assert isinstance(full.body, bytes)
    body = full.body.replace(b'"siblings"', b'"others"')
    return replace(full, headers={**full.headers, "Content-Length": str(len(body))}, body=body)


def _first_page(full: Answer, following: str) -> Answer:
    body = f'[{{"type": "file", "path": "extra.txt", "size": 0, "oid": "{"0" * 40}"}}]'.encode()
    headers = {**full.headers, "Content-Length": str(len(body)), "Link": f'<{following}>; rel="next"'}
    return replace(full, headers=headers, body=body)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (refuses(404, "none"), NotFound, "no such file"),
        (refuses(403, "no"), AccessDenied, "denied"),
        (refuses(503, "later", Retry_After="3"), HubUnavailable, "503"),
        (refuses(418, "teapot"), HubError, "418"),
        (_packed, HubError, "file's size"),
        (lambda request, full: Answer(206, {"Content-Length": "1"}, b"x"), HubError, "file's size"),
    ],
)
def test_an_invalid_response_raises_with_the_reason(
    hub: FlakyHub, transport: Transport, fault: Fault, kind: type[Exception], words: str
) -> None:
    ref = Ref.parse(f"{hub.url}/acme/tiny/resolve/main/note.txt#sha256={'0' * 64}")
    hub.fails("", fault)
    with pytest.raises(kind, match=words):
        Url(transport).resolve(ref)


def test_an_empty_file_at_an_address_has_no_bytes(hub: FlakyHub, transport: Transport) -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    snapshot = Url(transport).resolve(Ref.parse(f"{hub.url}/acme/tiny/resolve/main/empty.txt#sha256={empty}"))
    assert snapshot.files == (File("empty.txt", 0, sha256(empty)),)
    assert _read(Url(transport).open(snapshot, snapshot.files[0], 0, 0)) == b""


@pytest.mark.skipif(sys.platform != "linux", reason="tcp_info")
def test_a_reader_reports_its_connections_round_trip_time(asked: tuple[Hub, Ref]) -> None:
    theirs, ref = asked
    snapshot = theirs.resolve(ref)
    reader = theirs.open(snapshot, _file(snapshot), 0, 100_000)
    assert reader.readinto(memoryview(bytearray(100_000))) > 0
    assert 0 < reader.round_trip_s < 60
    reader.close()


def test_an_exception_that_is_its_own_cause_ends_the_search_for_secrets() -> None:
    cause = ValueError("token-0123")
    cause.__cause__ = cause
    error = HubError("broken")
    error.__cause__ = cause
    hide_in(error, ("other-4567",))
    assert error.__cause__ is cause
    hide_in(error, ("token-0123",))
    assert error.__cause__ is None
