"""Made files that another machine lacks, or has made itself: they stop neither a pull nor a start."""

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.stories.caches import write
from tests.stories.test_trace import SCRIPT, traced, write_app
from tests.stories.test_unpacked_and_made import made, user

__all__ = ["traced"]

APP = """\
[app]
name = "reads"
command = {command}

[[needs]]
{made}
[[needs]]
ref = "acme/one"
view = "flat"
at = "one"
"""
READS = (
    "from pathlib import Path; print(Path.home().joinpath('.cache/tiktoken/9b5ad7').read_bytes(), "
    "len(Path('one/model.bin').read_bytes()))"
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FlakyHub]:
    write(tmp_path / "served/model.bin", b"weights" * 1000)
    with FlakyHub({"acme/one": tmp_path / "served"}) as hub:
        yield hub


def app(preheat: Preheat, need: str) -> None:
    """Write an app that reads a made file and one of a hub."""
    command = json.dumps([sys.executable, "-c", READS])
    (preheat.folder / "app").mkdir()
    (preheat.folder / "app/preheat.toml").write_text(APP.format(command=command, made=need))


@pytest.fixture
def anne(tmp_path: Path, store: FlakyHub) -> Iterator[Preheat]:
    """The user on whose machine the file was made."""
    preheat = user(tmp_path, "anne")
    preheat.env["HF_ENDPOINT"] = store.url
    app(preheat, made(preheat, tmp_path / "written"))
    yield preheat
    preheat.close()


@pytest.fixture
def bert(tmp_path: Path, store: FlakyHub, anne: Preheat) -> Preheat:
    """A user of another machine, with the recipe and an empty library."""
    preheat = user(tmp_path, "bert")
    preheat.env["HF_ENDPOINT"] = store.url
    (preheat.folder / "app").mkdir()
    (preheat.folder / "app/preheat.toml").write_bytes((anne.folder / "app/preheat.toml").read_bytes())
    return preheat


def test_a_missing_made_need_does_not_stop_the_pull_of_the_others(
    anne: Preheat, bert: Preheat, store: FlakyHub, tmp_path: Path
) -> None:
    told = bert("pull", "app/preheat.toml", "--dry-run")
    assert told.status == 3
    assert "hf:acme/one" in told.out, "the plan has the others"
    for _ in range(2):  # the second one finds everything else in place
        told = bert("pull", "app/preheat.toml")
        assert told.status == 3
        assert (bert.folder / "app/one/model.bin").stat().st_size == 7000
    for words in ("made:reads/tiktoken", "--endpoint made=URL", "preheat export", "preheat import", "preheat trace"):
        assert words in told.err
    told = bert("run", "app/preheat.toml", "--pull", "--max-restarts", "0")
    assert told.status == 3
    assert anne("pull", "app/preheat.toml").status == 0
    assert anne("export", "app/preheat.toml", "-o", str(tmp_path / "app.tar")).status == 0
    store.recovers()
    assert bert("import", str(tmp_path / "app.tar")).status == 0
    told = bert("run", "app/preheat.toml", "--max-restarts", "0")
    assert told.status == 0, told.err
    assert "tokens" in told.out + told.err
    assert "placed made:reads/tiktoken at" in told.err, "no file outside the library is placed without a word"
    assert not store.asked()


@pytest.mark.parametrize("before", [True, False], ids=["made here before", "changed since"])
def test_a_file_that_the_app_made_here_itself_is_kept_by_every_verb(
    anne: Preheat, tmp_path: Path, *, before: bool
) -> None:
    own = anne.folder / ".cache/tiktoken/9b5ad7"
    if before:
        write(own, b"its own seed")
    told = anne("pull", "app/preheat.toml")
    assert told.status == 0, told.err
    own.write_bytes(b"its own seed")
    assert anne("pull", "app/preheat.toml").status == 0
    told = anne("run", "-v", "app/preheat.toml", "--max-restarts", "0")
    assert told.status == 0, told.err
    assert "its own seed" in told.out + told.err
    assert told.err.count("kept as they were: 1 file") == 1
    assert "kept as they were" not in anne("run", "app/preheat.toml", "--max-restarts", "0").err
    assert anne("view", "flat", str(own.parent), "made:reads/tiktoken").status == 0
    assert own.read_bytes() == b"its own seed"


