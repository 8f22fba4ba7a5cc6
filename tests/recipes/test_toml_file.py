"""A mistake in a TOML file is reported with its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.api.session import Session
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
        ('name = "talk"', "name = 1", 2, "name must be text in quotes, not a number"),
        ('name = "talk"', 'naem = "talk"', 2, "[app] has no field 'naem'"),
        ('name = "talk"', 'name = "../talk"', 2, "is not an app's name"),
        ('A = "1"', "A = 1", 4, "each value in env must be text in quotes"),
        ('ref = "hf:acme/two"', "ref = 2", 11, "ref must be text in quotes"),
        ('ref = "hf:acme/two"', 'ref = "hf:acme two"', 11, "is not a model's name"),
        ('ref = "hf:acme/two"', "", 10, "[needs] needs the field 'ref'"),
        ('"*.bin"', "7", 12, "each value in files must be text"),
        ('"a b" = "c"', '"a b" = 3', 16, "each value in to must be text in quotes"),
        ("[[needs]]", "[[neds]]", 7, "the file has no field 'neds'"),
        ('A = "1"', "A = ", 5, "not valid TOML"),
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
    assert f"{path}:{line}: " in caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('name = "talk"', 'naem = "talk"', "did you mean name?"),
        ("[[needs]]", "[[neds]]", "did you mean needs?"),
        ('ref = "hf:acme/two"', 'ref = "hf:acme/two"\nveiw = "flat"', "did you mean view?"),
        ('ref = "hf:acme/two"', 'ref = "hf:acme/two"\nxyzzy = 1', "[needs] has ref, same, files,"),
    ],
)
def test_the_hint_names_the_field_that_was_meant(tmp_path: Path, old: str, new: str, hint: str) -> None:
    path = tmp_path / "preheat.toml"
    path.write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        read_recipe(path)
    assert hint in caught.value.hint
    assert caught.value.hint.endswith("to see the format: preheat recipes --form")


def test_a_view_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "preheat.toml"
    path.write_text('[app]\nname = "x"\n\n[[needs]]\nref = "a/b"\nview = "hfcache"\n')
    with pytest.raises(UsageError) as caught:
        Session().recipe(str(path))
    assert caught.value.message == f"{path}:6: 'hfcache' is not a view"
    assert "did you mean hf-cache?" in caught.value.hint


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


@pytest.mark.parametrize("nul", ["\\u0000", "\\U00000000"])
def test_no_value_contains_nul(tmp_path: Path, nul: str) -> None:
    for line in (f'at = "m{nul}x"', f'to = {{ "a" = "b{nul}" }}', f'files = ["{nul}"]'):
        recipe = tmp_path / "preheat.toml"
        recipe.write_text(f'[app]\nname = "x"\n[[needs]]\nref = "hf:acme/tiny"\n{line}\n')
        with pytest.raises(UsageError, match="NUL"):
            read_recipe(recipe)
