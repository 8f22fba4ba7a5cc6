"""Needs that an app can start without: taken if a hub has them, and no error for any verb if they are missing."""

import json
import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub, flips_a_byte_at, refuses
from tests.stories.caches import write

SIZE = 300_000
EXTRAS = ("acme/voices", "acme/pictures")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[FlakyHub]:
    """A hub with one model that the app requires, and two that it can start without; all share one file."""
    for name in ("acme/one", *EXTRAS):
        write(tmp_path / name / "model.bin", os.urandom(SIZE))
        write(tmp_path / name / "config.json", b"{}")
    with FlakyHub({name: tmp_path / name for name in ("acme/one", *EXTRAS)}) as hub:
        yield hub


@pytest.fixture
def app(tmp_path: Path, stage: FlakyHub) -> Iterator[Preheat]:
    """An app that prints which of its files are there; its optional needs are listed first."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/app.py").write_text("import os; print(sorted(os.listdir('.')))\n")
    needs = "".join(f'[[needs]]\nref = "{ref}"\nview = "flat"\nat = "{ref[5:]}"\noptional = true\n' for ref in EXTRAS)
    command = json.dumps([sys.executable, "-I", "-S", "app.py"])
    (tmp_path / "app/preheat.toml").write_text(
        f'[app]\nname = "talk"\ncommand = {command}\n{needs}[[needs]]\nref = "acme/one"\nview = "flat"\nat = "one"\n'
    )
    preheat = Preheat(tmp_path, stage.url)
    yield preheat
    preheat.close()


def left_out(told: Told) -> list[str]:
    """Return the optional needs that were reported as left out, each as often as it was."""
    return [event["ref"] for event in told.events if event["event"] == "optional-missing"]


def pull(app: Preheat, *words: str) -> Told:
    told = app("pull", "app/preheat.toml", "--json", *words)
    assert told.status == 0, told.out + told.err
    return told


def test_optional_needs_are_pulled_and_placed_like_others(app: Preheat) -> None:
    told = pull(app)
    assert len(told.last["snapshots"]) == 3
    assert told.last["left_out"] == []
    for folder in ("one", "voices", "pictures"):
        assert (app.folder / "app" / folder / "model.bin").stat().st_size == SIZE


@pytest.mark.parametrize("pattern", ["/api/models/acme/voices", "/voices/resolve/.*"], ids=["listing", "file"])
def test_a_hub_without_an_optional_need_is_reported_and_no_error(app: Preheat, stage: FlakyHub, pattern: str) -> None:
    stage.fails(pattern, refuses(403))
    told = pull(app)
    assert left_out(told) == ["hf:acme/voices"]
    [one] = told.last["left_out"]
    assert one["ref"] == "hf:acme/voices"
    assert "acme/voices" in one["reason"]
    assert sorted(one["ref"] for one in told.last["snapshots"]) == ["hf:acme/one", "hf:acme/pictures"]
    assert told.last["size"] == 2 * (SIZE + 2)
    assert not (app.folder / "app/voices").exists()
    assert (app.folder / "app/pictures/config.json").read_bytes() == b"{}"
    assert not list(app.library.glob("records/hf/*voices*"))
    plain = app("pull", "app/preheat.toml")
    assert plain.status == 0
    assert plain.err.count("hf:acme/voices: left out, as it is optional: ") == 1
    stage.recovers()
    assert pull(app).last["fetched"] == SIZE
    assert (app.folder / "app/voices/model.bin").stat().st_size == SIZE


def test_a_file_shared_with_an_optional_need_that_failed_is_downloaded_for_the_next(
    app: Preheat, stage: FlakyHub
) -> None:
    for name in EXTRAS:
        write(app.folder / name / "both.bin", b"both" * 20_000)
    stage.fails("/voices/resolve/.*", refuses(403))
    assert left_out(pull(app)) == ["hf:acme/voices"]
    assert (app.folder / "app/pictures/both.bin").read_bytes() == b"both" * 20_000


def test_a_required_need_without_its_hub_is_an_error_before_the_optional_ones(app: Preheat, stage: FlakyHub) -> None:
    stage.fails("/api/models/", refuses(404))
    told = app("pull", "app/preheat.toml", "--json")
    assert (told.status, "acme/one" in told.last["message"]) == (3, True)
    assert not stage.asked("acme/voices")


def test_wrong_bytes_of_an_optional_need_are_an_error(app: Preheat, stage: FlakyHub) -> None:
    assert app("lock", "app/preheat.toml").status == 0
    stage.fails("/voices/resolve/.*model", flips_a_byte_at(1000))
    told = app("pull", "app/preheat.toml", "--json")
    assert (told.status, told.last["kind"]) == (4, "IntegrityError"), told.out


def test_a_dry_run_reports_what_is_left_out(app: Preheat, stage: FlakyHub) -> None:
    stage.fails("/api/models/acme/voices", refuses(404))
    told = pull(app, "--dry-run")
    assert [one["ref"] for one in told.last["left_out"]] == ["hf:acme/voices"]
    assert told.last["missing"] == 2 * SIZE + 2


def test_no_optional_leaves_them_out_without_asking_for_them(app: Preheat, stage: FlakyHub) -> None:
    told = pull(app, "--no-optional")
    assert [one["ref"] for one in told.last["snapshots"]] == ["hf:acme/one"]
    assert told.last["left_out"] == []
    assert not stage.asked("voices|pictures")


def test_what_the_library_has_is_used_when_the_hub_is_away(app: Preheat, stage: FlakyHub) -> None:
    pull(app)
    stage.fails("/api/models/acme/(voices|pictures)", refuses(403))
    (app.folder / "app/voices/model.bin").unlink()
    told = pull(app)
    assert told.last["left_out"] == []
    assert (app.folder / "app/voices/model.bin").stat().st_size == SIZE


@pytest.mark.parametrize("words", [("run", "app/preheat.toml"), ("run", "app/preheat.toml", "--pull")], ids=len)
def test_run_starts_the_app_without_them_and_says_it_once(
    app: Preheat, stage: FlakyHub, words: tuple[str, ...]
) -> None:
    pull(app, "--no-optional")
    stage.fails("/api/models/acme/voices", refuses(403))
    told = app(*words, "--events", "events.jsonl")
    assert told.status == 0, told.err
    events = [json.loads(line) for line in (app.folder / "events.jsonl").read_text().splitlines()]
    absent = ["hf:acme/voices"] if "--pull" in words else ["hf:acme/voices", "hf:acme/pictures"]
    assert [one["ref"] for one in events if one["event"] == "optional-missing"] == absent
    assert "'one'" in told.out
    assert ("pictures" in told.out, "voices" in told.out) == ("--pull" in words, False)


def test_a_required_need_that_is_not_preloaded_is_still_an_error(app: Preheat) -> None:
    told = app("run", "app/preheat.toml")
    assert (told.status, "acme/one" in told.err) == (5, True)


def test_lock_leaves_out_what_no_hub_has_and_keeps_what_it_had(app: Preheat, stage: FlakyHub) -> None:
    stage.fails("/api/models/acme/voices", refuses(404))
    told = app("lock", "app/preheat.toml", "--json")
    assert (told.status, left_out(told)) == (0, ["hf:acme/voices"])
    lock = tomllib.loads((app.folder / "app/preheat.lock").read_text())
    assert [(one["ref"], one.get("optional", False)) for one in lock["needs"]] == [
        ("hf:acme/pictures", True),
        ("hf:acme/one", False),
    ]
    assert app("lock", "app/preheat.toml", "--check").status == 0
    stage.recovers()
    told = pull(app, "--locked")
    assert left_out(told) == ["hf:acme/voices"], "it is not pinned"
    assert not stage.asked("voices")
    stage.recovers()
    assert app("lock", "app/preheat.toml").status == 0
    text = (app.folder / "app/preheat.lock").read_text()
    stage.fails("/api/models/acme/voices", refuses(404))
    told = app("lock", "app/preheat.toml", "--json")
    assert (told.status, left_out(told)) == (0, ["hf:acme/voices"])
    assert (app.folder / "app/preheat.lock").read_text() == text


def test_an_image_has_those_that_are_there(app: Preheat, stage: FlakyHub) -> None:
    stage.fails("/api/models/acme/voices", refuses(404))
    pull(app)
    words = ("build", "app/preheat.toml", "--base", "scratch", "--output", "oci:image:1", "--dir", "/app", "--json")
    for more in (("--dry-run",), ()):
        told = app(*words, *more)
        assert (told.status, left_out(told)) == (0, ["hf:acme/voices"]), told.out + told.err
    layers = "".join(one["name"] for one in app(*words, "--dry-run").last["layers"])
    assert "acme/one" in layers
    assert "acme/pictures" in layers
    assert "voices" not in layers
    told = app(*words[:4], "--dockerfile", "context", *words[6:])
    assert (told.status, left_out(told)) == (0, ["hf:acme/voices"])


def test_the_form_the_schema_and_the_list_name_it(app: Preheat) -> None:
    assert tomllib.loads(app("recipes", "--form").out)["needs"][1]["optional"] is True
    schema = json.loads(app("recipes", "--schema").out)
    assert schema["$defs"]["_RecipeNeed"]["properties"]["optional"]["type"] == "boolean"
    listed = app("recipes", "indextts2", "--json").last
    voices = "hf:spaces/IndexTeam/IndexTTS-2-Demo@b01840e8e4fd9753743a6d0466cd73ae1d634a68"
    assert listed["optional"] == [voices, "made:indextts2/dir-indextts"]
