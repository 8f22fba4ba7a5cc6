"""docs/recipes.md has the words that a recipe has."""

import re
from pathlib import Path

import msgspec
import pytest

from preheat.guard.model.tail import Tail
from preheat.guard.probes.probes import parse_probe
from preheat.recipes.recipe import _App, _RecipeNeed, read_recipe

DOCS = Path(__file__).parents[2]
TEXT = (DOCS / "docs/recipes.md").read_text(encoding="utf-8")


def words(section: str) -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", TEXT.partition(f"## {section}")[2].partition("\n## ")[0], re.MULTILINE)


def test_the_tables_have_the_words_that_are_read() -> None:
    assert words("[app]") == [field.name for field in msgspec.structs.fields(_App)]
    assert words("[[needs]]") == [field.name for field in msgspec.structs.fields(_RecipeNeed)]


def test_the_recipe_shown_is_read_and_uses_every_word(tmp_path: Path) -> None:
    shown = TEXT.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "preheat.toml").write_text(shown, encoding="utf-8")
    recipe = read_recipe(tmp_path)
    assert recipe.command[0] == f"{tmp_path}/.venv/bin/python"
    assert [need.at for need in recipe.needs] == ["", "caches/voice", "{home}/nltk_data/corpora", "{cache}/tagger"]
    assert set(re.findall(r"^(\w+) *=", shown, re.MULTILINE)) == {*words("[app]"), *words("[[needs]]")}


@pytest.mark.parametrize("probe", re.findall(r"`((?:https?|tcp|line|exec):[^`…]+)`", TEXT.partition("## Probes")[2]))
def test_the_probes_shown_are_read(probe: str) -> None:
    filled = probe.replace("HOST", "127.0.0.1").replace("PORT", "7860").replace("COMMAND", "true")
    assert parse_probe(filled, Tail()) is not None
