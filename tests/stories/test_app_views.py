"""Views for apps on people's desks: each model file lies where its app looks, and nothing of the user is lost."""

import json
import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.stories.desk import comfyui, safetensors, write

CHECKPOINT = ("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.conv_in.weight")
LORA = ("lora_unet_down_blocks_0_attentions_0.lora_up.weight",)
VAE = ("encoder.conv_in.weight", "decoder.conv_in.weight", "quant_conv.weight")
UNET = ("down_blocks.0.resnets.0.conv1.weight",)
EMBEDDING = ("emb_params",)


def gguf(architecture: str, *, size: str = "1B", seed: int = 0) -> bytes:
    """Return a GGUF file without tensors, and some noise after its header."""

    def text(one: str) -> bytes:
        return struct.pack("<Q", len(one)) + one.encode()

    values = {"general.architecture": architecture, "general.name": "Tiny", "general.size_label": size}
    body = b"".join(text(key) + struct.pack("<I", 8) + text(value) for key, value in values.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(values)) + body + bytes([seed]) * 4096


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """Repositories as people publish them: single files, a pipeline of diffusers, and GGUF files."""
    at = tmp_path / "published"
    files = {
        "acme/pictures": {
            "dream_v2.safetensors": safetensors(*CHECKPOINT),
            "style-lora.safetensors": safetensors(*LORA, size=20_000),
            "smile.safetensors": safetensors(*EMBEDDING, size=4_000),
            "odd.safetensors": safetensors("something.else", size=4_000),
            "README.md": b"# Pictures\n",
        },
        "acme/pipeline": {
            "unet/diffusion_pytorch_model.safetensors": safetensors(*UNET, seed=1),
            "vae/diffusion_pytorch_model.safetensors": safetensors(*VAE, seed=2),
            "model_index.json": b"{}",
        },
        "acme/talk-GGUF": {
            "talk-1b-Q4_K_M.gguf": gguf("llama", seed=3),
            "talk-1b-Q8_0.gguf": gguf("llama", seed=4),
            "template": b"{{ .Prompt }}!",
            "params": b'{"temperature": 0.5}',
            "README.md": b"# Talk\n",
        },
        "acme/see-GGUF": {
            "see-F16.gguf": gguf("qwen2vl", seed=5),
            "mmproj-see-F16.gguf": gguf("clip", seed=6),
            "large-00001-of-00002.gguf": gguf("llama", seed=7),
            "large-00002-of-00002.gguf": gguf("llama", seed=8),
        },
    }
    for name, some in files.items():
        for path, body in some.items():
            write(at / name / path, body)
    return {name: at / name for name in files}


@pytest.fixture
def preheat(models: dict[str, Path], tmp_path: Path) -> Iterator[Preheat]:
    """The command, with a hub that has these repositories."""
    (tmp_path / "work").mkdir()
    with FlakyHub(models) as hub:
        preheat = Preheat(tmp_path / "work", hub.url)
        yield preheat
        preheat.close()


def below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_comfyui_gets_each_file_in_the_folder_of_its_kind_and_the_user_is_told(
    preheat: Preheat, models: dict[str, Path], tmp_path: Path
) -> None:
    home = comfyui(tmp_path).parent
    preheat("pull", "acme/pictures", "acme/pipeline")
    told = preheat("view", "comfyui", str(home), "acme/pictures", "acme/pipeline")
    assert told.status == 0, told.err
    assert "style-lora.safetensors: lora, at" in told.err
    assert "odd.safetensors: unknown kind, not placed" in told.err
    pictures, pipeline = below(models["acme/pictures"]), below(models["acme/pipeline"])
    vae, unet = "vae/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.safetensors"
    assert below(home / "models") == {
        "checkpoints/dream_v2.safetensors": pictures["dream_v2.safetensors"],
        "checkpoints/put_checkpoints_here": b"",
        "loras/style-lora.safetensors": pictures["style-lora.safetensors"],
        "embeddings/smile.safetensors": pictures["smile.safetensors"],
        f"vae/pipeline/{vae}": pipeline[vae],
        f"diffusion_models/pipeline/{unet}": pipeline[unet],
    }


def test_a_kind_that_the_user_names_replaces_the_one_that_was_read(preheat: Preheat, tmp_path: Path) -> None:
    home = comfyui(tmp_path).parent
    preheat("pull", "acme/pictures")
    words = ("view", "comfyui", str(home), "acme/pictures", "--files", "odd.safetensors")
    refused = preheat(*words)
    assert refused.status == 5
    assert "--model-kind" in refused.err
    assert preheat(*words, "--model-kind", "upscaler").status == 0
    assert (home / "models/upscale_models/odd.safetensors").is_file()
    unknown = preheat(*words, "--model-kind", "lorra")
    assert unknown.status == 2
    assert "did you mean lora" in unknown.err
    assert preheat("view", "flat", "at", "acme/pictures", "--model-kind", "lora").status == 2


