"""Lock, end to end: pinned once, the same everywhere; changes are reported."""

import shutil
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub, says

RECIPE = """\
[app]
name = "talk"
command = ["true"]

[[needs]]
ref = "hf:acme/tiny"
files = ["*.json", "model.safetensors"]
view = "flat"
at = "weights"
"""


@pytest.fixture
def app(preheat: Preheat) -> Path:
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    return preheat.folder


def test_a_lock_pins_the_files_that_are_pulled_and_run(
    preheat: Preheat, hub: FlakyHub, app: Path, tmp_path: Path
) -> None:
    told = preheat("lock", "--json")
    assert told.status == 0, told.err
    text = (app / "preheat.lock").read_text()
    assert '"model.safetensors", size = 9000000' in text
    assert hub.url not in text
    assert preheat("lock").status == 0
    assert (app / "preheat.lock").read_text() == text, "the same twice"

    # On another machine, with another library.
    other = tmp_path / "other"
    shutil.copytree(app, other, ignore=shutil.ignore_patterns("library", "said*"))
    library = ("--library", str(tmp_path / "elsewhere"))
    assert preheat("pull", str(other), "--locked", *library, "--json").last["fetched"] > 9_000_000
    assert (other / "weights" / "model.safetensors").is_file()
    assert preheat("run", str(other), "--locked", *library).status == 0


def test_a_lock_keeps_its_pins_when_the_branch_moves(preheat: Preheat, model: Path, tmp_path: Path, app: Path) -> None:
    repo = tmp_path / "repo"
    shutil.copytree(model, repo)
    with FlakyHub({"acme/tiny": repo}) as hub:
        preheat.env["HF_ENDPOINT"] = hub.url
        assert preheat("lock").status == 0
        assert preheat("pull", "preheat.toml", "--locked").status == 0
        (repo / "config.json").write_text('{"model_type": "other"}\n')
        told = preheat("lock", "--check")
        assert told.status == 8
        assert "changed config.json" in told.out
        assert preheat("run", "--locked").status == 0
        assert (app / "weights" / "config.json").read_text() == (model / "config.json").read_text()
        told = preheat("lock", "--json")
        assert told.last["moved"][0]["changed"] == ["config.json"]
        assert preheat("lock", "--check").status == 0


def test_a_stale_lock_is_reported_and_rejected_if_requested(preheat: Preheat, app: Path) -> None:
    told = preheat("pull", "preheat.toml", "--locked")
    assert told.status == 8
    assert "has no lock" in told.err
    assert "hint: preheat lock preheat.toml" in " ".join(told.err.split())
    assert preheat("lock", "--check").status == 8
    assert preheat("lock").status == 0
    (app / "preheat.toml").write_text(RECIPE.replace('"*.json", ', '"*.json", "*.txt", '))
    for verb in (("pull", "preheat.toml"), ("run",)):
        told = preheat(*verb, "--locked")
        assert told.status == 8
        assert "stale" in told.err
    told = preheat("pull", "preheat.toml")
    assert told.status == 0
    assert "stale, used only for the needs that it covers" in " ".join(told.err.split())


def test_a_hub_with_other_bytes_for_the_pinned_commit_is_rejected(preheat: Preheat, hub: FlakyHub, app: Path) -> None:
    assert preheat("lock").status == 0
    hub.fails("/api/models/", says('"size":9000000', '"size":9000001'))
    told = preheat("pull", "preheat.toml")
    assert told.status == 4, told.err
    assert "does not match the lock" in told.err
    assert not (app / "weights").exists()


def test_an_unreadable_lock_is_reported_with_its_line(preheat: Preheat, app: Path) -> None:
    assert preheat("lock").status == 0
    lock = app / "preheat.lock"
    lock.write_text(lock.read_text().replace("git-sha1:", "md5:", 1))
    told = preheat("pull", "preheat.toml")
    assert told.status == 2
    assert "preheat.lock:" in told.err


def test_a_built_in_recipe_can_be_used_wherever_an_app_can(preheat: Preheat, hub: FlakyHub) -> None:
    listed = preheat("recipes", "--json").last["recipes"]
    assert {"indextts2", "vllm"} <= {recipe["name"] for recipe in listed}
    shown = preheat("recipes", "vllm")
    assert shown.out.startswith("# vLLM")
    told = preheat("pull", "vllm", "--dir", str(preheat.folder))
    assert told.status == 3, told.err
    assert "this recipe is not verified" in " ".join(told.err.split())
    assert preheat("run", "vllm").status == 5
    assert preheat("recipes", "nothing").status == 2
    told = preheat("pull", "acme/tiny", "preheat.toml", "--dir", ".")
    assert told.status == 2
