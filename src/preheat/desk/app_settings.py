"""App settings: the model folders that apps' own settings files name, besides their usual places.

Each reader takes an installation or a settings file, and yields paths as the app would read them; what is malformed
raises `ValueError`, and is reported by the caller. Files are small and bounded, since they are other programs'.
"""

import configparser
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

import msgspec

from preheat.disk.regular_file import read_regular

_MOST = 1 << 20  # bytes of a settings file


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The settings of an app at `path`; relative paths in it start at `base`. `read` yields the paths that it names."""

    app: str
    path: Path
    base: Path
    read: Callable[["SettingsFile", Mapping[str, str]], Iterator[str]]

    def folders(self, environ: Mapping[str, str]) -> tuple[Path, ...]:
        """Return the folders that the file names. Raise OSError, ValueError, or ImportError without a YAML reader."""
        home = environ.get("HOME", "")
        found = []
        for words in self.read(self, environ):
            words = words.strip()
            if words.startswith("~/") and home:
                words = home + words[1:]
            if words and "\0" not in words:
                found.append(self.base / words)
        return tuple(dict.fromkeys(found))


def settings_of(app: str, install: Path) -> tuple[SettingsFile, ...]:
    """Return the settings files that an installation of an app may have; they need not exist."""
    names = _IN_INSTALLATIONS.get(app, ())
    return tuple(SettingsFile(app, install / name, install, read) for name, read in names)


def settings_of_user(home: Path, config: Path, data: Path) -> tuple[SettingsFile, ...]:
    """Return the settings files in a user's folders; they need not exist."""
    places = (
        ("comfyui", config / "ComfyUI" / "extra_models_config.yaml", _comfy_yaml),
        ("stability-matrix", config / "StabilityMatrix" / "library.json", _stability_matrix),
        ("lm-studio", home / ".lmstudio" / "settings.json", _lm_studio),
        ("lm-studio", home / ".cache" / "lm-studio" / "settings.json", _lm_studio),
        ("jan", data / "Jan" / "settings.json", _jan),
        ("jan", config / "Jan" / "settings.json", _jan),
        ("gpt4all", config / "nomic.ai" / "GPT4All.ini", _gpt4all),
    )
    return tuple(SettingsFile(app, path, path.parent, read) for app, path, read in places)


def _comfy_yaml(file: SettingsFile, environ: Mapping[str, str]) -> Iterator[str]:
    """Read extra_model_paths.yaml: sections with `base_path`, and one or more paths a line for each kind."""
    for section in _yaml(file.path).values():
        if not isinstance(section, dict):
            continue
        base = section.get("base_path")
        base = Template(base).safe_substitute(environ) if isinstance(base, str) else ""
        for kind, words in section.items():
            if kind in ("base_path", "is_default", "custom_nodes", "configs") or not isinstance(words, str):
                continue
            for line in words.splitlines():
                if line.strip():
                    yield str(Path(base) / line.strip())


def _a1111_script(file: SettingsFile, environ: Mapping[str, str]) -> Iterator[str]:
    """Read COMMANDLINE_ARGS in webui-user.sh: `export COMMANDLINE_ARGS="--ckpt-dir /models"`."""
    for line in _text(file.path).splitlines():
        found = re.match(r"\s*(?:export\s+)?COMMANDLINE_ARGS=(.*)", line)
        for words in shlex.split(found[1], comments=True) if found else ():
            yield from _options(shlex.split(Template(words).safe_substitute(environ)), _A1111_OPTIONS)


def _tgw_flags(file: SettingsFile, environ: Mapping[str, str]) -> Iterator[str]:  # noqa: ARG001 - as all readers
    """Read CMD_FLAGS.txt: options on lines that are not comments."""
    lines = [line for line in _text(file.path).splitlines() if not line.lstrip().startswith("#")]
    yield from _options(shlex.split("\n".join(lines)), _TGW_OPTIONS)


def _sdnext_config(file: SettingsFile, environ: Mapping[str, str]) -> Iterator[str]:  # noqa: ARG001 - as all readers
    """Read config.json: `models_dir`, `ckpt_dir` and others."""
    config = _json(file.path)
    for name in _SDNEXT_FOLDERS:
        if isinstance(words := config.get(name), str):
            yield words


def _swarm_settings(file: SettingsFile, environ: Mapping[str, str]) -> Iterator[str]:  # noqa: ARG001 - as all readers
    r"""Read `ModelRoot` in Settings.fds: `key: value` lines, with `\s` for a backslash and `\x` for nothing."""
    for line in _text(file.path).splitlines():
        found = re.fullmatch(r"\s*ModelRoot\s*:\s*(.+)", line)
        if found:
            yield from found[1].replace("\\x", "").replace("\\s", "\\").split(";")


def _fooocus_config(file: SettingsFile, environ: Mapping[str, str]) -> Iterator[str]:  # noqa: ARG001 - as all readers
    """Read config.txt, which is JSON: `path_checkpoints`, `path_loras`, …: a path, or several."""
    for name, words in _json(file.path).items():
        if name.startswith("path_") and name not in ("path_outputs", "path_wildcards"):
            yield from (one for one in (words if isinstance(words, list) else [words]) if isinstance(one, str))


