"""Model apps: the apps that keep models in folders of their own, as one table: where, by kind, and the safe links.

Read from the apps' own code and documents in November 2026:

- ComfyUI: folder_paths.py, utils/extra_config.py, extra_model_paths.yaml.example. `isfile` follows symlinks.
- AUTOMATIC1111: modules/paths_internal.py, modules/cmd_args.py. Forge: modules/cmd_args.py, modules_forge/shared.py.
  Both walk folders with followlinks. Extensions that edit a model's metadata save it to the same file, in place.
- SD.Next: modules/paths.py, modules/ui_definitions.py (its config.json).
- SwarmUI: src/Core/Settings.cs. Metadata is edited in a new file, which replaces the old one: T2IModel.cs.
- Fooocus: modules/config.py (config.txt, user_path_config.txt).
- InvokeAI: config_default.py; model_install_default.py resolves symlinks, and deletes what its records name.
- Stability Matrix: SettingsManager.cs (library.json, portable mode), SharedFolderType.cs.
- text-generation-webui: modules/shared.py, modules/paths.py (CMD_FLAGS.txt).
- Ollama: envconfig/config.go, docs/faq.mdx, docs/linux.mdx. LM Studio: lms, lmstudioPaths.ts and importCmd.ts.
- Jan: src-tauri/src/core/app/commands.rs. GPT4All: mysettings.cpp, main.cpp, and gpt4all.py of its Python package.
- llama.cpp: common/common.cpp, fs_get_cache_directory. torch: torch/hub.py. openai-whisper: whisper/__init__.py, which
  opens a checkpoint with a wrong digest for writing, in place.
- huggingface_hub: utils/_cache_manager.py deletes what a symlink in `blobs` resolves to, so only hard links are safe.
- ModelScope: hub/snapshot_download.py of 1.27 and 1.40. Civitai helpers are extensions of AUTOMATIC1111: they keep
  previews and `.civitai.info` files beside the models.

Where the behaviour with symlinks is not documented, they count as unsafe.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

LinkKind = Literal["reflink", "hardlink", "symlink"]
_SEPARATE: tuple[LinkKind, ...] = ("reflink", "hardlink")  # names of regular files
_ANY: tuple[LinkKind, ...] = ("reflink", "hardlink", "symlink")

# Kinds of models, as the folders of the apps have them.
CHECKPOINT, LORA, VAE, CONTROLNET, CLIP, CLIP_VISION = "checkpoint", "lora", "vae", "controlnet", "clip", "clip-vision"
UNET, EMBEDDING, UPSCALER, HYPERNETWORK = "unet", "embedding", "upscaler", "hypernetwork"
# A language model in GGUF, with which image apps encode texts. GGUF files with parts of image models are UNET and CLIP.
GGUF = "gguf"
LANGUAGE = "language-model"  # of transformers; apps keep it as a folder
KINDS = (
    CHECKPOINT,
    LORA,
    VAE,
    CONTROLNET,
    CLIP,
    CLIP_VISION,
    UNET,
    EMBEDDING,
    UPSCALER,
    HYPERNETWORK,
    GGUF,
)  # that a file can have


@dataclass(frozen=True, slots=True)
class ModelApp:
    """An app: how its folders are found, and what it does with the files in them.

    An installation is a folder with all of `markers`; its model folders are `folders` below it. `places` are folders
    for which no installation is needed, and `variables` are environment variables that replace them. In both,
    `{home}`, `{cache}`, `{config}` and `{data}` are the user's folders. `kinds` maps kinds of models to folders below
    the first of `folders`, or below the place. `links`: the kinds of link that it accepts, in order of preference.
    `rewrites`: it, or an extension of it, may write to a model's file in place. `nameless`: its files have no model's
    extension, so each large file counts as a model.
    """

    name: str
    title: str
    links: tuple[LinkKind, ...]
    markers: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict, hash=False)
    rewrites: bool = False
    nameless: bool = False

    def safe_links(self, *, as_root: bool) -> tuple[LinkKind, ...]:
        """Return the kinds of link through which the app cannot change a blob; as root, a blob's mode is no barrier."""
        return tuple(one for one in self.links if one == "reflink" or not (as_root and self.rewrites))


_A1111_KINDS = {
    CHECKPOINT: "Stable-diffusion",
    LORA: "Lora",
    VAE: "VAE",
    CONTROLNET: "ControlNet",
    EMBEDDING: "../embeddings",
    UPSCALER: "ESRGAN",
    HYPERNETWORK: "hypernetworks",
}
_FORGE_KINDS = {**_A1111_KINDS, CLIP: "text_encoder", UNET: "Stable-diffusion", GGUF: "text_encoder"}
_COMFY_KINDS = {
    CHECKPOINT: "checkpoints",
    LORA: "loras",
    VAE: "vae",
    CONTROLNET: "controlnet",
    CLIP: "text_encoders",
    CLIP_VISION: "clip_vision",
    UNET: "diffusion_models",
    EMBEDDING: "embeddings",
    UPSCALER: "upscale_models",
    HYPERNETWORK: "hypernetworks",
    GGUF: "text_encoders",
}
_SWARM_KINDS = {
    CHECKPOINT: "Stable-Diffusion",
    LORA: "Lora",
    VAE: "VAE",
    CONTROLNET: "controlnet",
    CLIP: "text_encoders",
    CLIP_VISION: "clip_vision",
    UNET: "diffusion_models",
    EMBEDDING: "Embeddings",
    UPSCALER: "upscale_models",
    GGUF: "text_encoders",
}
_MATRIX_KINDS = {
    CHECKPOINT: "StableDiffusion",
    LORA: "Lora",
    VAE: "VAE",
    CONTROLNET: "ControlNet",
    CLIP: "TextEncoders",
    CLIP_VISION: "ClipVision",
    UNET: "DiffusionModels",
    EMBEDDING: "Embeddings",
    UPSCALER: "ESRGAN",
    HYPERNETWORK: "Hypernetwork",
    GGUF: "TextEncoders",
}
_SDNEXT_KINDS = {**_A1111_KINDS, CLIP: "Text-encoder", UNET: "UNET", CONTROLNET: "control", EMBEDDING: "embeddings"}
_FOOOCUS_KINDS = {
    CHECKPOINT: "checkpoints",
    LORA: "loras",
    VAE: "vae",
    CONTROLNET: "controlnet",
    CLIP_VISION: "clip_vision",
    EMBEDDING: "embeddings",
    UPSCALER: "upscale_models",
}

