"""Text from outside cannot control a terminal, and shows no secret."""

import contextlib
import io
import json
import traceback
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.cli.output.sanitize import clean, clean_deeply
from preheat.core.digest import sha256
from preheat.core.errors import PreheatError
from preheat.core.events import Answered
from preheat.core.ref import Ref
from preheat.core.secret_text import hide, one_line
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.huggingface import HuggingFace
from preheat.mirror.http.messages import Answer, Request, refuse
from preheat.mirror.status.access_log import STDOUT, AccessLog
from preheat.net.http import NetworkSettings, Transport
from tests.authority import trusting
from tests.command import Preheat
from tests.flaky_hub import Fault, FlakyHub, refuses


@given(st.text())
def test_cleaned_text_does_not_control_a_terminal(text: str) -> None:
    said = clean(text)
    assert all(one in "\n\t" or unicodedata.category(one) not in ("Cc", "Cs") for one in said)
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") & set(said)
    said.encode()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_plain_text_stays_as_it_is(text: str) -> None:
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
def test_control_characters_are_removed(said: str, left: str) -> None:
    assert clean(said) == left


def test_known_secrets_are_hidden_in_whole_documents() -> None:
    said = {"a": ["x topsecret y", {"topsecret": 1}], "b": ("topsecret",), "n": 5}
    assert "topsecret" not in str(clean_deeply(said, ["topsecret"]))


@pytest.mark.parametrize("secret", ["a-token-of-no-known-form", "it's/a%token\\"])
@given(before=st.text(max_size=300), most=st.integers(20, 200))
def test_a_truncated_text_shows_no_part_of_a_secret(secret: str, before: str, most: int) -> None:
    said = hide(one_line(f"{before} {secret}", most), [secret])
    assert secret[:6] not in said


def test_a_colour_sequence_does_not_split_a_secret() -> None:
    assert "topsecret" not in clean("top\x1b[31msecret", ["topsecret"])


TOKEN = "a-token-of-no-known-form"


def echoes(kind: str) -> Fault:
    """Respond with the token of the request."""

    def fault(request: Request, full: Answer) -> Answer:
        token = request.headers.get("authorization", "").rpartition(" ")[2]
        listing = json.dumps({"sha": token, "siblings": []}).encode()
        return {
            "an error": refuse(403, "x", X_Error_Message=f"{'no ' * 61}{token}"),
            "a code": refuse(404, "x", X_Error_Code=token),
            "a redirect": Answer(302, {"Location": f"https://[{token}/", "Content-Length": "0"}),
            "a commit": Answer(200, {"Content-Length": str(len(listing))}, listing),
            "a length": Answer(200, {"Content-Length": token}),
            "a charset": Answer(200, {"Content-Encoding": token, "Content-Length": "2"}, b"{}"),
        }[kind]

    return fault


@pytest.mark.parametrize("kind", ["an error", "a code", "a redirect", "a commit", "a length", "a charset"])
@pytest.mark.parametrize("pattern", ["/api/models/", "/resolve/"])
def test_no_exception_for_a_hub_that_echoes_the_token_contains_it(pattern: str, kind: str, hub: FlakyHub) -> None:
    ref, file = Ref.parse("hf:acme/tiny"), File("a.bin", 9, sha256("0" * 64))
    hub.fails(pattern, echoes(kind))
    source = HuggingFace(hub.url, Transport(trusting(NetworkSettings(read_s=2, document_s=1))), TOKEN)
    with pytest.raises(PreheatError) as caught:
        source.resolve(ref) if pattern.startswith("/api") else source.open(Snapshot(ref, "1" * 40, (file,)), file, 1, 3)
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.message + caught.value.hint
    assert TOKEN[:8] not in shown.replace(f'TOKEN = "{TOKEN}"', "")


def test_an_echoed_token_is_not_shown(preheat: Preheat, hub: FlakyHub) -> None:
    token = "a-token-of-no-known-form"
    hub.fails("/api/models/", refuses(403, f"no, {token} \u009b2J"))
    for words in ((), ("--json",)):
        told = preheat("pull", "acme/tiny", *words, HF_TOKEN=token)
        assert told.status == 3
        assert token not in told.out + told.err
        assert "\u009b" not in told.out + told.err


@given(st.text(st.characters(codec="latin-1")))
def test_an_access_log_cannot_control_a_terminal(agent: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        AccessLog(STDOUT)(Answered("::1", "GET", "/a", 200, 5, 0.1, agent))
    line = said.getvalue().removesuffix("\n")
    assert json.loads(line)["agent"] == agent
    assert line.replace("\x7f", "").isprintable()
    assert line.isascii()
