"""Ollama's store: the library takes its files by their sha256, without a download, and they remain Ollama's."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.stories.desk import AS_USER, MEBI, write

MODEL, PROJECTOR, TEMPLATE = b"GGUF" + bytes(3 * MEBI), b"GGUF" + b"p" * (2 * MEBI), b"{{ .Prompt }}"
MANIFESTS = "manifests/registry.ollama.ai/library/tiny"


def layer(kind: str, body: bytes) -> dict[str, object]:
    return {
        "mediaType": f"application/vnd.ollama.image.{kind}",
        "digest": f"sha256:{sha256(body).hexdigest()}",
        "size": len(body),
    }


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a model under two tags, one of them in the newer form: a symlink to a blob."""
    at = tmp_path / ".ollama/models"
    for body in (MODEL, PROJECTOR, TEMPLATE):
        write(at / "blobs" / f"sha256-{sha256(body).hexdigest()}", body)
    layers = [layer("model", MODEL), layer("projector", PROJECTOR), layer("template", TEMPLATE)]
    manifest = json.dumps({"schemaVersion": 2, "config": layer("config", b"{}"), "layers": layers}).encode()
    write(at / MANIFESTS / "1b", manifest)
    blob = write(at / "blobs" / f"sha256-{sha256(manifest).hexdigest()}", manifest)
    newer = at / "manifests-v2/registry.ollama.ai/library/tiny/latest"
    newer.parent.mkdir(parents=True)
    newer.symlink_to(blob)
    return at


def address(body: bytes) -> str:
    digest = sha256(body).hexdigest()
    return f"https://registry.ollama.ai/v2/library/tiny/blobs/sha256:{digest}#sha256={digest}"


def test_models_and_projectors_become_blobs_and_can_be_placed_in_other_apps(preheat: Preheat, store: Path) -> None:
    told = preheat("adopt", str(store), "--json")
    assert told.status == 0, told.err
    assert (told.last["versions"], told.last["copied"]) == (2, 0)
    assert preheat("adopt", str(store.parent)).status == 0  # the folder above, and again
    assert preheat("verify").status == 0
    view = preheat("view", "llama-cpp", "at", address(MODEL))
    assert view.status == 0, view.err
    (placed,) = (preheat.folder / "at").iterdir()
    assert (placed.name, placed.read_bytes()) == ("tiny-latest.gguf", MODEL)
    assert (store / "blobs" / f"sha256-{sha256(MODEL).hexdigest()}").read_bytes() == MODEL


def test_what_is_damaged_missing_or_hostile_is_left_out_and_named(preheat: Preheat, store: Path) -> None:
    (store / "blobs" / f"sha256-{sha256(PROJECTOR).hexdigest()}").write_bytes(b"other bytes")
    write(store / MANIFESTS / "broken", b"[")
    outside = {"layers": [{**layer("model", b""), "digest": "sha256:../../../etc/passwd"}]}
    write(store / MANIFESTS / "outside", json.dumps(outside).encode())
    gone = {"layers": [layer("model", b"gone")]}
    write(store / MANIFESTS / "gone", json.dumps(gone).encode())
    told = preheat("adopt", str(store), "--json")
    assert told.status == 5  # some files are left out
    reasons = " | ".join(event["reason"] for event in told.events if event["event"] == "left-out")
    for reason in (
        "not a manifest",
        "without a sha256",
        "it is missing",
        f"not sha256:{sha256(PROJECTOR).hexdigest()}",
    ):
        assert reason in reasons
    assert preheat("view", "llama-cpp", "at", address(MODEL)).status == 0
    assert preheat("view", "llama-cpp", "at", address(PROJECTOR)).status == 5


def test_a_pull_takes_what_ollama_has_and_downloads_nothing(
    preheat: Preheat, hub: FlakyHub, model: Path, store: Path
) -> None:
    weights = (model / "model.safetensors").read_bytes()
    write(store / "blobs" / f"sha256-{sha256(weights).hexdigest()}", weights)
    told = preheat("pull", "acme/tiny", "--files", "model.safetensors", "--json", OLLAMA_MODELS=str(store))
    assert told.status == 0, told.err
    assert told.last["received"] < len(weights)
    assert [event["files"] for event in told.events if event["event"] == "adopted"] == [1]
    refused = preheat("pull", "acme/tiny", "--files", "model.safetensors", "--json", "--no-adopt", "--library", "other")
    assert refused.last["received"] > len(weights)


def test_a_store_that_another_user_has_closed_is_no_obstacle(preheat: Preheat, store: Path) -> None:
    store.parent.chmod(0)
    try:
        words = ("pull", "acme/tiny", "--files", "config.json")
        told = preheat(*words, inside=AS_USER, OLLAMA_MODELS=str(store))
        refused = preheat("adopt", str(store), inside=AS_USER)
    finally:
        store.parent.chmod(0o755)
    assert told.status == 0, told.err
    assert refused.status == 5
    assert "permission denied" in refused.err
