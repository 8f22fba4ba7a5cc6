"""Adopt, end to end: half of a model is recorded as half, with the names of what is missing."""

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preheat.core.ref import Ref
from preheat.library.library import Library
from tests.authority import trust
from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.mirroring import mirroring
from tests.stories.caches import etag, hf_cache, ms_old, write

CONFIG, FIRST, SECOND = b'{"model_type": "tiny"}\n', b"1" * 200_000, b"2" * 200_000
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = json.dumps({"metadata": {}, "weight_map": {"a.weight": SHARDS[0], "b.weight": SHARDS[1]}}).encode()
WHOLE = {"config.json": CONFIG, "model.safetensors.index.json": INDEX, SHARDS[0]: FIRST, SHARDS[1]: SECOND}
PIPELINE = json.dumps(
    {
        "_class_name": "P",
        "unet": ["diffusers", "UNet"],
        "vae": ["diffusers", "VAE"],
        "safety_checker": [None, None],
        "scale": [1, 2],
    }
).encode()


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """The repository's folder, as its hub has it."""
    folder = tmp_path / "sharded"
    for name, data in WHOLE.items():
        write(folder / name, data)
    return folder


@pytest.fixture
def hub(sharded: Path, model: Path) -> Iterator[FlakyHub]:
    """A hub with the whole model."""
    with FlakyHub({"acme/sharded": sharded, "acme/tiny": model}) as hub:
        yield hub


def commit_of(preheat: Preheat) -> str:
    """Return the model's commit on the hub."""
    with urllib.request.urlopen(f"{preheat.env['HF_ENDPOINT']}/api/models/acme/sharded", context=trust()) as response:
        return str(json.load(response)["sha"])


def no_shard(home: Path, commit: str) -> None:
    (home / "snapshots" / commit / SHARDS[1]).unlink()
    (home / "blobs" / etag(SECOND, lfs=True)).unlink()


def dead_link(home: Path, commit: str) -> None:
    (home / "blobs" / etag(SECOND, lfs=True)).unlink()


def half_downloaded(home: Path, commit: str) -> None:
    no_shard(home, commit)
    (home / "snapshots" / commit / "model.safetensors.index.json").unlink()
    write(home / "blobs" / f"{etag(SECOND, lfs=True)}.0a1b2c3d.incomplete", b"half")


HALVES: dict[str, tuple[Callable[[Path, str], None], str]] = {
    "shard": (no_shard, SHARDS[1]),
    "link": (dead_link, SHARDS[1]),
    "incomplete": (half_downloaded, f"sha256:{etag(SECOND, lfs=True)}"),
}


def half(preheat: Preheat, kind: str) -> tuple[str, str, Told]:
    """Adopt half of the model; return its commit, the name of what is missing, and what adopt said."""
    commit = commit_of(preheat)
    home = hf_cache(preheat.folder / "hub", "acme/sharded", WHOLE, commit)
    HALVES[kind][0](home, commit)
    return commit, HALVES[kind][1], preheat("adopt", "--json", str(preheat.folder / "hub"))


@pytest.mark.parametrize("kind", HALVES)
def test_half_a_model_is_adopted_as_half_and_a_pull_downloads_only_the_rest(
    preheat: Preheat, hub: FlakyHub, kind: str
) -> None:
    commit, missing, told = half(preheat, kind)
    assert (told.status, told.last["kind"], told.last["partial"]) == (5, "Incomplete", 1), told.out
    assert told.last["hint"] == "preheat pull hf:acme/sharded"
    assert "partial: 1 of " in preheat("ls").out
    shown = preheat("show", "acme/sharded")
    assert f"?  {missing}  not downloaded" in shown.out
    for ref in ("acme/sharded", f"acme/sharded@{commit}"):
        refused = preheat("view", "flat", str(preheat.folder / "out"), ref)
        assert refused.status == 5
        assert f"missing {missing}" in " ".join(refused.err.split())
    named = preheat("view", "flat", str(preheat.folder / "out"), "acme/sharded", "--files", SHARDS[0])
    assert named.status == 0, named.err
    hub.recovers()
    pulled = preheat("pull", f"acme/sharded@{commit}", "--json")
    assert pulled.status == 0, pulled.err
    rest = [request.target for request in hub.asked("/resolve/")]
    assert {target.partition("?")[0].rpartition("/")[2] for target in rest} <= {
        SHARDS[1],
        "model.safetensors.index.json",
    }
    assert "partial" not in preheat("ls").out
    hub.recovers()
    assert preheat("pull", f"acme/sharded@{commit}").status == 0
    assert not hub.asked(), "a pulled commit is whole"


def test_a_mirror_does_not_present_half_a_model_as_whole(preheat: Preheat) -> None:
    commit, missing, _ = half(preheat, "shard")
    _, url = mirroring(preheat)

    def get(path: str) -> tuple[int, str, str]:
        try:
            with urllib.request.urlopen(f"{url}{path}", context=trust()) as response:
                return response.status, "", response.read().decode("latin-1")
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("X-Error-Code") or "", error.read().decode()

    assert get(f"/acme/sharded/resolve/{commit}/{SHARDS[0]}")[0] == 200
    for path in (
        f"/acme/sharded/resolve/main/{missing}",
        "/api/models/acme/sharded",
        f"/api/models/acme/sharded/tree/{commit}",
    ):
        status, code, text = get(path)
        assert (status, code) == (404, ""), path
        assert missing in text
    assert get("/acme/sharded/resolve/main/other.json")[1] == "EntryNotFound"