def test_pull_places_an_apps_view_once_the_files_are_there_and_again_without_a_change(
    preheat: Preheat, tmp_path: Path
) -> None:
    home = tmp_path / "webui"
    words = ("pull", "acme/pictures", "--view", f"a1111={home}", "--json")
    dry = preheat(*words, "--dry-run")
    assert (dry.status, dry.last["kinds"]) == (0, [])
    first = preheat(*words)
    assert first.status == 0, first.err
    placed = below(home)
    assert sorted(placed) == [
        "embeddings/smile.safetensors",
        "models/Lora/style-lora.safetensors",
        "models/Stable-diffusion/dream_v2.safetensors",
    ]
    again = preheat(*words, "--dry-run")
    assert {one["file"]: one["kind"] for one in again.last["kinds"]} == {
        "dream_v2.safetensors": "checkpoint",
        "style-lora.safetensors": "lora",
        "smile.safetensors": "embedding",
        "odd.safetensors": "",
    }
    inodes = {path: (home / path).stat().st_ino for path in placed}
    assert preheat(*words).status == 0
    assert {path: (home / path).stat().st_ino for path in placed} == inodes


def test_what_the_user_has_there_is_not_replaced(preheat: Preheat, tmp_path: Path) -> None:
    home = comfyui(tmp_path).parent
    mine = write(home / "models/loras/style-lora.safetensors", b"my own")
    preheat("pull", "acme/pictures")
    told = preheat("view", "comfyui", str(home), "acme/pictures")
    assert told.status == 5
    assert str(mine) in told.err
    assert not (home / "models/checkpoints/dream_v2.safetensors").exists()
    assert preheat("view", "comfyui", str(home), "acme/pictures", "--keep").status == 0
    assert mine.read_bytes() == b"my own"


