"""docs/recipes.md has the words that a recipe has."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from preheat.guard.model.tail import Tail
from preheat.guard.probes.probes import parse_probe
from preheat.recipes.builtin_recipes import form_text
from preheat.recipes.recipe import _App, _RecipeNeed, json_schema, read_recipe

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
    assert [need.at for need in recipe.needs] == ["", "caches/voice"]
    assert set(re.findall(r"^(\w+) *=", shown, re.MULTILINE)) == {*words("[app]"), *words("[[needs]]")}


def test_the_form_that_the_command_prints_is_read_and_has_every_field(tmp_path: Path) -> None:
    (tmp_path / "preheat.toml").write_text(form_text(), encoding="utf-8")
    assert len(read_recipe(tmp_path).needs) == 2
    assert set(re.findall(r"^(\w+) *=", form_text(), re.MULTILINE)) == {*words("[app]"), *words("[[needs]]")}


def test_the_schema_names_every_field() -> None:
    definitions = json.loads(json_schema())["$defs"]
    assert set(definitions["_App"]["properties"]) == set(words("[app]"))
    assert set(definitions["_RecipeNeed"]["properties"]) == set(words("[[needs]]"))


@pytest.mark.parametrize("probe", re.findall(r"`((?:https?|tcp|line|exec):[^`…]+)`", TEXT.partition("## Probes")[2]))
def test_the_probes_shown_are_read(probe: str) -> None:
    filled = probe.replace("HOST", "127.0.0.1").replace("PORT", "7860").replace("COMMAND", "true")
    assert parse_probe(filled, Tail()) is not None