def test_a_cache_without_a_list_may_lack_files_that_the_hub_has(preheat: Preheat, hub: FlakyHub) -> None:
    commit = commit_of(preheat)
    hf_cache(preheat.folder / "hub", "acme/sharded", {"config.json": CONFIG}, commit)
    told = preheat("adopt", "--json", str(preheat.folder / "hub"))
    assert (told.status, told.last["partial"]) == (0, 0)
    assert "the commit may have more" in preheat("show", "acme/sharded").out
    hub.fails("", lambda _request, _full: (_ for _ in ()).throw(ConnectionError()))
    alone = preheat("pull", f"acme/sharded@{commit}", "--json", "--patience", "0")
    assert (alone.status, alone.last["fetched"]) == (0, 0), alone.err
    assert any("hub's list is unknown" in event.get("said", "") for event in alone.events), alone.out
    hub.recovers()
    assert preheat("pull", f"acme/sharded@{commit}", "--files", "config.json").status == 0
    assert not hub.asked(), "the cache had the file that was asked for"
    pulled = preheat("pull", f"acme/sharded@{commit}", "--json")
    assert pulled.last["fetched"] == sum(len(data) for data in WHOLE.values()) - len(CONFIG)


def test_components_that_a_pipeline_names_are_missing_by_their_folders(preheat: Preheat) -> None:
    hf_cache(preheat.folder / "hub", "acme/voice", {"model_index.json": PIPELINE, "vae/config.json": CONFIG})
    told = preheat("adopt", "--json", str(preheat.folder / "hub"))
    assert told.status == 5
    snapshot = Library(preheat.library).find(Ref.parse("acme/voice"))
    assert snapshot is not None
    assert snapshot.unlisted == ("unet/",)


def test_a_modelscope_download_in_progress_is_partial(preheat: Preheat) -> None:
    cache = preheat.folder / "ms/models"
    ms_old(cache / "iic/Sense___Voice", "iic/Sense.Voice", {"config.json": CONFIG})
    write(cache / "._____temp/iic/Sense.Voice/model.bin_0_167772159", FIRST)
    write(cache / "._____temp/iic/other/model.bin", FIRST)
    told = preheat("adopt", "--json", str(preheat.folder / "ms"))
    assert (told.status, told.last["partial"], told.last["left_out"]) == (5, 1, 2), told.out
    snapshot = Library(preheat.library).find(Ref.parse("ms:iic/Sense.Voice"))
    assert snapshot is not None
    assert snapshot.unlisted == ("model.bin",)


def test_a_local_folder_is_read_by_its_list_of_the_commits_files(preheat: Preheat) -> None:
    commit, folder = "ab" * 20, preheat.folder / "checkpoints"
    tree = {name: {"size": len(data), "blob_id": etag(data, lfs=False)} for name, data in WHOLE.items()}
    write(folder / "config.json", CONFIG)
    notes = folder / ".cache/huggingface"
    write(notes / "download/config.json.metadata", f"{commit}\n{etag(CONFIG, lfs=False)}\n1.0\n".encode())
    write(notes / f"trees/{commit}.json", json.dumps({"format_version": 1, "files": tree}).encode())
    write(notes / f"download/aGVsbG8=.{etag(FIRST, lfs=True)}.incomplete", b"half")
    told = preheat("adopt", "--json", str(folder), "--as", "acme/sharded")
    assert (told.status, told.last["partial"], told.last["left_out"]) == (5, 1, 1), told.out
    library = Library(preheat.library)
    snapshot = library.find(Ref.parse(f"acme/sharded@{commit}"))
    assert snapshot is not None
    assert snapshot.unlisted is None
    assert {file.path for file in library.missing(snapshot)} == WHOLE.keys() - {"config.json"}


def test_a_pointer_of_git_lfs_records_the_digest_and_size_of_its_file(preheat: Preheat) -> None:
    digest = hashlib.sha256(SECOND).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(SECOND)}\n".encode()
    for name, data in (WHOLE | {SHARDS[1]: pointer}).items():
        write(preheat.folder / "clone" / name, data)
    assert preheat("adopt", str(preheat.folder / "clone"), "--as", "acme/sharded").status == 5
    library = Library(preheat.library)
    snapshot = library.find(Ref.parse("acme/sharded"))
    assert snapshot is not None
    [file] = library.missing(snapshot)
    assert (file.path, file.size, file.digest.hex) == (SHARDS[1], len(SECOND), digest)
    assert snapshot.unlisted == ()


def test_adopting_the_rest_completes_half_a_model(preheat: Preheat) -> None:
    commit, _, _ = half(preheat, "shard")
    hf_cache(preheat.folder / "later", "acme/sharded", WHOLE, commit)
    assert preheat("adopt", str(preheat.folder / "later")).status == 0
    assert "partial" not in preheat("ls").out
    assert preheat("view", "flat", str(preheat.folder / "out"), "acme/sharded").status == 0


def test_a_file_left_out_is_missing_from_the_record(preheat: Preheat) -> None:
    home = hf_cache(preheat.folder / "hub", "acme/sharded", {"config.json": CONFIG, "model.bin": FIRST})
    (home / "blobs" / etag(FIRST, lfs=True)).write_bytes(SECOND)
    assert preheat("adopt", str(preheat.folder / "hub")).status == 5
    assert "model.bin  not downloaded" in preheat("show", "acme/sharded").out
