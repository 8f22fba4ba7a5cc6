"""The options of views: `preheat view`, `--view`, `--link`, and renames in recipes."""

import os
import subprocess
from pathlib import Path

import pytest

from preheat.core.ref import Ref
from preheat.hubs.folder import Folder
from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.views.kept import seen

NOBODY = 65534


@pytest.fixture
def pulled(preheat: Preheat) -> Preheat:
    assert preheat("pull", "acme/tiny").status == 0
    return preheat


def test_it_places_files_of_the_library_and_reports_the_variables(pulled: Preheat, model: Path) -> None:
    told = pulled("view", "modelscope", "cache", "acme/tiny")
    assert told.status == 0, told.err
    assert told.out == f"MODELSCOPE_CACHE={pulled.folder}/cache\n"
    assert seen(pulled.folder / "cache/models/acme--tiny/snapshots/master") == seen(model)


def test_programs_get_the_number_of_links_of_each_kind(pulled: Preheat, model: Path) -> None:
    told = pulled("view", "flat", "at", "acme/tiny", "--link", "copy", "--json")
    placed, done = told.events
    assert (placed["event"], placed["links"], placed["copied"]) == ("placed", {"copy": 7}, 12_000_054)
    assert (done["kind"], done["path"], done["environ"]) == ("flat", f"{pulled.folder}/at", {})


def test_people_are_told_only_of_copies(pulled: Preheat) -> None:
    assert pulled("view", "flat", "at", "acme/tiny").err == ""
    assert "12.0 MB copied" in pulled("view", "flat", "other", "acme/tiny", "--link", "copy").err


def test_missing_files_are_reported_before_anything_is_placed(pulled: Preheat) -> None:
    told = pulled("view", "flat", "at", "acme/tiny", "acme/other")
    assert told.status == 5
    assert "preheat pull hf:acme/other" in told.err
    assert not (pulled.folder / "at").exists()


def test_only_the_requested_files_are_placed(pulled: Preheat) -> None:
    assert pulled("view", "flat", "at", "acme/tiny", "--files", "*.json").status == 0
    assert sorted(seen(pulled.folder / "at")) == ["config.json", "same.json"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("shelf", "at", "acme/tiny"), 2, "'shelf' is not a view"),
        (("flat", "at", "acme/tiny", "--link", "hard"), 2, "--link"),
        (("whisper", "at", "acme/tiny"), 5, "no .pt file"),
        (("flat", "at/at", "acme/tiny"), 5, "cannot be placed"),
    ],
)
def test_invalid_options_are_reported(pulled: Preheat, words: tuple[str, ...], status: int, said: str) -> None:
    (pulled.folder / "at").touch()
    told = pulled("view", *words)
    assert told.status == status, told.err
    assert said in told.err


def test_a_branch_takes_precedence_over_a_commit(pulled: Preheat, model: Path) -> None:
    commit = Folder().resolve(Ref.parse(f"file:{model}")).commit
    (pulled.folder / "other").mkdir()
    (pulled.folder / "other/config.json").write_text("{}")
    assert pulled("pull", f"acme/tiny@{commit}").status == 0
    assert pulled("view", "hf-cache", "at", "acme/tiny", f"acme/tiny@{commit}").status == 0
    assert (pulled.folder / "at/models--acme--tiny/refs/main").read_text() == commit


def test_an_app_without_a_recipe_can_use_the_whole_library(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    assert preheat("pull", "acme/tiny", "--files", "*.json").status == 0
    assert preheat("pull", "ms:acme/tiny", "--endpoint", f"ms={hub.url}").status == 0
    told = preheat("run", "--", "sh", "-c", "echo $HF_HUB_CACHE $MODELSCOPE_CACHE")
    assert told.status == 0, told.err
    hf, ms = told.out.split()
    (snapshot,) = (Path(hf) / "models--acme--tiny/snapshots").iterdir()
    # Only some files were pulled by that name; the others are in the library by another.
    assert seen(snapshot)["config.json"] == (model / "config.json").read_bytes()
    placed = {name: body for name, body in seen(Path(ms) / "models/acme/tiny").items() if not name.startswith(".")}
    assert placed == seen(model)


INDEXTTS = """
[app]
name = "indextts"

[[needs]]
ref = "hf:acme/tiny"
files = ["*.json"]
view = "flat"
at = "checkpoints"

[[needs]]
ref = "hf:acme/tiny"
files = ["model.safetensors", "voices/deep/*"]
view = "flat"
at = "checkpoints/hf_cache"
to = { "model.safetensors" = "semantic_codec_model.safetensors", "voices/deep/" = "bigvgan" }
"""


def test_a_recipe_renames_files_and_folders_for_the_app(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text(INDEXTTS)
    told = preheat("pull", "preheat.toml")
    assert told.status == 0, told.err
    assert sorted(seen(preheat.folder / "checkpoints")) == [
        "config.json",
        "hf_cache/bigvgan/low.bin",
        "hf_cache/semantic_codec_model.safetensors",
        "same.json",
    ]


@pytest.mark.parametrize(
    ("view", "to", "said"),
    [
        ("hf-cache", '{ "config.json" = "c.json" }', "cannot be renamed"),
        ("flat", '{ "confg.json" = "c.json" }', "has no 'confg.json'"),
        ("flat", '{ "config.json" = "../../c.json" }', "cannot be"),
    ],
)
def test_invalid_names_are_rejected(preheat: Preheat, view: str, to: str, said: str) -> None:
    need = f'[[needs]]\nref = "hf:acme/tiny"\nview = "{view}"\nat = "at"\nto = {to}\n'
    (preheat.folder / "preheat.toml").write_text(f'[app]\nname = "x"\n{need}')
    told = preheat("pull", "preheat.toml")
    assert told.status == 2, told.err
    assert said in told.err
    assert not (preheat.folder / "c.json").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="to mount something read-only, and to be somebody else, one must be root")
def test_a_read_only_library_can_be_used_by_any_user(hub: FlakyHub, open_folder: Path) -> None:
    preheat = Preheat(open_folder, hub.url)
    assert preheat("pull", "acme/tiny").status == 0
    app = open_folder / "app"
    app.mkdir()
    need = '[[needs]]\nref = "hf:acme/tiny"\nview = "flat"\nat = "here"\n'
    (app / "preheat.toml").write_text(f'[app]\nname = "reader"\ncommand = ["cat", "here/config.json"]\n{need}')
    # A private mount over the library.
    library = preheat.library
    read_only = f"mount --bind '{library}' '{library}' && mount -o remount,bind,ro '{library}' && "
    inside = ("unshare", "--mount", "sh", "-c", read_only + 'exec "$@"', "sh")
    for words in (("run", "app/preheat.toml"), ("view", "hf-cache", "cache", "acme/tiny")):
        told = preheat(*words, inside=inside)
        assert told.status == 0, told.err
    assert '"model_type": "tiny"' in (app / "here/config.json").read_text()
    for file in (path for path in (library / "blobs").rglob("*") if path.is_file()):
        subprocess.run(["cat", file], user=NOBODY, group=NOBODY, extra_groups=[], stdout=subprocess.DEVNULL, check=True)