def _invoke_yaml(file: SettingsFile, environ: Mapping[str, str]) -> Iterator[str]:  # noqa: ARG001 - as all readers
    """Read invokeai.yaml: `models_dir`; up to version 3 in the section InvokeAI."""
    config = _yaml(file.path)
    sections = [config, *(one for one in config.values() if isinstance(one, dict))]
    inner = [one for section in sections[1:] for one in section.values() if isinstance(one, dict)]
    for section in (*sections, *inner):
        if isinstance(words := section.get("models_dir"), str):
            yield words


def _stability_matrix(file: SettingsFile, environ: Mapping[str, str]) -> Iterator[str]:  # noqa: ARG001 - as all readers
    """Read library.json: `LibraryPath`, whose folder `Models` all its packages share."""
    if isinstance(words := _json(file.path).get("LibraryPath"), str):
        yield f"{words}/Models"


def _lm_studio(file: SettingsFile, environ: Mapping[str, str]) -> Iterator[str]:  # noqa: ARG001 - as all readers
    """Read settings.json: `downloadsFolder`."""
    if isinstance(words := _json(file.path).get("downloadsFolder"), str):
        yield words


def _jan(file: SettingsFile, environ: Mapping[str, str]) -> Iterator[str]:  # noqa: ARG001 - as all readers
    """Read settings.json: `data_folder`."""
    if isinstance(words := _json(file.path).get("data_folder"), str):
        yield words


def _gpt4all(file: SettingsFile, environ: Mapping[str, str]) -> Iterator[str]:  # noqa: ARG001 - as all readers
    """Read GPT4All.ini: `modelPath` in the section General, as QSettings writes it."""
    ini = configparser.RawConfigParser(strict=False)
    try:
        ini.read_string(_text(file.path))
    except configparser.Error as error:
        raise ValueError("it is not an INI file") from error
    for name in ("modelpath", "modelpaths"):
        if words := ini.get("General", name, fallback=""):
            yield words.strip('"')


_A1111_OPTIONS = (
    "--data-dir",
    "--ckpt-dir",
    "--vae-dir",
    "--lora-dir",
    "--embeddings-dir",
    "--hypernetwork-dir",
    "--controlnet-dir",
    "--text-encoder-dir",
    "--esrgan-models-path",
    "--realesrgan-models-path",
    "--codeformer-models-path",
    "--gfpgan-models-path",
    "--clip-models-path",
    "--forge-ref-a1111-home",
    "--models-dir",
)
# Of these, only the folder `models` has models.
_HOMES = ("--data-dir", "--forge-ref-a1111-home")
_TGW_OPTIONS = ("--model-dir", "--lora-dir", "--image-model-dir")
_SDNEXT_FOLDERS = (
    "models_dir",
    "ckpt_dir",
    "diffusers_dir",
    "hfcache_dir",
    "vae_dir",
    "unet_dir",
    "te_dir",
    "lora_dir",
    "embeddings_dir",
    "control_dir",
    "yolo_dir",
    "esrgan_models_path",
    "bsrgan_models_path",
    "realesrgan_models_path",
    "scunet_models_path",
    "swinir_models_path",
    "clip_models_path",
)
_IN_INSTALLATIONS: dict[str, tuple[tuple[str, Callable[[SettingsFile, Mapping[str, str]], Iterator[str]]], ...]] = {
    "comfyui": (("extra_model_paths.yaml", _comfy_yaml),),
    "a1111": (("webui-user.sh", _a1111_script),),
    "forge": (("webui-user.sh", _a1111_script),),
    "sdnext": (("config.json", _sdnext_config), ("webui-user.sh", _a1111_script)),
    "swarmui": (("Data/Settings.fds", _swarm_settings),),
    "fooocus": (("config.txt", _fooocus_config),),
    "invokeai": (("invokeai.yaml", _invoke_yaml),),
    "text-generation-webui": (("user_data/CMD_FLAGS.txt", _tgw_flags), ("CMD_FLAGS.txt", _tgw_flags)),
}


def _options(words: list[str], known: tuple[str, ...]) -> Iterator[str]:
    """Yield the folders of the `known` options: `--name DIR` or `--name=DIR`."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in known and (value or following):
            folder = value if equals else following
            yield f"{folder}/models" if name in _HOMES else folder


def _text(path: Path) -> str:
    return read_regular(path, _MOST).decode("utf-8", "surrogateescape")


def _json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(read_regular(path, _MOST))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("it is not valid JSON") from error
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    return found


def _yaml(path: Path) -> dict[str, object]:
    """Read a YAML file with PyYAML's safe loader. Aliases in it cost nothing until they are followed; none is."""
    body = read_regular(path, _MOST)
    try:
        found = msgspec.yaml.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError("it is not valid YAML") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError("it is not a YAML mapping")
    return {str(name): value for name, value in found.items()}
