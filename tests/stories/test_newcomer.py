"""The messages that first-time users read: numbers agree, and hints work as typed."""

import os
import shlex
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub

RECIPE = '[app]\nname = "talk"\ncommand = ["true"]\n[[needs]]\nref = "hf:acme/tiny"\nfiles = ["model.safetensors"]\n'


def hint(error: str) -> list[str]:
    """Return the hint of an error, split as a shell splits its command."""
    return shlex.split(error.partition("hint: preheat ")[2].partition(" downloads")[0])


def test_singular_and_plural_agree(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    words = ("acme/tiny", "--files", "model.safetensors")
    assert "9.0 MB in 1 file, " in preheat("pull", *words, "--dry-run").out
    assert "9.0 MB in 1 file, " in preheat("pull", *words).err
    assert preheat("view", "flat", "app", *words, "--dry-run").out == f"1 file in {preheat.folder}/app\n"
    assert preheat("verify").out.startswith("1 blob, 9.0 MB, verified ")
    assert preheat("verify", "--since", "1h").err == "", "nothing is left to announce"
    (preheat.folder / "voice").mkdir()
    (preheat.folder / "voice/note.txt").write_text("hm\n")
    said = preheat("adopt", "voice", "--as", "me/voice").out
    assert "3 B in 1 file of 1 version; " in said


def test_the_hint_pulls_a_missing_locked_model(preheat: Preheat, hub: FlakyHub) -> None:
    folder = preheat.folder / "my app"
    folder.mkdir()
    (folder / "preheat.toml").write_text(RECIPE)
    assert preheat("lock", "my app/preheat.toml").status == 0
    assert "is up to date" in preheat("lock", "my app/preheat.toml", "--check").out
    told = preheat("run", "my app/preheat.toml")
    assert told.status == 5
    assert preheat(*hint(told.err)).status == 0
    assert preheat("run", "my app/preheat.toml").status == 0
    (folder / "preheat.toml").write_text(RECIPE.replace("model.safetensors", "*.json"))
    said = preheat("run", "my app/preheat.toml").err
    assert "hf:acme/tiny differs from the lock; to update it: preheat lock 'my app/preheat.toml'" in said


@pytest.mark.parametrize("verb", ["rm", "prune"])
def test_rm_has_a_dry_run_like_other_verbs(preheat: Preheat, hub: FlakyHub, verb: str) -> None:
    assert preheat("prune", "--dry-run").out == "nothing to remove\n"
    assert preheat("pull", "acme/tiny").status == 0
    words = ("acme/tiny",) if verb == "rm" else ("--old",)
    shown = preheat(verb, *words)
    assert preheat(verb, *words, "--dry-run").out == shown.out
    assert preheat(verb, *words, "--dry-run", "--yes").status == 2
    assert len(preheat("ls", "--json").last["versions"]) == 1


def test_an_unknown_option_leads_to_the_help_of_its_verb(preheat: Preheat) -> None:
    assert "hint: preheat rm --help" in preheat("rm", "acme/tiny", "--force").err
    assert "hint: preheat --help" in preheat("--force").err


def test_a_missing_model_is_named_as_it_was_typed(preheat: Preheat) -> None:
    assert preheat("ls", "acme/none").err.startswith("preheat: acme/none is not in ")


def test_the_hint_adopts_files_of_another_filesystem(preheat: Preheat, tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other filesystem here")
    folder = elsewhere / f"preheat-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / "note.txt").write_text("hm\n")
        told = preheat("adopt", str(folder), "--as", "me/voice")
        assert told.status == 5
        assert "hint: --copy copies files" in told.err
        assert "at most 3 B new" in preheat("adopt", str(folder), "--as", "me/voice", "--copy", "--dry-run").out
        assert preheat("adopt", str(folder), "--as", "me/voice", "--copy").status == 0
    finally:
        (folder / "note.txt").unlink()
        folder.rmdir()