# An installation belongs to the first app whose markers it has.
APPS = (
    ModelApp("comfyui", "ComfyUI", _ANY, ("folder_paths.py", "comfy"), ("models",), kinds=_COMFY_KINDS),
    ModelApp("swarmui", "SwarmUI", _ANY, ("SwarmUI.sln",), ("Models",), kinds=_SWARM_KINDS),
    ModelApp("fooocus", "Fooocus", _ANY, ("fooocus_version.py",), ("models",), kinds=_FOOOCUS_KINDS),
    ModelApp(
        "forge",
        "Stable Diffusion WebUI Forge",
        _ANY,
        ("webui.py", "modules_forge"),
        ("models", "embeddings"),
        kinds=_FORGE_KINDS,
        rewrites=True,
    ),
    ModelApp(
        "sdnext",
        "SD.Next",
        _ANY,
        ("webui.py", "installer.py", "modules"),
        ("models",),
        variables=("SD_MODELSDIR",),
        kinds=_SDNEXT_KINDS,
        rewrites=True,
    ),
    ModelApp(
        "a1111",
        "AUTOMATIC1111",
        _ANY,
        ("webui.py", "modules/sd_models.py"),
        ("models", "embeddings"),
        kinds=_A1111_KINDS,
        rewrites=True,
    ),
    ModelApp(
        "invokeai",
        "InvokeAI",
        _SEPARATE,
        ("invokeai.yaml",),
        ("models",),
        ("{home}/invokeai/models",),
        ("INVOKEAI_ROOT/models",),
    ),
    ModelApp(
        "stability-matrix",
        "Stability Matrix",
        _SEPARATE,
        ("Data/.sm-portable",),
        ("Data/Models",),
        kinds=_MATRIX_KINDS,
    ),
    ModelApp(
        "text-generation-webui",
        "text-generation-webui",
        _ANY,
        ("server.py", "download-model.py"),
        ("user_data/models", "user_data/loras", "user_data/image_models", "models", "loras"),
        kinds={GGUF: "."},
    ),
    ModelApp(
        "ollama",
        "Ollama",
        _SEPARATE,
        places=("{home}/.ollama/models", "/usr/share/ollama/.ollama/models", "/var/snap/ollama/common/models"),
        variables=("OLLAMA_MODELS",),
        nameless=True,
    ),
    ModelApp("lm-studio", "LM Studio", _SEPARATE, places=("{home}/.lmstudio/models", "{home}/.cache/lm-studio/models")),
    ModelApp(
        "gpt4all",
        "GPT4All",
        _SEPARATE,
        places=(
            "{data}/nomic.ai/GPT4All",
            "{cache}/gpt4all",
            "{home}/.var/app/io.gpt4all.gpt4all/data/nomic.ai/GPT4All",
        ),
        kinds={GGUF: "."},
    ),
    ModelApp(
        "jan",
        "Jan",
        _SEPARATE,
        places=("{data}/Jan/data", "{config}/Jan/data", "{home}/jan"),
        variables=("JAN_DATA_FOLDER",),
    ),
    ModelApp("llama-cpp", "llama.cpp", _ANY, places=("{cache}/llama.cpp",), variables=("LLAMA_CACHE",)),
    ModelApp(
        "hf-cache",
        "Hugging Face cache",
        _SEPARATE,
        places=("{cache}/huggingface/hub",),
        variables=("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME/hub"),
        nameless=True,
    ),
    ModelApp(
        "modelscope",
        "ModelScope cache",
        _ANY,
        # The client ignores XDG_CACHE_HOME. All three layouts are below: `hub/`, `models/` and `models/OWNER--NAME`.
        places=("{home}/.cache/modelscope",),
        variables=("MODELSCOPE_CACHE",),
    ),
    ModelApp("whisper", "openai-whisper", _ANY, places=("{cache}/whisper",), rewrites=True),
    ModelApp("torch-hub", "torch.hub", _ANY, places=("{cache}/torch/hub",), variables=("TORCH_HOME/hub",)),
)
# A folder that the user names, of no known app.
OTHER = ModelApp("other", "other folders", _SEPARATE, rewrites=True)


def app_named(name: str) -> ModelApp | None:
    """Return the app with this name; None if there is none."""
    return next((app for app in (*APPS, OTHER) if app.name == name), None)
