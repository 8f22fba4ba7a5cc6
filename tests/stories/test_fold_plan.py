"""`fold` without --yes, end to end: the models in apps' folders and their duplicates; nothing is changed."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.stories.desk import (
    AS_USER,
    MEBI,
    a1111,
    comfyui,
    fooocus,
    ollama,
    safetensors,
    text_generation,
    wait_until_old,
    write,
)

CHECKPOINT = safetensors("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.conv_in.weight")
LORA = safetensors("lora_unet_down_blocks_0.lora_up.weight", size=MEBI, seed=1)


@pytest.fixture
def home(preheat: Preheat) -> Path:
    """Five apps: a checkpoint in three of them, a LoRA twice in one, a GGUF in two, and one file of its own."""
    write(comfyui(preheat.folder) / "checkpoints/dream.safetensors", CHECKPOINT)
    write(comfyui(preheat.folder) / "loras/style.safetensors", LORA)
    write(comfyui(preheat.folder) / "loras/copy of style.safetensors", LORA)
    write(a1111(preheat.folder) / "Stable-diffusion/dream v1.safetensors", CHECKPOINT)
    write(fooocus(preheat.folder) / "checkpoints/model.safetensors", CHECKPOINT)
    gguf = b"GGUF" + bytes(3 * MEBI)
    write(ollama(preheat.folder) / f"sha256-{hashlib.sha256(gguf).hexdigest()}", gguf)
    write(text_generation(preheat.folder) / "tiny.Q4_0.gguf", gguf)
    write(text_generation(preheat.folder) / "only/model.safetensors", safetensors("a", seed=9))
    return wait_until_old(preheat.folder)


def _looks(folder: Path) -> dict[str, tuple[int, ...]]:
    return {
        str(path): (look.st_ino, look.st_mode, look.st_nlink, look.st_size, look.st_mtime_ns, look.st_ctime_ns)
        for path in folder.rglob("*")
        if path.is_file() and ".local" not in path.parts and not path.name.startswith("said-")
        for look in (path.stat(),)
    }


def test_plan_lists_duplicates_and_changes_nothing(preheat: Preheat, home: Path) -> None:
    before = _looks(home)
    told = preheat("fold", "--json", inside=AS_USER)
    assert told.status == 0, told.out + told.err
    done = told.last
    twice = 2 * len(CHECKPOINT) + len(LORA) + 3 * MEBI + 4
    assert (done["files"], done["done"]) == (8, False)
    assert twice <= done["twice"] <= twice + 8 * 4096
    assert done["saved"] == done["twice"]
    assert {app["name"] for app in done["apps"]} == {"comfyui", "a1111", "fooocus", "ollama", "text-generation-webui"}
    dream = next(model for model in done["models"] if model["sha256"] == hashlib.sha256(CHECKPOINT).hexdigest())
    assert {name for file in dream["files"] for name in file["apps"]} == {"comfyui", "a1111", "fooocus"}
    assert dream["autov2"] == hashlib.sha256(CHECKPOINT).hexdigest()[:10].upper()
    assert {model["kind"] for model in done["models"]} == {"checkpoint", "lora", "gguf", ""}
    assert dream["ref"].startswith("file:/")
    assert done["left"] == done["notes"] == []
    assert _looks(home) == before
    assert not preheat.library.exists()


def test_sentences_have_the_figures_of_the_plan(preheat: Preheat, home: Path) -> None:
    told = preheat("fold", inside=AS_USER)
    assert told.status == 0, told.err
    assert "ComfyUI: " in told.out
    assert re.search(r"dream v1.safetensors|dream.safetensors|model.safetensors", told.out)
    assert "in 3 places: " in told.out
    assert re.search(r"MB in 8 files, .* of it duplicates; folding frees ", told.out)


def test_second_run_reads_nothing_and_says_the_same(preheat: Preheat, home: Path) -> None:
    first, second = preheat("fold", "--json", inside=AS_USER), preheat("fold", "--json", inside=AS_USER)
    assert [event["files"] for event in first.events if event["event"] == "reading"] == [8]
    assert [event["files"] for event in second.events if event["event"] == "reading"] == [0]
    assert second.last | {"free": 0} == first.last | {"free": 0}


def test_changed_file_is_hashed_again(preheat: Preheat, home: Path) -> None:
    preheat("fold", "--json", inside=AS_USER)
    write(home / "ComfyUI/models/loras/style.safetensors", safetensors("other", size=MEBI, seed=5), age_s=1800)
    told = preheat("fold", "--json", inside=AS_USER)
    assert [event["files"] for event in told.events if event["event"] == "reading"] == [1]
    assert not any(len(model["files"]) == 2 and "loras" in model["files"][0]["path"] for model in told.last["models"])


def test_young_file_is_not_remembered(preheat: Preheat, home: Path) -> None:
    write(home / "ComfyUI/models/loras/new.safetensors", LORA + b"more", age_s=-3600)
    preheat("fold", "--json", inside=AS_USER)
    told = preheat("fold", "--json", inside=AS_USER)
    assert [event["files"] for event in told.events if event["event"] == "reading"] == [1]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_report_is_one_page_with_all_duplicates(preheat: Preheat, home: Path, language: str) -> None:
    told = preheat("fold", "--report", "fold.html", "--lang", language, inside=AS_USER)
    assert told.status == 0, told.err
    page = (home / "fold.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.search(r"(src|href)=", page)
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    for name in ("dream v1.safetensors", "copy of style.safetensors", "tiny.Q4_0.gguf"):
        assert name in page
    assert f"AutoV2 {hashlib.sha256(CHECKPOINT).hexdigest()[:10].upper()}" in page
    assert ("Duplicates" in page) is (language == "en")
    assert ("重复" in page) is (language == "zh")


def test_report_escapes_names(preheat: Preheat, home: Path) -> None:
    for name in ("<script>alert(1)</script>.ckpt", '"><img>.ckpt'.replace("/", "")):
        write(home / "ComfyUI/models/loras" / name.replace("/", "_"), LORA)
    strange = home / "ComfyUI/models/loras" / os.fsdecode(b"\xff\xfe\n.ckpt")
    write(strange, LORA)
    assert preheat("fold", "--report", "fold.html", inside=AS_USER).status == 0
    page = (home / "fold.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "<img>" not in page
    assert "\\xff\\xfe" in page


def test_report_that_cannot_be_written_is_an_error_before_hashing(preheat: Preheat, home: Path) -> None:
    told = preheat("fold", "--json", "--report", "nowhere/fold.html", inside=AS_USER)
    assert (told.status, told.last["kind"]) == (2, "UsageError")
    assert [event["event"] for event in told.events] == ["error"]


def test_without_apps_also_is_named(preheat: Preheat) -> None:
    told = preheat("fold", inside=AS_USER)
    assert told.status == 0
    assert told.out == "no model folders found; --also DIR names one\n"


def test_further_folder_is_folded_too(preheat: Preheat, home: Path) -> None:
    write(home / "elsewhere/dream.ckpt", CHECKPOINT)
    told = preheat("fold", "--json", "--also", "elsewhere", inside=AS_USER)
    assert told.last["files"] == 9
    assert "other" in {app["name"] for app in told.last["apps"]}
    wrong = preheat("fold", "--json", "--also", "missing", inside=AS_USER)
    assert (wrong.status, wrong.last["kind"]) == (2, "UsageError")


def test_model_in_the_library_is_named(preheat: Preheat, home: Path) -> None:
    write(home / "acme/model.safetensors", CHECKPOINT)
    assert preheat("adopt", "acme", "--as", "acme/dream", "--copy").status == 0
    told = preheat("fold", "--json", inside=AS_USER)
    dream = next(model for model in told.last["models"] if model["sha256"] == hashlib.sha256(CHECKPOINT).hexdigest())
    assert [name.partition("@")[0] for name in dream["names"]] == ["hf:acme/dream"]
    assert dream["names"][0].endswith(" model.safetensors")
    # One more copy is in the library: it stays, so each file in the apps' folders is freed.
    assert dream["saved"] >= 3 * len(CHECKPOINT)


def test_settings_and_unfinished_downloads_are_left_out(preheat: Preheat, home: Path) -> None:
    models = home / "ComfyUI/models"
    for name in (
        "a.safetensors.part",
        "b.ckpt.aria2",
        "c.gguf.downloadInProgress",
        "d.json",
        "e.png",
        "f.civitai.info",
    ):
        write(models / "checkpoints" / name, CHECKPOINT)
    write(home / ".ollama/models/blobs/sha256-00-partial", CHECKPOINT)
    write(home / ".ollama/models/blobs/sha256-00-partial-3", CHECKPOINT)
    write(models / "checkpoints/small.ckpt", b"x" * 1000)
    assert preheat("fold", "--json", inside=AS_USER).last["files"] == 8


def test_broken_settings_are_reported(preheat: Preheat, home: Path) -> None:
    write(home / "ComfyUI/extra_model_paths.yaml", b"a: [")
    told = preheat("fold", "--json", inside=AS_USER)
    assert [note["said"] for note in told.last["notes"]] == ["not read: it is not valid YAML"]
    assert any(event["event"] == "noted" for event in told.events)


@pytest.mark.slow
def test_two_thousand_known_files_are_read_from_memory(preheat: Preheat) -> None:
    models = comfyui(preheat.folder) / "loras"
    for number in range(2_000):
        path = models / f"{number % 100}" / f"{number}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"%d" % (number // 2))
            file.truncate(MEBI)
        os.utime(path, ns=(10**18, 10**18))
    wait_until_old(preheat.folder)
    assert preheat("fold", "--json", inside=AS_USER).last["files"] == 2_000
    told = preheat("fold", "--json", inside=AS_USER)
    assert [event["files"] for event in told.events if event["event"] == "reading"] == [0]
    assert len(told.last["models"]) == 1_000
    assert json.dumps(told.last)