@pytest.mark.slow
def test_a_proof_keeps_a_file_that_the_app_made_here_itself(anne: Preheat) -> None:
    assert anne("pull", "app/preheat.toml").status == 0
    own = anne.folder / ".cache/tiktoken/9b5ad7"
    own.write_bytes(b"its own seed")
    recipe = anne.folder / "app/preheat.toml"
    text = (
        recipe.read_text()
        .replace("print(", "import time; print(")
        .replace(".read_bytes()))", ".read_bytes()), flush=True); time.sleep(60)")
    )
    recipe.write_text(text.replace("\n\n[[needs]]", '\nready = "line:7000"\n\n[[needs]]', 1))
    told = anne("prove", "app/preheat.toml", "--runs", "1", "--conditions", "preloaded", "--json")
    assert told.status == 0, told.err + told.out
    assert own.read_bytes() == b"its own seed"


def test_a_folder_or_symlink_at_the_path_of_a_made_file_is_still_an_error(anne: Preheat) -> None:
    own = anne.folder / ".cache/tiktoken/9b5ad7"
    own.mkdir(parents=True)
    told = anne("run", "app/preheat.toml", "--pull", "--max-restarts", "0")
    assert told.status == 5, told.err
    assert own.is_dir()


MAKES = """
import pathlib
made = pathlib.Path.home() / ".cache/seeds/seed.txt"
if not made.exists():
    made.parent.mkdir(parents=True)
    made.write_text(os.urandom(16).hex())
made.read_text()
"""
BUILDS = """
built = pathlib.Path.home() / ".cache/built/index.bin"
if not built.exists():
    if os.environ.get("HF_HUB_OFFLINE"): raise SystemExit("not built, and offline")
    built.parent.mkdir(parents=True)
    built.write_bytes(bytes(300_000))
built.read_bytes()
"""


@pytest.mark.slow
def test_what_an_app_makes_again_by_itself_is_optional(traced: Preheat) -> None:
    write_app(traced, MAKES + BUILDS)
    told = traced("trace", "--", *SCRIPT)
    assert told.status == 0, told.err
    recipe = tomllib.loads((traced.folder / "preheat.toml").read_text())
    found = {need["at"]: need.get("optional", False) for need in recipe["needs"] if "at" in need}
    assert found == {"{cache}/seeds": True, "{cache}/built": False}, told.err
    assert "replayed on" in recipe["app"]["verified"]
    told = traced("run", "--locked", "--network", "none", "preheat.toml", "--max-restarts", "0")
    assert told.status == 0, told.err


def test_a_recipe_whose_made_files_are_all_made_again_takes_one_replay_more(traced: Preheat) -> None:
    write_app(traced, MAKES + "open(get('model.safetensors'), 'rb').read()\n")
    told = traced("trace", "--json", "--", *SCRIPT)
    assert told.status == 0, told.err
    told_replays = [event["said"] for event in told.events if event["event"] == "noted" and event["what"] == "replay"]
    assert len(told_replays) == 4, "two replays, each with its end"
    assert "cache-seeds left for the app to make" in told_replays[2]
    other = traced(
        "pull", "--locked", "--json", "--library", str(traced.folder / "other"), HOME=str(traced.folder / "h")
    )
    assert other.status == 0, other.out
    assert [one["ref"].partition(":")[0] for one in other.last["left_out"]] == ["made"]


def test_weights_that_the_app_had_before_stay_required(traced: Preheat) -> None:
    write(traced.folder / "weights/own.bin", bytes(range(256)) * 5000)
    write_app(traced, "open('weights/own.bin', 'rb').read()\n")
    told = traced("trace", "--json", "--", *SCRIPT)
    assert told.status == 0, told.err
    [need] = tomllib.loads((traced.folder / "preheat.toml").read_text())["needs"]
    assert need["ref"].startswith("made:")
    assert not need.get("optional", False), "the replay's folder has them too, but another machine does not"
