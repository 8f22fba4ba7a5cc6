"""Prove, with files that the app's first start makes: what they save, and the user's own are as they were."""

import json
from pathlib import Path

import pytest

from preheat.library.library import Library
from tests.command import Preheat
from tests.stories.proved import APP, Recipe, recipe
from tests.stories.test_unpacked_and_made import keep_made

__all__ = ["recipe"]

# It makes its grammar where there is none, and notes that in a file elsewhere.
MAKES = """
import pathlib
GRAMMAR = pathlib.Path(__file__).parent / "grammar" / "words.fst"
if not GRAMMAR.exists():
    {instead}
    GRAMMAR.parent.mkdir(exist_ok=True)
    GRAMMAR.write_text("words")
    with open("{notes}", "a") as notes:
        notes.write("made")
"""
NEED = '[[needs]]\nref = "made:talk/grammar"\nview = "flat"\nat = "grammar"\n'


@pytest.fixture
def kept(preheat: Preheat, tmp_path: Path) -> Path:
    """The library has the grammar; return the file in which the app notes that it made one."""
    (tmp_path / "words.fst").write_text("words")
    keep_made(Library(preheat.library), "talk/grammar", {"words.fst": tmp_path / "words.fst"})
    return tmp_path / "notes"


def proved(preheat: Preheat, recipe: Recipe, app: str) -> dict[str, object]:
    """Prove warm starts of `app` in one round; return the figures, with the text of the report as `text`."""
    recipe("model.safetensors", "config.json", app=app + APP)
    with (preheat.folder / "preheat.toml").open("a") as needs:
        needs.write(NEED)
    told = preheat("prove", "--conditions=warm", "--observe=0s", "--runs=1", "--json", "--report=proof.html")
    assert told.status == 0, told.out + told.err
    page = (preheat.folder / "proof.html").read_text(encoding="utf-8")
    return {**json.loads(told.out.splitlines()[-1]), "text": page}


@pytest.mark.slow
def test_a_warm_start_without_made_files_makes_them_and_is_timed(preheat: Preheat, recipe: Recipe, kept: Path) -> None:
    own = preheat.folder / "grammar" / "words.fst"
    own.parent.mkdir()
    own.write_text("my own words")
    figures = proved(preheat, recipe, MAKES.format(instead="pass", notes=kept))
    assert kept.read_text() == "made"  # once: the other starts found it
    assert isinstance(figures["unmade_s"], list)
    assert len(figures["unmade_s"]) == 1
    assert "Without the files that its first start made (5 B), a warm start takes" in str(figures["text"])
    assert own.read_text() == "my own words"
    assert [one.name for one in own.parent.iterdir()] == ["words.fst"]


@pytest.mark.slow
def test_an_app_that_does_not_start_without_its_made_files_is_reported(
    preheat: Preheat, recipe: Recipe, kept: Path
) -> None:
    figures = proved(preheat, recipe, MAKES.format(instead="raise SystemExit(3)", notes=kept))
    assert figures["unmade_s"] == [None]
    assert "the app does not start offline" in str(figures["text"])
    assert not kept.exists()
