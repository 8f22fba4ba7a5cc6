"""What other tools taught people to type becomes the arguments of our verbs, or an error that names them."""

import pytest

from preheat.cli.parser import VERBS, parser
from preheat.cli.typed_words import arrange, with_command, without_pages
from preheat.core.errors import UsageError

RUN = parser("run").verbs["run"].options()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", "--help"),
        ("help", "--help"),
        ("help pull", "pull --help"),
        ("--version", "--version"),
        ("--library /srv ls", "ls --library /srv"),
        ("--library=/srv --json ls acme/tiny", "ls --library=/srv --json acme/tiny"),
        ("-q --events e.json pull acme/tiny", "pull -q --events e.json acme/tiny"),
        ("--json run -- python app.py --json", "run --json -- python app.py --json"),
        ("pull help", "pull help"),
    ],
)
def test_the_verb_comes_first(typed: str, meant: str) -> None:
    assert arrange(typed.split(), VERBS) == meant.split()


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("list", "ls?"),
        ("LIST", "ls?"),
        ("download a/b", "pull?"),
        ("cache", "ls?"),
        ("pul a/b", "pull?"),
        ("mirorr", "mirror?"),
        ("help pul", "pull?"),
    ],
)
def test_an_unknown_verb_leads_to_ours(typed: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        arrange(typed.split(), VERBS)
    assert hint in raised.value.hint
    assert "preheat --help" in raised.value.hint


def test_a_verb_like_no_other_has_no_suggestion() -> None:
    with pytest.raises(UsageError) as raised:
        arrange(["xyzzy"], VERBS)
    assert raised.value.hint == "preheat --help lists all verbs"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("run python app.py", "run -- python app.py"),
        ("run python app.py --port 7860", "run -- python app.py --port 7860"),
        ("run --ready tcp:7860 --network=none python app.py", "run --ready tcp:7860 --network=none -- python app.py"),
        ("run --max-restarts 1 --json sh", "run --max-restarts 1 --json -- sh"),
        ("run --max-r 1 sh start.sh", "run --max-r 1 -- sh start.sh"),
        ("run nosuch", "run nosuch"),
        ("run --pull", "run --pull"),
        ("run -- python app.py", "run -- python app.py"),
    ],
)
def test_a_command_needs_no_dashes_before_it(typed: str, meant: str) -> None:
    assert with_command(typed.split(), RUN, lambda _word: False) == meant.split()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("run indextts2", "run indextts2"),
        ("run indextts2 --keep", "run indextts2 --keep"),
        ("run indextts2 --keep python webui.py --fp16", "run indextts2 --keep -- python webui.py --fp16"),
    ],
)
def test_a_command_after_an_apps_name_needs_none_either(typed: str, meant: str) -> None:
    assert with_command(typed.split(), RUN, lambda _word: True) == meant.split()


def test_a_page_is_pulled_by_its_models_name() -> None:
    page = "https://huggingface.co/acme/tiny/blob/main/config.json"
    assert without_pages(["pull", page, "-q"]) == ["pull", "hf:acme/tiny@main", "-q", "--files", "config.json"]
    whole = ["ls", "https://huggingface.co/acme/tiny", "https://modelscope.cn/models/acme/tiny"]
    assert without_pages(whole) == ["ls", "hf:acme/tiny", "ms:acme/tiny"]


@pytest.mark.parametrize(
    "typed",
    [
        "rm https://huggingface.co/acme/tiny/blob/main/config.json",
        "pull https://huggingface.co/acme/tiny/blob/main/config.json https://huggingface.co/acme/big",
    ],
)
def test_a_page_with_one_file_is_not_taken_for_the_whole_model(typed: str) -> None:
    with pytest.raises(UsageError, match=r"only a part|command of its own"):
        without_pages(typed.split())


def test_an_unknown_option_leads_to_the_most_similar_one() -> None:
    with pytest.raises(UsageError) as raised:
        parser("pull").read(["pull", "--connection-limit", "3", "a/b"])
    assert raised.value.hint.endswith("preheat pull --help")
    with pytest.raises(UsageError) as raised:
        parser("pull").read(["pull", "--librry=/x", "a/b"])
    assert raised.value.hint == "did you mean --library? preheat pull --help"
