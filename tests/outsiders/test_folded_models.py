"""Folded models, used by others: the apps' own readers find and load them through the links."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from preheat.core.events import Answered
from tests.authority import authority
from tests.command import Preheat, Told
from tests.outsiders.conftest import Outsider, Served, evaluator
from tests.outsiders.test_app_views import _GENERATE, _READ, _WRITE, said
from tests.outsiders.test_modelscope import NEW, OLD
from tests.outsiders.test_traced_torch import STACK
from tests.stories.desk import a1111, comfyui, ollama, text_generation, write
from tests.stories.test_fold import folded, undone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MEBI = 1 << 20
_MAKE_VAE = """
import sys, torch
from diffusers import AutoencoderKL
torch.manual_seed(0)
vae = AutoencoderKL(block_out_channels=(64,), layers_per_block=2, norm_num_groups=8, latent_channels=4)
vae.save_pretrained(sys.argv[1])
torch.save({"state_dict": vae.state_dict()}, sys.argv[2])
"""
# Loads single files as they lie in apps' folders, and decodes with each.
_LOAD_VAES = """
import sys, torch
from diffusers import AutoencoderKL
for path in sys.argv[2:]:
    vae = AutoencoderKL.from_single_file(path, config=sys.argv[1], local_files_only=True)
    with torch.no_grad():
        print(vae.decode(torch.ones(1, 4, 8, 8)).sample.double().sum().item())
