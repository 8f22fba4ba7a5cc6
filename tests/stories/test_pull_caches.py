"""Pull, end to end, on a used machine: what other programs' caches have is taken from there, not downloaded."""

import hashlib
import json
import os
import shutil
import tempfile
import urllib.request
from pathlib import Path

import pytest

from tests.authority import trust
from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.stories.caches import etag, hf_cache, ms_old, write


def files_of(model: Path) -> dict[str, bytes]:
    return {path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()}


def hf_home(preheat: Preheat, model: Path, at: Path | None = None) -> Path:
    """Fill the user's own cache with the model, as huggingface_hub does; return the repository's folder."""
    with urllib.request.urlopen(f"{preheat.env['HF_ENDPOINT']}/api/models/acme/tiny", context=trust()) as response:
        commit = json.load(response)["sha"]
    return hf_cache((at or preheat.folder / ".cache/huggingface") / "hub", "acme/tiny", files_of(model), commit)


def pulled(preheat: Preheat, *words: str, home: str = "") -> Told:
    told = preheat("pull", *words, "--json", HF_HOME=home)
    assert told.status == 0, told.out + told.err
    return told


def test_a_pull_takes_what_huggingface_hub_has_downloaded(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    home = hf_home(preheat, model)
    size = sum(map(len, set(files_of(model).values())))
    planned = preheat("pull", "acme/tiny", "--dry-run", "--json").last
    assert (planned["missing"], planned["cached"]) == (0, size)
    assert "in other programs' caches" in preheat("pull", "acme/tiny", "--dry-run").out
    hub.recovers()
    told = pulled(preheat, "acme/tiny")
    assert told.last["fetched"] == 0
    assert not hub.asked("/resolve/")
    [reading] = [event for event in told.events if event["event"] == "reading"]
    assert reading["size"] == size
    weights = next(home.glob(f"blobs/{etag((model / 'model.safetensors').read_bytes(), lfs=True)}"))
    assert weights.read_bytes() == (model / "model.safetensors").read_bytes()
    assert preheat("verify").status == 0


def test_no_adopt_downloads_everything(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    home = hf_home(preheat, model)
    assert pulled(preheat, "acme/tiny", "--no-adopt").last["fetched"] > 12_000_000
    assert {path.stat().st_nlink for path in (home / "blobs").iterdir()} == {1}


@pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")
def test_another_users_cache_stays_as_it_is(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    blobs = sorted((hf_home(preheat, model) / "blobs").iterdir())
    for blob in blobs:
        os.chown(blob, 65534, 65534)
    before = [(blob.stat().st_mode, blob.stat().st_nlink) for blob in blobs]
    hub.recovers()
    assert pulled(preheat, "acme/tiny").last["fetched"] == 0
    assert [(blob.stat().st_mode, blob.stat().st_nlink) for blob in blobs] == before
    assert {path.stat().st_uid for path in preheat.library.glob("blobs/sha256/*/*")} == {0}


def test_a_file_with_other_bytes_in_a_cache_is_downloaded(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    home = hf_home(preheat, model)
    data = (model / "voices/deep/low.bin").read_bytes()
    rotten = home / "blobs" / etag(data, lfs=True)
    rotten.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert pulled(preheat, "acme/tiny").last["fetched"] == len(data)
    assert len(hub.asked("/resolve/")) >= 1
    assert not hub.asked("model.safetensors")


def test_a_cache_named_by_a_variable_on_another_filesystem_is_copied(preheat: Preheat, model: Path) -> None:
    if not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == preheat.folder.stat().st_dev:
        pytest.skip("no second filesystem")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        hf_home(preheat, model, Path(other))
        planned = preheat("pull", "acme/tiny", "--dry-run", "--json", HF_HOME=other).last
        assert planned["disks"][0]["needed"] == planned["cached"] > 12_000_000
        assert pulled(preheat, "acme/tiny", home=other).last["fetched"] == 0


def test_an_aliass_cache_has_the_same_bytes(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    ms_old(preheat.folder / ".cache/modelscope/models/iic/Ti___ny", "iic/Ti.ny", files_of(model))
    write(
        preheat.folder / "preheat.toml",
        b'[app]\nname = "app"\ncommand = ["true"]\n\n[[needs]]\nref = "acme/tiny"\nsame = ["ms:iic/Ti.ny"]\n',
    )
    told = pulled(preheat)
    assert told.last["fetched"] == 0
    assert not hub.asked("/resolve/")


@pytest.fixture
def by_url(preheat: Preheat, hub: FlakyHub, model: Path) -> str:
    data = (model / "voices/deep/low.bin").read_bytes()
    return f"{hub.url}/acme/tiny/resolve/main/voices/deep/low.bin#sha256={hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("cache", ["whisper", "torch/hub/checkpoints"])
def test_a_file_by_url_is_taken_from_the_cache_that_has_its_name(
    preheat: Preheat, hub: FlakyHub, model: Path, by_url: str, cache: str
) -> None:
    write(preheat.folder / ".cache" / cache / "low.bin", (model / "voices/deep/low.bin").read_bytes())
    told = pulled(preheat, by_url)
    assert told.last["fetched"] == 0
    assert hub.sent("/resolve/") <= 1, "a request for the size"


# ---- one plan


RECIPE = b"""[app]
name = "app"
command = ["true"]

[[needs]]
ref = "acme/tiny"
files = ["model.safetensors"]
view = "flat"
at = "weights"

[[needs]]
ref = "%s"
files = ["%s"]
view = "flat"
at = "rows"
"""


def test_pull_alone_pulls_the_app_in_this_folder(preheat: Preheat, hub: FlakyHub) -> None:
    refused = preheat("pull")
    assert refused.status == 2
    assert "preheat.toml" in refused.err
    write(preheat.folder / "preheat.toml", RECIPE % (b"datasets/acme/rows", b"note.txt"))
    assert pulled(preheat).last["fetched"] > 9_000_000
    assert (preheat.folder / "rows/note.txt").read_text() == "hm!\n"


@pytest.mark.parametrize(
    ("ref", "file"), [(b"acme/none", b"x"), (b"datasets/acme/rows@gone", b"note.txt"), (b"datasets/acme/rows", b"gone")]
)
def test_what_no_hub_has_is_an_error_before_the_first_byte(
    preheat: Preheat, hub: FlakyHub, ref: bytes, file: bytes
) -> None:
    write(preheat.folder / "preheat.toml", RECIPE % (ref, file))
    told = preheat("pull")
    assert told.status == 3, told.err
    assert not hub.asked("/resolve/")
    assert not preheat.library.exists()


def test_what_is_pinned_and_present_needs_no_hub_and_its_views_are_placed(preheat: Preheat, hub: FlakyHub) -> None:
    write(preheat.folder / "preheat.toml", RECIPE % (b"datasets/acme/rows", b"note.txt"))
    assert preheat("lock").status == 0
    pulled(preheat)
    shutil.rmtree(preheat.folder / "weights")
    shutil.rmtree(preheat.folder / "rows")
    hub.recovers()
    assert pulled(preheat).last["fetched"] == 0
    assert not hub.asked()
    assert (preheat.folder / "weights/model.safetensors").stat().st_size == 9_000_000
