"""People type what hf, modelscope and others taught them, and preheat does it or says what to type."""

import shlex
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub, wants_token


def test_the_options_of_hf_download_work(preheat: Preheat, tmp_path: Path) -> None:
    words = ("--revision", "main", "--include", "*.json", "--include", "*.safetensors", "--exclude", "same*")
    done = preheat(
        "pull", "acme/tiny", *words, "--local-dir", str(tmp_path / "here"), "--cache-dir", str(tmp_path / "cache")
    )
    assert done.status == 0, done.err
    names = {path.name for path in (tmp_path / "here").iterdir() if path.is_file()}
    assert names == {"config.json", "model.safetensors"}
    assert (tmp_path / "cache" / "models--acme--tiny" / "refs" / "main").is_file()


def test_what_is_excluded_alone_leaves_the_rest(preheat: Preheat, tmp_path: Path) -> None:
    words = ("--exclude", "*.safetensors", "--exclude", "voices/*", "--local-dir", str(tmp_path / "here"))
    done = preheat("pull", "acme/tiny", *words)
    assert done.status == 0, done.err
    assert {path.name for path in (tmp_path / "here").iterdir() if path.is_file()} == {
        "config.json", "same.json", "empty.txt", "note.txt"}  # fmt: skip
    nothing = preheat("pull", "acme/tiny", "--exclude", "*")
    assert nothing.status == 3
    assert "no file that is not excluded" in nothing.err


def test_a_dataset_is_named_by_its_type(preheat: Preheat) -> None:
    done = preheat("pull", "acme/rows", "--repo-type", "dataset", "--files", "config.json", "--json")
    assert done.last["snapshots"][0]["ref"] == "hf:datasets/acme/rows"


def test_a_token_typed_is_sent_and_never_shown(hub: FlakyHub, preheat: Preheat) -> None:
    hub.fails("tiny", wants_token("hf_secret"))
    assert preheat("pull", "acme/tiny").status == 3
    done = preheat("pull", "acme/tiny", "--token", "hf_secret", "-v")
    assert done.status == 0, done.err
    assert "hf_secret" not in done.out + done.err
    broken = preheat("pull", "acme/tiny", "--token", "hf_\tsecret")
    assert broken.status == 2
    assert "secret" not in broken.err


def test_a_pasted_file_is_pulled_alone(preheat: Preheat) -> None:
    done = preheat("pull", "https://huggingface.co/acme/tiny/blob/main/config.json", "--json")
    assert done.status == 0, done.err
    assert done.last["size"] == len('{"model_type": "tiny"}\n')


def test_a_command_is_run_without_dashes(preheat: Preheat) -> None:
    done = preheat("--quiet", "run", "sh", "-c", "echo works")
    assert (done.status, done.out) == (0, "works\n")


@pytest.mark.parametrize("words", [("ls", "*/tiny"), ("ls", "hf:acme/*"), ("ls", "https://huggingface.co/acme/tiny")])
def test_models_are_listed_by_glob_and_by_page(preheat: Preheat, words: tuple[str, ...]) -> None:
    preheat("pull", "acme/tiny", "--files", "config.json")
    assert "hf:acme/tiny" in preheat(*words).out


def test_what_is_missing_is_an_error_with_the_nearest_name(preheat: Preheat) -> None:
    preheat("pull", "acme/tiny", "--files", "config.json")
    for verb in ("ls", "show", "rm", "pin"):
        missing = preheat(verb, "acme/tinny")
        assert missing.status == 5
        assert "did you mean hf:acme/tiny?" in missing.err
    none = preheat("ls", "zz*")
    assert none.status == 5
    assert "matches zz*" in none.err
    recipe = preheat("run", "indextts-2")
    assert recipe.status == 2
    assert "did you mean indextts2?" in recipe.err


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("pull hf://acme/tiny", "did you mean hf:acme/tiny?"),
        ("pull huggingface.co/acme/tiny", "did you mean hf:acme/tiny?"),
        ("pull git@hf.co:acme/tiny", "did you mean hf:acme/tiny?"),
        ("pull acme/tiny:v1", "did you mean hf:acme/tiny@v1?"),
        ("pull 'acme/tiny '", "did you mean hf:acme/tiny?"),
        ("pull ./acme", "for a folder: file:./acme"),
        ("pull acme/tiny config.json note.txt", "preheat pull acme/tiny --files config.json --files note.txt"),
        ("run webui.py", "to start a program: preheat run -- python webui.py"),
        ("--verison", "did you mean --version?"),
        ("help pul", "did you mean pull?"),
        ("login", "hf auth login"),
        ("prune --younger 1w", "7d"),
        ("prove", "to write one: preheat trace -- CMD"),
    ],
)
def test_the_hint_names_what_was_meant(preheat: Preheat, typed: str, hint: str) -> None:
    told = preheat(*shlex.split(typed))
    assert told.status in (2, 3)
    assert hint in told.err.replace("\n", " ")
    assert "Traceback" not in told.err


def test_an_owner_alone_leads_to_its_models(preheat: Preheat) -> None:
    assert preheat("pull", "acme/tiny", "--files", "config.json").status == 0
    told = preheat("ls", "acme", "--json")
    assert (told.status, told.last["hint"]) == (5, "its models: preheat ls 'acme/*'; to list all models: preheat ls")
    assert preheat("prune", "--younger", "7d").status == 0