def test_one_file_of_paths_leads_comfyui_to_a_folder_elsewhere(preheat: Preheat, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    at = tmp_path / "models: mine"
    preheat("pull", "acme/pictures")
    words = ("view", "comfyui-paths", str(at), "acme/pictures")
    assert preheat(*words).status == 0
    (section,) = yaml.safe_load((at / "extra_model_paths.yaml").read_text()).values()
    assert (Path(section["base_path"]) / section["checkpoints"] / "dream_v2.safetensors").is_file()
    for name in ("models $HOME", "models\u2028"):
        assert preheat("view", "comfyui-paths", name, "acme/pictures").status == 2
        assert not (preheat.folder / name).exists()
    # Somebody else's file with that name stays.
    (at / "extra_model_paths.yaml").write_text("mine: {}\n")
    assert preheat(*words).status == 5
    assert (at / "extra_model_paths.yaml").read_text() == "mine: {}\n"


def test_ollama_gets_blobs_by_sha256_and_a_manifest_for_each_quantization(
    preheat: Preheat, models: dict[str, Path], tmp_path: Path
) -> None:
    store = tmp_path / "ollama"
    preheat("pull", "acme/talk-GGUF")
    told = preheat("view", "ollama", str(store), "acme/talk-GGUF")
    assert (told.status, told.out) == (0, f"OLLAMA_MODELS={store}\n")
    manifests = store / "manifests/hf.co/acme/talk-GGUF"
    assert sorted(path.name for path in manifests.iterdir()) == ["Q4_K_M", "Q8_0", "latest"]
    assert (manifests / "latest").read_bytes() == (manifests / "Q4_K_M").read_bytes()
    manifest = json.loads((manifests / "Q8_0").read_text())
    named = {layer["mediaType"].rpartition(".")[2]: layer for layer in manifest["layers"]}
    for word, path in (("model", "talk-1b-Q8_0.gguf"), ("template", "template"), ("params", "params")):
        body = (models["acme/talk-GGUF"] / path).read_bytes()
        assert named[word] | {"mediaType": ""} == {
            "mediaType": "",
            "digest": f"sha256:{sha256(body).hexdigest()}",
            "size": len(body),
        }
    for blob in (store / "blobs").iterdir():
        assert blob.name == f"sha256-{sha256(blob.read_bytes()).hexdigest()}"
    config = json.loads((store / "blobs" / manifest["config"]["digest"].replace(":", "-")).read_text())
    assert (config["model_family"], config["model_type"], config["file_type"]) == ("llama", "1B", "Q8_0")
    assert not any(blob.is_symlink() for blob in (store / "blobs").iterdir())
    # Again, and with a manifest that somebody else wrote.
    assert preheat("view", "ollama", str(store), "acme/talk-GGUF").status == 0
    (manifests / "Q8_0").write_text("{}")
    assert preheat("view", "ollama", str(store), "acme/talk-GGUF").status == 5
    assert (manifests / "Q8_0").read_text() == "{}"


def test_a_projector_is_a_layer_and_a_model_in_parts_is_left_out_of_ollama(preheat: Preheat, tmp_path: Path) -> None:
    store = tmp_path / "ollama"
    preheat("pull", "acme/see-GGUF")
    told = preheat("view", "ollama", str(store), "acme/see-GGUF")
    assert told.status == 0, told.err
    assert "large-00001-of-00002.gguf: gguf, not placed: it has several parts" in told.err
    manifest = json.loads((store / "manifests/hf.co/acme/see-GGUF/F16").read_text())
    assert [layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"]] == ["model", "projector"]


def test_lm_studio_llama_cpp_and_text_generation_keep_a_model_together(preheat: Preheat) -> None:
    places = [
        word for kind in ("lm-studio", "llama-cpp", "text-generation-webui") for word in ("--view", f"{kind}=at/{kind}")
    ]
    told = preheat("pull", "acme/talk-GGUF", "acme/see-GGUF", *places)
    assert told.status == 0, told.err
    at = preheat.folder / "at"
    assert "acme/see-GGUF/mmproj-see-F16.gguf" in below(at / "lm-studio")
    assert sorted(below(at / "llama-cpp")) == [
        "large/large-00001-of-00002.gguf",
        "large/large-00002-of-00002.gguf",
        "large/mmproj-see-F16.gguf",
        "see-F16/mmproj-see-F16.gguf",
        "see-F16/see-F16.gguf",
        "talk-1b-Q4_K_M.gguf",
        "talk-1b-Q8_0.gguf",
    ]
    assert sorted(below(at / "text-generation-webui/user_data")) == [
        "mmproj/mmproj-see-F16.gguf",
        "models/large/large-00001-of-00002.gguf",
        "models/large/large-00002-of-00002.gguf",
        "models/see-F16.gguf",
        "models/talk-1b-Q4_K_M.gguf",
        "models/talk-1b-Q8_0.gguf",
    ]
    assert preheat("pull", "acme/pipeline", "--view", f"text-generation-webui={at}/tgw").status == 0
    assert (at / "tgw/user_data/models/acme_pipeline/model_index.json").is_file()


def test_a_recipe_cannot_have_a_view_that_depends_on_what_the_files_are(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text(
        '[app]\nname = "a"\ncommand = ["true"]\n[[needs]]\nref = "acme/pictures"\nview = "comfyui"\n'
    )
    told = preheat("pull")
    assert told.status == 2
    assert "to place it by hand: preheat view comfyui DIR REF" in told.err
    preheat("pull", "acme/pictures")
    assert preheat("view", "comfyui", "DIR", "acme/pictures").status == 0


def test_people_type_apps_in_their_own_words(preheat: Preheat) -> None:
    preheat("pull", "acme/pictures", "acme/see-GGUF")
    for kind, placed in (
        ("ComfyUI", "models/loras/style-lora.safetensors"),
        ("sd-next", "models/Lora/style-lora.safetensors"),
        ("automatic1111", "models/Lora/style-lora.safetensors"),
        ("invokeai", "lora/style-lora.safetensors"),
    ):
        told = preheat("view", kind, kind, "acme/pictures", "--files", "*lora*")
        assert told.status == 0, told.err
        assert (preheat.folder / kind / placed).is_file()
    # A language model in GGUF encodes texts for image models; those themselves are recognized.
    assert preheat("view", "comfyui", "texts", "acme/see-GGUF", "--files", "see*").status == 0
    assert (preheat.folder / "texts/models/text_encoders/see-F16.gguf").is_file()
    wrong = preheat("view", "comfy", "at", "acme/pictures")
    assert wrong.status == 2
    assert "did you mean comfyui" in wrong.err


def test_prune_keeps_what_an_app_uses_by_symlinks(preheat: Preheat, models: dict[str, Path], tmp_path: Path) -> None:
    home = comfyui(tmp_path).parent
    preheat("pull", "acme/pictures")
    words = ("view", "comfyui", str(home), "acme/pictures", "--link", "symlink")
    assert preheat(*words, "--files", "*lora*", "--files", "smile*").status == 0
    assert preheat("rm", "acme/pictures", "--yes").status == 0
    assert preheat("prune", "--yes").status == 0
    for path in ("loras/style-lora.safetensors", "embeddings/smile.safetensors"):
        placed = home / "models" / path
        assert placed.is_symlink()
        assert placed.read_bytes() == (models["acme/pictures"] / placed.name).read_bytes()
    assert preheat("verify").status == 0