"""
_FIND = """
import json
from ramalama.transports.ollama import in_existing_cache
print(json.dumps(in_existing_cache("library", "tiny", "latest")))
"""
_HUGGING_FACE = """
import json
from huggingface_hub import scan_cache_dir, snapshot_download, try_to_load_from_cache
"""
_MODELSCOPE = """
import json
from modelscope import snapshot_download
"""


def all_one(*paths: Path) -> bool:
    return len({path.stat().st_ino for path in paths}) == 1


def test_diffusers_loads_single_files_from_folded_folders(outsider: Outsider, preheat: Preheat, tmp_path: Path) -> None:
    python = outsider(*STACK)
    whole, made = tmp_path / "vae", tmp_path / "vae.ckpt"
    said(python, _MAKE_VAE, str(whole), str(made))
    body = (whole / "diffusion_pytorch_model.safetensors").read_bytes()
    places = [
        write(comfyui(preheat.folder) / "vae/tiny.safetensors", body),
        write(a1111(preheat.folder) / "VAE/tiny.safetensors", body),
        write(comfyui(preheat.folder) / "vae/tiny.ckpt", made.read_bytes()),
        write(a1111(preheat.folder) / "VAE/tiny.ckpt", made.read_bytes()),
    ]
    before = said(python, _LOAD_VAES, str(whole), *map(str, places)).splitlines()
    assert len(set(before)) == 1
    told = folded(preheat)
    assert told.last["folded"] == len(places)
    assert {model["kind"] for model in told.last["models"]} == {"vae"}
    assert said(python, _LOAD_VAES, str(whole), *map(str, places)).splitlines() == before


def test_llama_cpp_and_ramalama_load_from_folded_folders(outsider: Outsider, preheat: Preheat, tmp_path: Path) -> None:
    python = outsider("ramalama==0.25.0", "gguf==0.19.0")
    made = tmp_path / "tiny.gguf"
    said(python, _WRITE.replace("E, F, V = 64, 128, 320", "E, F, V = 64, 128, 4096"), str(made))
    assert made.stat().st_size > MEBI
    blobs = ollama(preheat.folder)
    digest = subprocess.run(["sha256sum", made], check=True, capture_output=True, text=True).stdout.split()[0]
    layer = {
        "mediaType": "application/vnd.ollama.image.model",
        "digest": f"sha256:{digest}",
        "size": made.stat().st_size,
    }
    manifest = {"schemaVersion": 2, "config": layer | {"mediaType": "application/json"}, "layers": [layer]}
    store = blobs.parent
    write(store / "manifests/registry.ollama.ai/library/tiny/latest", json.dumps(manifest).encode())
    body = made.read_bytes()
    places = [
        write(blobs / f"sha256-{digest}", body),
        write(text_generation(preheat.folder) / "tiny.Q4_K_M.gguf", body),
        write(preheat.folder / ".lmstudio/models/acme/tiny/tiny.gguf", body),
        write(preheat.folder / ".cache/llama.cpp/tiny.gguf", body),
    ]
    assert folded(preheat).last["folded"] == len(places)
    assert all_one(*places)
    program = write(tmp_path / "bin/ollama", b"#!/bin/sh\n", mode=0o755)  # without it, ramalama looks for no store
    path = f"{program.parent}:{os.environ['PATH']}"
    assert json.loads(said(python, _FIND, OLLAMA_MODELS=str(store), PATH=path)) == str(places[0])
    assert said(python, _READ, str(places[1])) == "llama 12\n"
    llama = outsider("xllamacpp==2026.10.11549")
    assert said(llama, _GENERATE, *map(str, places)).splitlines() == ["tokens: 2"] * len(places)
    undone(preheat)
    assert said(llama, _GENERATE, str(places[0])) == "tokens: 2\n"


def _files_sent(served: Served) -> int:
    sent = sum(isinstance(event, Answered) and event.of_file and event.sent > MEBI for event in served.events)
    served.events.clear()
    return sent


def _folded_beside(preheat: Preheat, served: Served, cached: Path) -> tuple[Told, Path]:
    """Fold a hub's cache together with ComfyUI's copy of the same weights."""
    weights = served.folder / "model.safetensors"
    comfy = write(comfyui(preheat.folder) / "checkpoints/tiny.safetensors", weights.read_bytes())
    told = folded(preheat)
    assert all_one(cached.resolve(), comfy)
    return told, comfy


@pytest.mark.parametrize("version", ["0.36.2", "2.4.0"])
def test_huggingface_hub_uses_and_deletes_its_folded_cache(
    version: str, outsider: Outsider, served: Served, preheat: Preheat
) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(preheat.folder), "HF_ENDPOINT": served.url} | authority().environ
    client = evaluator(outsider(f"huggingface_hub=={version}"), environ, _HUGGING_FACE)
    cached = Path(str(client("snapshot_download('acme/tiny')"))) / "model.safetensors"
    whole = cached.read_bytes()
    assert _files_sent(served) == 1
    told, comfy = _folded_beside(preheat, served, cached)
    assert "hf-cache" in {app["name"] for app in told.last["apps"]}
    scanned = client("[[str(w) for w in scan_cache_dir().warnings], scan_cache_dir().size_on_disk]")
    assert isinstance(scanned, list)
    assert scanned[0] == []
    assert scanned[1] > len(whole)
    assert client("try_to_load_from_cache('acme/tiny', 'model.safetensors')") == str(cached)
    assert client("snapshot_download('acme/tiny')") == str(cached.parent)
    assert _files_sent(served) == 0
    commit = cached.parent.name
    client(f"scan_cache_dir().delete_revisions('{commit}').execute()")
    assert not cached.exists()
    assert comfy.read_bytes() == whole
    assert undone(preheat).last["restored"] == 1
    assert comfy.read_bytes() == whole


@pytest.mark.parametrize("version", [OLD, NEW])
def test_modelscope_uses_its_folded_cache(version: str, outsider: Outsider, served: Served, preheat: Preheat) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(preheat.folder)} | authority().environ
    if version == OLD:
        environ["MODELSCOPE_DOMAIN"] = f"localhost:{served.url.rpartition(':')[2]}"
    else:
        environ["MODELSCOPE_ENDPOINT"] = served.url
    client = evaluator(outsider(f"modelscope=={version}"), environ, _MODELSCOPE)
    cached = Path(str(client("snapshot_download('acme/tiny')"))) / "model.safetensors"
    whole = cached.read_bytes()
    assert _files_sent(served) >= 1
    told, comfy = _folded_beside(preheat, served, cached)
    assert "modelscope" in {app["name"] for app in told.last["apps"]}
    assert client("snapshot_download('acme/tiny')") == str(cached.parent)
    assert client("snapshot_download('acme/tiny', local_files_only=True)") == str(cached.parent)
    assert _files_sent(served) == 0
    undone(preheat)
    assert (cached.read_bytes(), comfy.read_bytes()) == (whole, whole)
