"""The contract of the Hub protocol, run against every implementation, over real sockets and a real disk."""

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from preheat.core.errors import HubUnavailable, IntegrityError, NoRanges, NotFound, UsageError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.folder import Folder
from preheat.hubs.hub import Hub, Reader
from preheat.hubs.huggingface import HuggingFace
from preheat.hubs.modelscope import ModelScope
from preheat.hubs.url import Url
from preheat.net.http import Transport
from tests.authority import trusting
from tests.flaky_hub import FlakyHub, hangs_up_after, knows_no_ranges, says

KINDS = ["folder", "huggingface", "huggingface dataset", "modelscope", "modelscope dataset", "url"]
PLAIN = " over plain HTTP"
KINDS += [f"huggingface{PLAIN}", f"modelscope{PLAIN}", f"url{PLAIN}"]


@dataclass(frozen=True, slots=True)
class Case:
    """A hub, its content, a ref that it lacks, and a way to make it list an invalid file name."""

    hub: Hub
    ref: Ref
    truth: dict[str, bytes]
    unknown: tuple[Ref, ...]
    hostile: Callable[[], object]
    server: FlakyHub | None = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    (folder / "voices").mkdir()
    (folder / "config.json").write_text("{}\n")
    (folder / "empty").touch()
    (folder / "voices" / "müde & froh #1?.txt").write_text("hmm\n")
    (folder / "weights.bin").write_bytes(random.Random(7).randbytes(1_500_000))
    return folder


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest, folder: Path) -> Iterator[Case]:
    transport = Transport(trusting())
    kind, tls = request.param.removesuffix(PLAIN), not request.param.endswith(PLAIN)
    with FlakyHub({"acme/tiny": folder, "datasets/acme/rows": folder}, tls=tls) as server:
        yield _case(kind, folder, server, transport)
    transport.close()


def _case(kind: str, folder: Path, server: FlakyHub, transport: Transport) -> Case:
    truth = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    nowhere = "0" * 40

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
            hub: Hub = (HuggingFace if name == "huggingface" else ModelScope)(server.url, transport)
            ref = Ref.parse(f"{scheme}:datasets/acme/rows" if rest else f"{scheme}:acme/tiny")
            none = Ref.parse(f"{scheme}:datasets/acme/none" if rest else f"{scheme}:acme/none")

            def resolve_lies() -> object:
                server.fails(r"/api/", says('"weights.bin"', '"../../weights.bin"'))
                return hub.resolve(ref)

            return Case(hub, ref, truth, (none, ref.at("v9"), ref.at(nowhere)), resolve_lies, server)
        case _:
            path, content = "weights.bin", truth["weights.bin"]
            address = f"{server.url}/acme/tiny/resolve/main/"
            ref = Ref.parse(f"{address}{path}#sha256={hashlib.sha256(content).hexdigest()}")
            none = Ref.parse(f"{address}none#sha256={'0' * 64}")

            def parse_way_out() -> object:
                return Ref.parse(f"{address}..%2Fweights.bin#sha256={'0' * 64}")

            return Case(Url(transport), ref, {path: content}, (none,), parse_way_out, server)


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
    fresh = case.hub
    if isinstance(fresh, ModelScope):
        assert case.server is not None
        fresh = ModelScope(case.server.url, Transport(trusting()))
    assert _read(fresh.open(snapshot, file, 0, file.size)) == case.truth[file.path]


def test_an_unknown_repository_is_not_found(case: Case) -> None:
    for ref in case.unknown:
        with pytest.raises(NotFound):
            case.hub.resolve(ref)
    snapshot = case.hub.resolve(case.ref)
    if case.ref.hub != "url":  # which has only one file, without a name
        gone = File("gone.bin", 3, snapshot.files[0].digest)
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
    if case.server is None:
        pytest.skip("no server, so always ranges")
    snapshot = case.hub.resolve(case.ref)
    file = snapshot.file("weights.bin")
    assert file is not None
    truth = case.truth["weights.bin"]
    case.server.fails("weights", knows_no_ranges)
    assert _read(case.hub.open(snapshot, file, 0, file.size)) == truth
    with pytest.raises(NoRanges):
        case.hub.open(snapshot, file, 10, 20)
    for start, stop in [(0, 20), (10, 20), (1_000_000, file.size)]:
        assert _read(_open(case.hub, snapshot, file, start, stop)) == truth[start:stop]


def test_a_broken_connection_raises_a_retryable_error(case: Case) -> None:
    if case.server is None:
        pytest.skip("no server, so no line")
    snapshot = case.hub.resolve(case.ref)
    file = snapshot.file("weights.bin")
    assert file is not None
    case.server.fails("weights", hangs_up_after(100_000), times=1)
    with contextlib.suppress(HubUnavailable):
        assert case.truth["weights.bin"].startswith(_read(case.hub.open(snapshot, file, 0, file.size)))
    assert _read(case.hub.open(snapshot, file, 0, file.size)) == case.truth["weights.bin"]
