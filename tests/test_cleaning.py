"""Words from outside do nothing to a terminal, and give no secret away."""

import contextlib
import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.cli.output.sanitize import clean, clean_deeply
from preheat.core.events import Answered
from preheat.mirror.status.access_log import STDOUT, AccessLog
from tests.command import Preheat
from tests.flaky_hub import FlakyHub, refuses


@given(st.text())
def test_nothing_that_is_clean_controls_a_terminal(text: str) -> None:
    said = clean(text)
    assert all(one in "\n\t" or unicodedata.category(one) not in ("Cc", "Cs") for one in said)
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") & set(said)
    said.encode()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_plain_words_stay_as_they_are(text: str) -> None:
    if "_" not in text and "@" not in text and "-" not in text:
        assert clean(text) == text


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("token hf_SECRETSECRETSECRETSECRET1234!", "token [hidden]!"),
        ("at https://user:pa:ss@hub.lan/x", "at https://hub.lan/x"),
        ("http://tok%40en@[bad/api", "http://[bad/api"),
        ("docker://host:5000/app@sha256:ab", "docker://host:5000/app@sha256:ab"),
        ("hf:acme/tiny@v1 at https://h/a", "hf:acme/tiny@v1 at https://h/a"),
        ("\x1b[31mred\x1b[0m\x1b]52;c;x\x07", "red\\x1b]52;c;x\\x07"),
        ("a \u009b2J and \u202etxt", "a \\x9b2J and \\u202etxt"),
    ],
)
def test_what_is_taken_out(said: str, left: str) -> None:
    assert clean(said) == left


def test_secrets_that_are_known_are_hidden_in_whole_documents() -> None:
    said = {"a": ["x topsecret y", {"topsecret": 1}], "b": ("topsecret",), "n": 5}
    assert "topsecret" not in str(clean_deeply(said, ["topsecret"]))


def test_a_hub_that_echoes_the_token_does_not_get_it_shown(preheat: Preheat, hub: FlakyHub) -> None:
    token = "a-token-of-no-known-form"
    hub.fails("/api/models/", refuses(403, f"no, {token} \u009b2J"))
    for words in ((), ("--json",)):
        told = preheat("pull", "acme/tiny", *words, HF_TOKEN=token)
        assert told.status == 3
        assert token not in told.out + told.err
        assert "\u009b" not in told.out + told.err


@given(st.text(st.characters(codec="latin-1")))
def test_an_access_log_on_a_terminal_does_nothing_to_it(agent: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        AccessLog(STDOUT)(Answered("::1", "GET", "/a", 200, 5, 0.1, agent))
    line = said.getvalue().removesuffix("\n")
    assert json.loads(line)["agent"] == agent
    assert line.replace("\x7f", "").isprintable()
    assert line.isascii()
