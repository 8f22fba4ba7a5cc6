"""Pull, end to end, from ModelScope and from plain servers."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import WEIGHTS, FlakyHub, flips_a_byte_at, hangs_up_after, knows_no_ranges, refuses, wants_token
from tests.mirroring import mirroring
from tests.stories.kept import blobs, contents

TOKEN = "ms-Kq7vSecretOfMine"
BYTES = r"FilePath="


@pytest.fixture
def twin(model: Path) -> Iterator[FlakyHub]:
    """Another hub with the same files, under the same name."""
    with FlakyHub({"acme/tiny": model, "datasets/acme/rows": model}) as twin:
        yield twin


@pytest.fixture
def other(preheat: Preheat) -> Iterator[Preheat]:
    """Another machine: its own folder and library, and no hub."""
    folder = preheat.folder / "other"
    folder.mkdir()
    other = Preheat(folder, "http://127.0.0.1:1")
    yield other
    other.close()


def _view(preheat: Preheat, name: str = "models--acme--tiny") -> dict[str, bytes]:
    (snapshot,) = (preheat.folder / "cache" / name / "snapshots").iterdir()
    return contents(snapshot)


@pytest.mark.parametrize(
    ("ref", "name"), [("ms:acme/tiny", "models--acme--tiny"), ("ms:datasets/acme/rows", "datasets--acme--rows")]
)
def test_pulls_a_model_and_a_dataset_of_modelscope(
    preheat: Preheat, twin: FlakyHub, model: Path, ref: str, name: str
) -> None:
    told = preheat("pull", ref, "--view", "hf-cache=cache", MODELSCOPE_ENDPOINT=twin.url)
    assert told.status == 0, told.err
    assert _view(preheat, name) == contents(model)
    again = preheat("pull", ref, "--json", MODELSCOPE_ENDPOINT=twin.url)
    assert again.last["fetched"] == 0


def test_a_modelscope_model_is_the_same_after_a_mirror_and_a_second_pull(
    preheat: Preheat, other: Preheat, twin: FlakyHub
) -> None:
    told = preheat("pull", "ms:acme/tiny", "--json", MODELSCOPE_ENDPOINT=twin.url)
    assert told.status == 0, told.err
    commit = told.last["snapshots"][0]["commit"]
    _, url = mirroring(preheat)
    for ref in ("ms:acme/tiny", f"ms:acme/tiny@{commit}"):
        told = other("pull", ref, "--json", MODELSCOPE_ENDPOINT=url)
        assert told.status == 0, told.out
        assert told.last["snapshots"][0]["commit"] == commit
    for room in ("blobs", "records"):
        assert contents(other.library / room) == contents(preheat.library / room)
    # A model of one hub is not served as the other hub's model of that name.
    assert other("pull", "hf:acme/tiny", HF_ENDPOINT=url).status == 3


def test_a_commit_of_modelscope_is_found_while_a_branch_has_its_files(
    preheat: Preheat, tmp_path: Path, twin: FlakyHub
) -> None:
    changing = tmp_path / "changing"
    changing.mkdir()
    (changing / "config.json").write_text("{}")
    with FlakyHub({"acme/changing": changing}) as hub:
        told = preheat("pull", "ms:acme/changing", "--json", MODELSCOPE_ENDPOINT=hub.url)
        commit = told.last["snapshots"][0]["commit"]
        elsewhere = ("--library", str(tmp_path / "elsewhere"))
        assert preheat("pull", f"ms:acme/changing@{commit}", *elsewhere, MODELSCOPE_ENDPOINT=hub.url).status == 0
        (changing / "config.json").write_text("{ }")
        elsewhere = ("--library", str(tmp_path / "too late"))
        told = preheat("pull", f"ms:acme/changing@{commit}", *elsewhere, MODELSCOPE_ENDPOINT=hub.url)
        assert told.status == 3
        assert "contains the files of that commit" in told.err
        assert f"preheat pull --library '{tmp_path}/too late' ms:acme/changing" in told.err


def test_a_private_model_of_modelscope_needs_its_own_token(preheat: Preheat, twin: FlakyHub, hub: FlakyHub) -> None:
    twin.fails("", wants_token(TOKEN))
    told = preheat("pull", "ms:acme/tiny", MODELSCOPE_ENDPOINT=twin.url, HF_TOKEN="another")
    assert told.status == 3
    assert "MODELSCOPE_API_TOKEN" in told.err
    assert not [request for request in twin.asked() if "another" in str(request)]
    told = preheat("pull", "ms:acme/tiny", MODELSCOPE_ENDPOINT=twin.url, MODELSCOPE_API_TOKEN=TOKEN)
    assert told.status == 0, told.err
    assert TOKEN not in told.out + told.err
    assert not [path for path in preheat.library.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert preheat("pull", "hf:acme/tiny", MODELSCOPE_API_TOKEN=TOKEN).status == 0
    assert TOKEN not in str(hub.asked())


def test_wrong_bytes_of_modelscope_are_never_kept(preheat: Preheat, twin: FlakyHub, model: Path) -> None:
    twin.fails(f"{BYTES}model.safetensors", flips_a_byte_at(5_000_000))
    told = preheat("pull", "ms:acme/tiny", MODELSCOPE_ENDPOINT=twin.url)
    assert told.status == 4
    assert "model.safetensors" in told.err
    twin.recovers()
    told = preheat("pull", "ms:acme/tiny", "--view", "hf-cache=cache", MODELSCOPE_ENDPOINT=twin.url)
    assert told.status == 0, told.err
    assert _view(preheat) == contents(model)


def test_a_model_refused_by_one_hub_comes_from_its_alias_on_another(
    preheat: Preheat, hub: FlakyHub, twin: FlakyHub, model: Path
) -> None:
    (preheat.folder / "preheat.toml").write_text(
        '[app]\nname = "tiny"\n[[needs]]\nref = "hf:acme/tiny"\nsame = ["ms:acme/tiny"]\nat = "cache"\n'
    )
    hub.fails(WEIGHTS, refuses(503, "later"))
    told = preheat("pull", "preheat.toml", "--json", MODELSCOPE_ENDPOINT=twin.url)
    assert told.status == 0, told.out
    assert _view(preheat) == contents(model)
    assert twin.sent(BYTES) >= 12_000_000


# ---- an address


def _address(hub: FlakyHub, model: Path, path: str = "model.safetensors") -> str:
    digest = hashlib.sha256((model / path).read_bytes()).hexdigest()
    return f"{hub.url}/acme/tiny/resolve/main/{path}#sha256={digest}"


@pytest.mark.parametrize("path", ["model.safetensors", "note.txt", "empty.txt"])
def test_pulls_a_file_at_an_address(preheat: Preheat, hub: FlakyHub, model: Path, path: str) -> None:
    told = preheat("pull", _address(hub, model, path))
    assert told.status == 0, told.err
    assert (model / path).read_bytes() in blobs(preheat.library).values()
    (record,) = (preheat.library / "records" / "url").rglob("*.json")
    assert json.loads(record.read_bytes())["repo"] == _address(hub, model, path)
    hub.recovers()
    assert preheat("pull", _address(hub, model, path), "--json").last["fetched"] == 0


def test_a_server_without_ranges_that_disconnects_still_works(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    hub.fails(WEIGHTS, hangs_up_after(3_000_000), times=2)
    hub.fails(WEIGHTS, knows_no_ranges)
    told = preheat("pull", _address(hub, model))
    assert told.status == 0, told.err
    assert (model / "model.safetensors").read_bytes() in blobs(preheat.library).values()


def test_a_file_with_a_wrong_digest_is_rejected(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    address = _address(hub, model).partition("#")[0]
    told = preheat("pull", f"{address}#sha256={'0' * 64}")
    assert told.status == 4
    assert "model.safetensors" in told.err
    assert not blobs(preheat.library)
