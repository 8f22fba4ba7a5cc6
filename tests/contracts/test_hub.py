"""The contract of the Hub protocol, run against every implementation, over real sockets and a real disk."""

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.core.errors import HubUnavailable, IntegrityError, NoRanges, NotFound, UsageError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.folder import Folder
from preheat.hubs.hub import Hub, Reader
from preheat.hubs.huggingface import HuggingFace
from preheat.hubs.modelscope import ModelScope
from preheat.hubs.url import Url
from preheat.library.library import Library
from preheat.net.http import Transport
from preheat.stores.object_store import ObjectStore
from preheat.stores.store_address import StoreAddress
from preheat.stores.store_connection import StoreOptions
from preheat.verbs.stores.push import PushPolicy, push
from preheat.verbs.stores.push_plan import plan_push
from preheat.verbs.stores.store_hub import StoreHub
from preheat.verbs.stores.store_reads import BucketReads, PublicReads
from tests.authority import authority, trusting
from tests.flaky_hub import FlakyHub, hangs_up_after, knows_no_ranges, says
from tests.library.shelves import shelve
from tests.small_store import KEY, SECRET, SmallStore, StoreFaults, store_serving

KINDS = ["folder", "huggingface", "huggingface dataset", "modelscope", "modelscope dataset", "url"]
PLAIN = " over plain HTTP"
KINDS += [f"huggingface{PLAIN}", f"modelscope{PLAIN}", f"url{PLAIN}"]
STORES = {
    "object store": StoreFaults(),
    "object store without signed addresses": StoreFaults(unsigned_only=True),
    "public object store": StoreFaults(public=True),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A hub, its content, refs that it lacks, and ways to make it list an invalid file name and to disturb its reads.

    `without_ranges` makes its server ignore range requests, and `cut` ends the next response after 100,000 bytes.
    """

    hub: Hub
    ref: Ref
    truth: dict[str, bytes]
    unknown: tuple[Ref, ...]
    hostile: Callable[[], object]
    without_ranges: Callable[[], object] | None = None
    cut: Callable[[], object] | None = None
    fresh: Callable[[], Hub] | None = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    (folder / "voices").mkdir()
    (folder / "config.json").write_text("{}\n")
    (folder / "empty").touch()
    (folder / "voices" / "müde & froh #1?.txt").write_text("hmm\n")
    (folder / "weights.bin").write_bytes(random.Random(7).randbytes(1_500_000))
    return folder


@pytest.fixture(params=[*KINDS, *STORES])
def case(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Case]:
    transport = Transport(trusting())
    kind, tls = request.param.removesuffix(PLAIN), not request.param.endswith(PLAIN)
    if kind in STORES:
        with store_serving(replace(STORES[kind], cut=[])) as store:
            yield _stored(_truth(folder), store, transport, tmp_path)
    else:
        with FlakyHub({"acme/tiny": folder, "datasets/acme/rows": folder}, tls=tls) as server:
            yield _case(kind, folder, server, transport)
    transport.close()


def _truth(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _stored(truth: dict[str, bytes], store: SmallStore, transport: Transport, room: Path) -> Case:
    """Push a model to an object store, and return the store as a hub."""
    ref, library = Ref.parse("hf:acme/tiny"), Library(room / "library")
    login = {"access_key_id": KEY, "secret_access_key": SECRET, "region": "us-east-1", "endpoint": store.url}
    options = StoreOptions(login, authorities=authority().ca_file.read_bytes())
    bucket = ObjectStore(StoreAddress.parse("s3://models/team"), options)
    plan = plan_push((shelve(library, str(ref), truth),), (), library, bucket)
    push(plan, library, bucket, PushPolicy(), lambda _: None)

    def open_store() -> Hub:
        public = store.faults.public
        reads = PublicReads(f"{store.url}/models/team", transport) if public else BucketReads(bucket, transport)
        return StoreHub(reads, None)

    def resolve_lies() -> object:
        for key in store.keys(r"\.json$"):
            store.objects[key] = store.objects[key].replace(b'"weights.bin"', b'"../../weights.bin"')
        return open_store().resolve(ref)

    def ignore_ranges() -> None:
        store.faults.no_ranges = True

    unknown = (Ref.parse("hf:acme/none"), ref.at("v9"), ref.at("0" * 40))
    cut = partial(store.faults.cut.append, 100_000)
    return Case(open_store(), ref, truth, unknown, resolve_lies, ignore_ranges, cut, open_store)


def _case(kind: str, folder: Path, server: FlakyHub, transport: Transport) -> Case:
    truth, nowhere = _truth(folder), "0" * 40
    without_ranges = partial(server.fails, "weights", knows_no_ranges)
    cut = partial(server.fails, "weights", hangs_up_after(100_000), times=1)

    match kind.split():
        case ["folder"]:
            ref = Ref.parse(f"file:{folder}")

            def resolve_two_lines() -> object:
                (folder / "a\nb").touch()
                return Folder().resolve(ref)

            unknown = (Ref.parse(f"file:{folder}/none"), ref.at(nowhere))
            return Case(Folder(), ref, truth, unknown, resolve_two_lines)
        case [("huggingface" | "modelscope") as name, *rest]:
            scheme = "hf" if name == "huggingface" else "ms"
            kind_of_hub = HuggingFace if name == "huggingface" else ModelScope
            hub: Hub = kind_of_hub(server.url, transport)
            fresh = partial(kind_of_hub, server.url, transport)
            ref = Ref.parse(f"{scheme}:datasets/acme/rows" if rest else f"{scheme}:acme/tiny")
            none = Ref.parse(f"{scheme}:datasets/acme/none" if rest else f"{scheme}:acme/none")

            def resolve_lies() -> object:
                server.fails(r"/api/", says('"weights.bin"', '"../../weights.bin"'))
                return hub.resolve(ref)

            lacked = (none, ref.at("v9"), ref.at(nowhere))
            return Case(hub, ref, truth, lacked, resolve_lies, without_ranges, cut, fresh)
        case _:
            path, content = "weights.bin", truth["weights.bin"]
            address = f"{server.url}/acme/tiny/resolve/main/"
            ref = Ref.parse(f"{address}{path}#sha256={hashlib.sha256(content).hexdigest()}")
            none = Ref.parse(f"{address}none#sha256={'0' * 64}")

            def parse_way_out() -> object:
                return Ref.parse(f"{address}..%2Fweights.bin#sha256={'0' * 64}")

            return Case(Url(transport), ref, {path: content}, (none,), parse_way_out, without_ranges, cut)


def _read(reader: Reader, most: int = 10_000_000) -> bytes:
    content, buffer = b"", memoryview(bytearray(70_000))
    while len(content) < most and (count := reader.readinto(buffer)):
        content += buffer[:count]
    reader.close()
    return content


def _open(hub: Hub, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
    """Open as `fetch` does: NoRanges is raised only once."""
    try:
        return hub.open(snapshot, file, start, stop)
    except NoRanges:
        return hub.open(snapshot, file, start, stop)


def test_resolving_twice_returns_equal_snapshots(case: Case) -> None:
    snapshot = case.hub.resolve(case.ref)
    assert snapshot.ref == case.ref
    assert case.hub.resolve(case.ref) == snapshot
    assert len(snapshot.commit) == 40


def test_a_snapshot_lists_all_files_with_sizes_and_digests(case: Case) -> None:
    snapshot = case.hub.resolve(case.ref)
    assert {file.path: file.size for file in snapshot.files} == {path: len(truth) for path, truth in case.truth.items()}
    for file in snapshot.files:
        hasher = file.digest.hasher(file.size)
        hasher.update(case.truth[file.path])
        assert hasher.hexdigest() == file.digest.hex


def test_a_resolved_ref_can_be_requested_by_its_commit(case: Case) -> None:
    snapshot = case.hub.resolve(case.ref)
    pinned = case.ref.at(snapshot.commit)
    assert pinned.pinned
    again = case.hub.resolve(pinned)
    assert (again.commit, again.files) == (snapshot.commit, snapshot.files)


def test_open_returns_exactly_the_requested_bytes(case: Case) -> None:
    snapshot = case.hub.resolve(case.ref)
    for file in snapshot.files:
        truth, size = case.truth[file.path], file.size
        for start, stop in {(0, size), (0, size // 2), (size // 2, size), (size // 3, size // 2), (size, size)}:
            assert _read(case.hub.open(snapshot, file, start, stop)) == truth[start:stop]


def test_an_old_snapshot_can_be_opened_by_a_hub_that_never_resolved_it(case: Case) -> None:
    snapshot = case.hub.resolve(case.ref)
    file = snapshot.files[-1]
    fresh = case.hub if case.fresh is None else case.fresh()
    assert _read(fresh.open(snapshot, file, 0, file.size)) == case.truth[file.path]


def test_an_unknown_repository_is_not_found(case: Case) -> None:
    for ref in case.unknown:
        with pytest.raises(NotFound):
            case.hub.resolve(ref)
    snapshot = case.hub.resolve(case.ref)
    if case.ref.hub != "url":  # which has only one file, without a name
        gone = File("gone.bin", 3, sha256("0" * 64))
        with pytest.raises(NotFound):
            case.hub.open(snapshot, gone, 0, 3)


def test_a_reader_can_be_closed_at_any_time_and_the_hub_used_again(case: Case) -> None:
    snapshot = case.hub.resolve(case.ref)
    file = snapshot.file("weights.bin")
    assert file is not None
    for most in (0, 1, 100_000):
        reader = case.hub.open(snapshot, file, 0, file.size)
        if most:
            assert 0 < reader.readinto(memoryview(bytearray(most))) <= most
        reader.close()
        reader.close()
    assert _read(case.hub.open(snapshot, file, 5, 1_000_000)) == case.truth["weights.bin"][5:1_000_000]


def test_invalid_file_names_are_rejected(case: Case, folder: Path) -> None:
    try:
        with pytest.raises((IntegrityError, UsageError)):
            case.hostile()
    finally:
        (folder / "a\nb").unlink(missing_ok=True)


def test_a_server_without_ranges_raises_once_and_is_then_read_from_the_start(case: Case) -> None:
    if case.without_ranges is None:
        pytest.skip("no server, so always ranges")
    snapshot = case.hub.resolve(case.ref)
    file = snapshot.file("weights.bin")
    assert file is not None
    truth = case.truth["weights.bin"]
    case.without_ranges()
    assert _read(case.hub.open(snapshot, file, 0, file.size)) == truth
    with pytest.raises(NoRanges):
        case.hub.open(snapshot, file, 10, 20)
    for start, stop in [(0, 20), (10, 20), (1_000_000, file.size)]:
        assert _read(_open(case.hub, snapshot, file, start, stop)) == truth[start:stop]


def test_a_broken_connection_raises_a_retryable_error(case: Case) -> None:
    if case.cut is None:
        pytest.skip("no server, so no line")
    snapshot = case.hub.resolve(case.ref)
    file = snapshot.file("weights.bin")
    assert file is not None
    case.cut()
    with contextlib.suppress(HubUnavailable):
        assert case.truth["weights.bin"].startswith(_read(case.hub.open(snapshot, file, 0, file.size)))
    assert _read(case.hub.open(snapshot, file, 0, file.size)) == case.truth["weights.bin"]
