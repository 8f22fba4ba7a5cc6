"""Which model folders of apps are found, by their usual places, settings and installations."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from preheat.desk.app_folders import AppSurvey, find_app_folders
from preheat.desk.model_apps import APPS, app_named
from preheat.views.links import WAYS


def _make(home: Path, *folders: str) -> None:
    for folder in folders:
        (home / folder).mkdir(parents=True, exist_ok=True)


def _files(home: Path, *files: str) -> None:
    for file in files:
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).touch()


def _found(survey: AppSurvey) -> set[tuple[str, str]]:
    return {(one.app.name, str(one.path)) for one in survey.folders}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


USUAL = {
    "invokeai": "invokeai/models",
    "ollama": ".ollama/models",
    "lm-studio": ".lmstudio/models",
    "gpt4all": ".local/share/nomic.ai/GPT4All",
    "jan": ".local/share/Jan/data",
    "llama-cpp": ".cache/llama.cpp",
    "hf-cache": ".cache/huggingface/hub",
    "modelscope": ".cache/modelscope",
    "whisper": ".cache/whisper",
    "torch-hub": ".cache/torch/hub",
}


@pytest.mark.parametrize(("app", "folder"), USUAL.items())
def test_usual_place_is_found(home: Path, app: str, folder: str) -> None:
    _make(home, folder)
    assert _found(find_app_folders({}, home)) == {(app, str(home / folder))}


VARIABLES = {
    "OLLAMA_MODELS": ("ollama", ""),
    "LLAMA_CACHE": ("llama-cpp", ""),
    "HF_HUB_CACHE": ("hf-cache", ""),
    "HF_HOME": ("hf-cache", "hub"),
    "MODELSCOPE_CACHE": ("modelscope", ""),
    "TORCH_HOME": ("torch-hub", "hub"),
    "INVOKEAI_ROOT": ("invokeai", "models"),
    "JAN_DATA_FOLDER": ("jan", ""),
    "SD_MODELSDIR": ("sdnext", ""),
}


@pytest.mark.parametrize("variable", VARIABLES)
def test_variable_of_an_app_is_followed(home: Path, tmp_path: Path, variable: str) -> None:
    app, below = VARIABLES[variable]
    folder = tmp_path / "elsewhere" / below
    folder.mkdir(parents=True)
    assert _found(find_app_folders({variable: str(tmp_path / "elsewhere")}, home)) == {(app, str(folder))}


INSTALLATIONS = {
    "comfyui": ("folder_paths.py", "comfy/sd.py", "models/checkpoints/x"),
    "swarmui": ("SwarmUI.sln", "Models/Lora/x"),
    "fooocus": ("fooocus_version.py", "webui.py", "modules/sd_models.py", "models/loras/x"),
    "forge": ("webui.py", "modules/sd_models.py", "modules_forge/shared.py", "models/VAE/x"),
    "sdnext": ("webui.py", "modules/sd_models.py", "installer.py", "models/VAE/x"),
    "a1111": ("webui.py", "modules/sd_models.py", "models/Stable-diffusion/x"),
    "invokeai": ("invokeai.yaml", "models/any/x"),
    "stability-matrix": ("Data/.sm-portable", "Data/Models/Lora/x"),
    "text-generation-webui": ("server.py", "download-model.py", "user_data/models/x"),
}


@pytest.mark.parametrize("app", INSTALLATIONS)
@pytest.mark.parametrize("at", ["App", "ai/apps/App", "StabilityMatrix/Data/Packages/App"])
def test_installation_is_found_by_its_files(home: Path, app: str, at: str) -> None:
    files = INSTALLATIONS[app]
    _files(home, *(f"{at}/{file}" for file in files))
    found = _found(find_app_folders({}, home))
    assert found == {
        (
            app,
            str(
                Path(home, at, files[-1]).parent.parent
                if app != "text-generation-webui"
                else Path(home, at, files[-1]).parent
            ),
        )
    }


def _comfy(home: Path, models: Path) -> None:
    _files(home, "ComfyUI/folder_paths.py", "ComfyUI/comfy/sd.py")
    (home / "ComfyUI/extra_model_paths.yaml").write_text(
        f"a1111:\n    base_path: {models.parent}\n    checkpoints: {models.name}\n    loras: |\n        {models.name}\n"
    )


def _a1111(home: Path, models: Path) -> None:
    _files(home, "sd/webui.py", "sd/modules/sd_models.py")
    (home / "sd/webui-user.sh").write_text(
        f'#!/bin/bash\n#x\nexport COMMANDLINE_ARGS="--medvram --ckpt-dir \\"{models}\\""\n'
    )


def _forge(home: Path, models: Path) -> None:
    _files(home, "f/webui.py", "f/modules_forge/shared.py")
    (home / "f/webui-user.sh").write_text(f"export COMMANDLINE_ARGS='--controlnet-dir=\"{models}\"'\n")


def _sdnext(home: Path, models: Path) -> None:
    _files(home, "n/webui.py", "n/installer.py", "n/modules/x.py")
    (home / "n/config.json").write_text(json.dumps({"ckpt_dir": str(models), "samples": 1}))


def _swarm(home: Path, models: Path) -> None:
    _files(home, "s/SwarmUI.sln", "s/Data/x")
    (home / "s/Data/Settings.fds").write_text(f"#comment\nPaths:\n\t#Root\n\tModelRoot: Models;{models}\n")


def _fooocus(home: Path, models: Path) -> None:
    _files(home, "o/fooocus_version.py")
    (home / "o/config.txt").write_text(json.dumps({"path_checkpoints": [str(models)], "path_outputs": str(home)}))


def _invoke(home: Path, models: Path) -> None:
    _make(home, "i")
    (home / "i/invokeai.yaml").write_text(f"schema_version: 4.0.2\nmodels_dir: {models}\n")


def _matrix(home: Path, models: Path) -> None:
    _make(home, ".config/StabilityMatrix")
    (home / ".config/StabilityMatrix/library.json").write_text(json.dumps({"LibraryPath": str(models.parent)}))


def _tgw(home: Path, models: Path) -> None:
    _files(home, "t/server.py", "t/download-model.py", "t/user_data/x")
    (home / "t/user_data/CMD_FLAGS.txt").write_text(f"# comment\n--api\n--model-dir '{models}'\n")


def _lm_studio(home: Path, models: Path) -> None:
    _make(home, ".lmstudio")
    (home / ".lmstudio/settings.json").write_text(json.dumps({"downloadsFolder": str(models)}))


def _jan(home: Path, models: Path) -> None:
    _make(home, ".local/share/Jan")
    (home / ".local/share/Jan/settings.json").write_text(json.dumps({"data_folder": str(models)}))


def _gpt4all(home: Path, models: Path) -> None:
    _make(home, ".config/nomic.ai")
    (home / ".config/nomic.ai/GPT4All.ini").write_text(f"[General]\nmodelPath={models}\n[x]\nmodelPath=/\n")


SETTINGS: dict[str, Callable[[Path, Path], None]] = {
    "comfyui": _comfy,
    "a1111": _a1111,
    "forge": _forge,
    "sdnext": _sdnext,
    "swarmui": _swarm,
    "fooocus": _fooocus,
    "invokeai": _invoke,
    "stability-matrix": _matrix,
    "text-generation-webui": _tgw,
    "lm-studio": _lm_studio,
    "jan": _jan,
    "gpt4all": _gpt4all,
}


@pytest.mark.parametrize("name", ["Models", "Модели и 模型"])
@pytest.mark.parametrize("app", SETTINGS)
def test_folder_in_settings_is_found_and_told(home: Path, tmp_path: Path, app: str, name: str) -> None:
    if app == "stability-matrix":
        name = "Models"
    models = tmp_path / "big disk" / name
    models.mkdir(parents=True)
    SETTINGS[app](home, models)
    survey = find_app_folders({}, home)
    assert [(one.app.name, one.path) for one in survey.folders] == [(app, models)]
    assert survey.folders[0].via.startswith(str(home))
    assert survey.notes == ()


BROKEN = {
    "not YAML": ("ComfyUI/extra_model_paths.yaml", b"a: [1, 2"),
    "not a mapping": ("ComfyUI/extra_model_paths.yaml", b"- 1\n- 2\n"),
    "deep": ("ComfyUI/extra_model_paths.yaml", b"[" * 100_000),
    "too large": ("ComfyUI/extra_model_paths.yaml", b"#" * (2 << 20)),
    "not JSON": (".lmstudio/settings.json", b"{"),
    "a list": (".lmstudio/settings.json", b"[]"),
    "deep JSON": (".lmstudio/settings.json", b"[" * 100_000),
    "not INI": (".config/nomic.ai/GPT4All.ini", b"nothing\n"),
    "open quote": ("sd/webui-user.sh", b"COMMANDLINE_ARGS='--ckpt-dir\n"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_settings_are_reported_and_the_rest_is_found(home: Path, case: str) -> None:
    name, body = BROKEN[case]
    _files(home, "ComfyUI/folder_paths.py", "ComfyUI/comfy/sd.py", "ComfyUI/models/x")
    _files(home, "sd/webui.py", "sd/modules/sd_models.py")
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).write_bytes(body)
    survey = find_app_folders({}, home)
    assert ("comfyui", str(home / "ComfyUI/models")) in _found(survey)
    assert [what for what, said in survey.notes if said.startswith("not read: ")] == [str(home / name)]


def test_values_of_the_wrong_type_and_missing_folders_are_ignored(home: Path) -> None:
    _files(home, "ComfyUI/folder_paths.py", "ComfyUI/comfy/sd.py")
    (home / "ComfyUI/extra_model_paths.yaml").write_text("a:\n  checkpoints: 1\n  loras: /nowhere\nb: text\n1: [2]\n")
    _make(home, ".lmstudio")
    (home / ".lmstudio/settings.json").write_text('{"downloadsFolder": 7}')
    assert find_app_folders({}, home).folders == ()
    assert find_app_folders({}, home).notes == ()


def test_yaml_aliases_are_not_expanded(home: Path) -> None:
    _files(home, "ComfyUI/folder_paths.py", "ComfyUI/comfy/sd.py")
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]" for n in range(9)]
    (home / "ComfyUI/extra_model_paths.yaml").write_text("\n".join(lines))
    assert find_app_folders({}, home).folders == ()


def test_folder_of_two_apps_is_listed_for_both(home: Path) -> None:
    _a1111(home, home / "unused")
    _make(home, "sd/models/Lora")
    _files(home, "ComfyUI/folder_paths.py", "ComfyUI/comfy/sd.py")
    (home / "ComfyUI/extra_model_paths.yaml").write_text("a:\n  base_path: ${HOME}/sd\n  loras: models\n")
    assert _found(find_app_folders({}, home)) == {
        ("a1111", str(home / "sd/models")),
        ("comfyui", str(home / "sd/models")),
    }


def test_folder_inside_another_of_the_same_app_is_listed_once(home: Path) -> None:
    _make(home, "m/deep")
    survey = find_app_folders({"OLLAMA_MODELS": str(home / "m")}, home, [home / "m"])
    assert _found(survey) == {("ollama", str(home / "m"))}


def test_further_folder_may_be_an_installation_or_plain(home: Path, tmp_path: Path) -> None:
    _files(tmp_path, "disk/ComfyUI/folder_paths.py", "disk/ComfyUI/comfy/sd.py", "disk/ComfyUI/models/x", "plain/a")
    survey = find_app_folders({}, home, [tmp_path / "disk", tmp_path / "plain"])
    assert _found(survey) == {("comfyui", str(tmp_path / "disk/ComfyUI/models")), ("other", str(tmp_path / "plain"))}


def test_symlink_loops_and_unreadable_folders_do_not_stop_the_search(home: Path) -> None:
    _files(home, "z/webui.py", "z/modules/sd_models.py", "z/models/x")
    (home / "loop").symlink_to(home)
    (home / "z/up").symlink_to("..")
    _make(home, "closed")
    (home / "closed").chmod(0)
    (home / ".ollama").mkdir()
    (home / ".ollama/models").symlink_to("models")
    assert _found(find_app_folders({}, home)) == {("a1111", str(home / "z/models"))}
    (home / "closed").chmod(0o755)


def test_name_that_is_not_utf8_does_not_stop_the_search(home: Path) -> None:
    strange = os.fsdecode(b"\xff\xfe")
    _files(home, f"{strange}/ComfyUI/folder_paths.py", f"{strange}/ComfyUI/comfy", f"{strange}/ComfyUI/models/x")
    assert [one.app.name for one in find_app_folders({}, home).folders] == ["comfyui"]


def test_each_app_is_named_once_and_its_links_are_known() -> None:
    assert len({app.name for app in APPS}) == len(APPS)
    assert all(set(app.links) < set(WAYS) for app in APPS)
    assert app_named("nothing") is None
