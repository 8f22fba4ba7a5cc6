"""The command line: help, rejected arguments, and no traceback after a user's mistake."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from preheat.cli import commands
from tests.command import COMMAND, Preheat
from tests.flaky_hub import FlakyHub

VERBS = ["pull", "run", "mirror", "prove"]


@pytest.fixture
def preheat(tmp_path: Path) -> Preheat:
    """The command, without a hub."""
    return Preheat(tmp_path, "http://127.0.0.1:1")


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_in_help_can_be_parsed(preheat: Preheat, verb: str) -> None:
    told = preheat(verb, "--help")
    assert told.status == 0
    examples = told.out.partition("\nexamples:\n")[2].splitlines()
    assert len(examples) > 1
    assert all(line.startswith(f"  preheat {verb}") for line in examples)


def test_help_lists_every_verb_and_loads_nothing_heavy(preheat: Preheat) -> None:
    told = preheat("--help", PYTHONPROFILEIMPORTTIME="1")
    assert told.status == 0
    assert all(f"\n    {verb}" in told.out for verb in VERBS)
    assert "urllib3" not in told.err
    assert "rich" not in told.err


@pytest.mark.parametrize("module", sorted(Path(commands.__path__[0]).glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_every_verb_that_opens_connections_has_timeouts_and_patience(preheat: Preheat, module: Path) -> None:
    opens = re.search(
        r"wiring\.(transport|policy|sources|endpoints|upstreams)"
        r"|preheat\.api\.(\w+ing(\.\w+)?|image_stores) import (?!recipe_inside$)",
        module.read_text(),
        re.MULTILINE,
    )
    said = preheat(module.stem.replace("_", "-"), "--help").out
    for option in ("--connect-timeout", "--read-timeout", "--patience"):
        assert (option in said) == bool(opens)


def test_it_prints_its_version(preheat: Preheat) -> None:
    assert preheat("--version").out.startswith("preheat 0.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sing"], "sing"),
        (["pull"], "preheat pull owner/name"),
        (["pull", "a/b", "--loud"], "--loud"),
        (["pull", "a/b", "--connections", "many"], "many"),
        (["pull", "a/b", "--connections", "0"], "between 1 and 1024"),
        (["pull", "a/b", "--endpoint", "mirror.lan"], "'mirror.lan' is not an endpoint"),
        (["pull", "a/b", "--endpoint", "hf=mirror.lan"], "'hf=mirror.lan' is not an endpoint"),
        (["pull", "a/b", "--endpoint", "xx=http://mirror.lan"], "is not an endpoint"),
        (["pull", "a/b/c/d"], "'a/b/c/d' is not a model's name"),
        (["pull", "b2:a/b"], "b2: is not known here"),
        (["pull", "a/b@"], "'' is not a revision"),
        (["pull", "a/b@../c"], "'../c' is not a revision"),
        (["pull", ""], "'' is not a model's name"),
        (["pull", "a" * 5000], "is not a model's name"),
        (["pull", "nowhere.toml"], "there is no recipe at nowhere.toml"),
        (["run", "a" * 5000], "there is no recipe at aaa"),
        (["pull", "a/b", "--events", "nowhere/events"], "nowhere/events cannot be written"),
        (["prove", "--runs", "0"], "there is no recipe"),
        (["mirror", "--listen", "here"], "'here' is not an address"),
    ],
)
def test_invalid_arguments_are_rejected_with_a_hint(preheat: Preheat, words: list[str], said: str) -> None:
    told = preheat(*words)
    assert told.status == 2, told.err
    assert told.out == ""
    assert "Traceback" not in told.err
    assert said in told.err
    assert "hint:" in told.err
    assert not preheat.library.exists()


@pytest.mark.parametrize("words", [["pull"], ["mirror", "--listen", "here"]])
def test_with_json_a_usage_error_is_an_object(preheat: Preheat, words: list[str]) -> None:
    told = preheat(*words, "--json")
    assert (told.status, told.err) == (2, "")
    assert told.last["event"] == "error"
    assert told.last["kind"] == "UsageError"
    assert told.last["hint"]


def test_run_leaves_stdout_to_the_app_even_after_a_usage_error(preheat: Preheat) -> None:
    told = preheat("run", "--json", "--loud", "--", "true")
    assert (told.status, told.out) == (2, "")
    assert json.loads(told.err)["kind"] == "UsageError"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HF_ENDPOINT", "mirror.lan", "'hf=mirror.lan' is not an endpoint"),
        ("HF_ENDPOINT", "http://[::1", "is not an endpoint"),
        ("HF_ENDPOINT", "http://mirror.lan:99999", "is not an endpoint"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "the CA file /nowhere/ca.pem cannot be read"),
    ],
)
def test_invalid_environment_variables_are_named(preheat: Preheat, name: str, value: str, said: str) -> None:
    told = preheat("pull", "acme/tiny", inside=("env", f"{name}={value}"))
    assert told.status == 2
    assert told.err.startswith("preheat: ")
    assert said in told.err
    assert "hint:" in told.err


def test_a_removed_current_folder_is_reported(preheat: Preheat) -> None:
    gone = preheat.folder / "gone"
    gone.mkdir()
    for words in (["pull", "file:x"], ["run", "--", "true"]):
        command = ["sh", "-c", f'cd "{gone}" && mkdir -p "{gone}" && rmdir "{gone}" && exec "$@"', "sh", str(COMMAND)]
        gone.mkdir(exist_ok=True)
        told = subprocess.run([*command, *words], env=preheat.env, capture_output=True, text=True, check=False)
        assert told.returncode == 2
        assert "the current folder was removed" in told.stderr
        assert "Traceback" not in told.stderr


def test_ctrl_c_is_handled_before_anything_has_started(preheat: Preheat) -> None:
    running = preheat.start("pull", "acme/tiny", PYTHONPROFILEIMPORTTIME="1")
    # The command still loads modules then, which takes longer than this. Earlier, Python itself would be starting.
    running.until(lambda running: "urllib3.exceptions" in running.err)
    told = running.kill(signal.SIGINT)
    assert told.status == 130, told.err
    assert "Traceback" not in told.err


def test_a_closed_pipe_is_no_error(preheat: Preheat, model: Path) -> None:
    with FlakyHub({"acme/tiny": model}) as hub:
        reading, writing = os.pipe()
        os.close(reading)
        told = subprocess.run(
            [COMMAND, "pull", "acme/tiny", "--json", "--library", preheat.library],
            env=preheat.env | {"HF_ENDPOINT": hub.url},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(writing)
    assert told.returncode == 1
    assert told.stderr == ""


def test_without_a_stderr_it_prints_nothing_and_ends_normally(preheat: Preheat, tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {COMMAND} pull ./nowhere.toml 2>&-"], cwd=tmp_path, env=preheat.env, capture_output=True
    )
    assert done.returncode == 2
    assert done.stdout == b""
