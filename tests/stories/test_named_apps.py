"""Names where another kind of name is expected: an app by its own name, a model for an app, an app for a model."""

import os
import shlex
from pathlib import Path

import pytest

from tests.command import Preheat, Told
from tests.stories.caches import write
from tests.stories.hinted import RECIPE

TALK = RECIPE.replace('"small"', '"talk"')


@pytest.fixture
def noted(preheat: Preheat) -> Path:
    """An app that was pulled once, by its path."""
    path = write(preheat.folder / "my apps/preheat.toml", TALK.encode())
    told = preheat("pull", "my apps/preheat.toml")
    assert told.status == 0, told.err
    return path


def refused(told: Told, status: int, message: str) -> str:
    """Require an error in one line, and return its hint."""
    lines = [line for line in told.err.splitlines() if not line.startswith("   hint:")]
    assert (told.status, lines) == (status, [f"preheat: {message}"]), told.err
    return told.err.partition("hint: ")[2].strip()


def test_an_app_is_started_by_the_name_under_which_it_was_used(preheat: Preheat, noted: Path) -> None:
    told = preheat("run", "talk")
    assert told.status == 0, told.err
    assert f"talk: the app in {noted}" in told.err
    assert "listening" in told.out


def test_other_verbs_of_apps_take_the_name_too(preheat: Preheat, noted: Path) -> None:
    assert preheat("lock", "talk").status == 0
    assert noted.with_suffix(".lock").is_file()
    assert preheat("run", "talk", "--locked").status == 0
    told = preheat("export", "talk", "-o", "talk.tar", "--json")
    assert (told.status, told.last["apps"]) == (0, ["talk"]), told.err


def test_a_mistyped_name_leads_to_the_noted_one(preheat: Preheat, noted: Path) -> None:
    assert refused(preheat("run", "tolk"), 2, "there is no recipe at tolk").startswith("did you mean talk? ")


def test_of_two_apps_with_a_name_none_is_guessed(preheat: Preheat, noted: Path) -> None:
    other = write(preheat.folder / "other/preheat.toml", TALK.encode())
    assert preheat("pull", "other/preheat.toml").status == 0
    hint = refused(preheat("run", "talk"), 2, "2 apps are named talk")
    paths = shlex.split(hint.partition(": ")[2].replace(",", ""))
    assert sorted(paths) == sorted([str(noted), str(other)])
    assert preheat("run", paths[0]).status == 0


def test_the_note_of_another_machine_starts_nothing(preheat: Preheat, noted: Path) -> None:
    (note,) = (preheat.library / "apps").glob("*.json")
    host = note.name.rpartition("-")[0]
    note.write_text(
        note.read_text().replace(f'"machine":"{host}"', '"machine":"elsewhere"').replace('"root":"', '"root":"x')
    )
    hint = refused(preheat("run", "talk"), 2, f"the app talk is on another machine, at {noted}")
    assert "copy the app's folder" in hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_the_note_of_another_user_starts_nothing(preheat: Preheat, noted: Path) -> None:
    (note,) = (preheat.library / "apps").glob("*.json")
    os.chown(note, 12345, -1)
    hint = refused(preheat("run", "talk"), 2, "the app talk was noted by another user")
    assert preheat("run", shlex.split(hint.partition(": ")[2])[0]).status == 0


@pytest.mark.parametrize("words", [("acme/tiny",), ("hf:acme/tiny",), ("acme/tiny", "python3", "app.py")])
def test_a_pulled_model_is_no_app(preheat: Preheat, noted: Path, words: tuple[str, ...]) -> None:
    hint = refused(preheat("run", *words), 2, f"{words[0]} is a model in the library, not an app")
    start, show = (one.partition(": ")[2] for one in hint.split("; "))
    assert preheat(*shlex.split(start.replace("CMD", "true"))[1:]).status == 0
    assert preheat(*shlex.split(show)[1:]).status == 0


def test_a_model_that_is_not_pulled_is_no_app_either(preheat: Preheat) -> None:
    hint = refused(preheat("run", "acme/tiny"), 2, "acme/tiny is a model's name, not an app")
    assert preheat(*shlex.split(hint.partition(": ")[2].partition(";")[0])[1:]).status == 0
    (preheat.folder / "acme").mkdir()
    assert "there is no recipe at acme/other" in preheat("run", "acme/other").err, "it is a path here"


@pytest.mark.parametrize("verb", ["show", "ls", "rm", "pin", "unpin", "verify"])
@pytest.mark.parametrize("app", ["talk", "my apps/preheat.toml", "my apps"])
def test_an_app_is_no_model(preheat: Preheat, noted: Path, verb: str, app: str) -> None:
    hint = refused(preheat(verb, app), 2, f"{app} is an app, not a model")
    assert hint == "its models in the library: preheat ls hf:acme/tiny"
    assert preheat(*shlex.split(hint.partition(": ")[2])[1:]).status == 0


def test_a_built_in_recipe_is_no_model(preheat: Preheat) -> None:
    hint = refused(preheat("show", "indextts2"), 2, "indextts2 is an app, not a model")
    assert hint == "none of its models is in the library; to download them: preheat pull indextts2"


def test_a_model_with_the_name_of_an_app_is_shown(preheat: Preheat, model: Path) -> None:
    write(preheat.folder / "preheat.toml", TALK.encode())
    assert preheat("pull", "preheat.toml").status == 0
    write(preheat.folder / "voice/config.json", b"{}")
    assert preheat("adopt", "voice", "--as", "talk").status == 0
    assert preheat("show", "talk").out.startswith("hf:talk@")


def test_pulling_the_name_of_a_noted_app_leads_to_its_path(preheat: Preheat, noted: Path) -> None:
    told = preheat("pull", "talk")
    assert told.status == 3
    hint = told.err.partition("hint: to pull the app of that name: ")[2].partition(";")[0]
    assert preheat(*shlex.split(hint)[1:]).status == 0
