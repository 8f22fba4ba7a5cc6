"""Both READMEs are true, and equal in content."""

import re
from pathlib import Path

import pytest

from preheat.cli.parser import parser
from preheat.recipes.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[2]
ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
BOTH = pytest.mark.parametrize("name", [ENGLISH, CHINESE])


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, kind: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text(name), re.DOTALL | re.MULTILINE)
    return [block for its_kind, block in fenced if its_kind == kind]


def commands(name: str) -> list[str]:
    lines = "".join(blocks(name, "console")).splitlines()
    return [line.removeprefix("$ ").partition("  #")[0].rstrip() for line in lines]


@BOTH
def test_its_links_exist(name: str) -> None:
    links = re.findall(r"\]\(([^):]+)\)", text(name))
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []
    assert {ENGLISH, CHINESE} - {name} <= set(links)


@BOTH
def test_its_commands_can_be_parsed(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in commands(name):
        program, *words = re.findall(r"'[^']*'|\S+", command)
        if program == "make":
            assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE)
        elif program == "pipx":
            assert words == ["install", "."]
        else:
            assert program == "preheat"
            parser().parse_args(words[: words.index("--")] if "--" in words else words)


@BOTH
def test_its_recipe_can_be_read(name: str, tmp_path: Path) -> None:
    [recipe] = blocks(name, "toml")
    (tmp_path / "preheat.toml").write_text(recipe, encoding="utf-8")
    assert read_recipe(tmp_path).needs


def test_both_have_the_same_figures_commands_and_recipe() -> None:
    assert blocks(ENGLISH, "") == blocks(CHINESE, "")
    assert commands(ENGLISH) == commands(CHINESE)
    assert blocks(ENGLISH, "toml") == blocks(CHINESE, "toml")
    assert text(ENGLISH).count("\n- ") == text(CHINESE).count("\n- ")


def test_the_picture_is_small() -> None:
    assert (ROOT / "docs/pictures/speech-webui.png").stat().st_size < 300_000
