"""A mistake in a TOML file is reported with its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import UsageError
from preheat.recipes.lock_file import read_lock
from preheat.recipes.recipe import read_recipe
from preheat.recipes.toml_file import line_of

RECIPE = """\
[app]
name = "talk"

[app.env]
A = "1"

[[needs]]
ref = "hf:acme/one"

[[needs]]
ref = "hf:acme/two"
files = [
  "*.bin",
]

[needs.to]
"a b" = "c"
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('name = "talk"', "name = 1", 2, "Expected `str`"),
        ('name = "talk"', 'naem = "talk"', 2, "unknown field `naem`"),
        ('name = "talk"', 'name = "../talk"', 2, "is not an app's name"),
        ('A = "1"', "A = 1", 4, "Expected `str`"),
        ('ref = "hf:acme/two"', "ref = 2", 11, "Expected `str`"),
        ('ref = "hf:acme/two"', 'ref = "hf:acme two"', 11, "is not a model's name"),
        ('ref = "hf:acme/two"', "", 10, "missing required field `ref`"),
        ('"*.bin"', "7", 12, "Expected `str`"),
        ('"a b" = "c"', '"a b" = 3', 16, "Expected `str`"),
        ("[[needs]]", "[[neds]]", 7, "unknown field `neds`"),
        ('A = "1"', "A = ", 5, "at line 5"),
    ],
)
def test_a_mistake_in_a_recipe_is_reported_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    path = tmp_path / "preheat.toml"
    path.write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        read_recipe(path)
    assert words in caught.value.message
    assert f"{path}:{line}: " in caught.value.message or words == f"at line {line}"


def test_an_invalid_lock_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "preheat.lock"
    file = f'{{ path = "../etc/passwd", size = 1, digest = "git-sha1:{1:040d}" }}'
    path.write_text(f'version = 1\n\n[[needs]]\nref = "hf:acme/one"\ncommit = "{"0" * 40}"\nfiles = [\n  {file},\n]\n')
    with pytest.raises(UsageError) as caught:
        read_lock(path)
    assert f"{path}:6: " in caught.value.message
    path.write_text("version = 9\n")
    with pytest.raises(UsageError, match=":1: lock version 9 is not supported"):
        read_lock(path)


NAME = st.from_regex(r"[a-z]{1,4}", fullmatch=True)


@given(st.lists(st.lists(NAME, min_size=1, max_size=4, unique=True), max_size=5), st.data())
def test_the_line_of_every_key_in_an_array_of_tables_is_found(tables: list[list[str]], data: st.DataObject) -> None:
    lines, places = ["# front"], {}
    for index, names in enumerate(tables):
        lines += ["", "[[needs]]"]
        for name in names:
            lines.append(f"  {name} = 1")
            places["needs", index, name] = len(lines)
    text = "\n".join(lines)
    for place, line in places.items():
        assert line_of(text, place) == line
    assert 1 <= line_of(text, tuple(data.draw(st.lists(NAME | st.integers(0, 9))))) <= len(lines)
