"""Who may come in, and what is served."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import UsageError
from preheat.core.ref import Ref
from preheat.mirror.access.allow_deny import Rules, ruled
from preheat.mirror.access.reloadable import ReloadableSettings, Words
from preheat.mirror.access.token_auth import TokenAuth
from preheat.mirror.http.messages import Refused, Request, bearer

TOKEN = "a-token-of-the-mirror"
_TOKENS = st.from_regex(r"[A-Za-z0-9._~+/=-]{8,40}", fullmatch=True)


def shown(token: str) -> Request:
    return Request("GET", "/", {"authorization": f"Bearer {token}", "accept": "*/*"})


def basic(password: str) -> Request:
    return Request("GET", "/", {"authorization": f"Basic {base64.b64encode(f'me:{password}'.encode()).decode()}"})


def test_without_a_token_everybody_comes_in_and_keeps_their_own() -> None:
    assert TokenAuth().enter(shown("hf_own")) == shown("hf_own")


def test_a_token_of_upstreams_may_come_in_a_cookie() -> None:
    inside = TokenAuth().enter(Request("GET", "/", {"cookie": "x=y; m_session_id=ms-token"}))
    assert bearer(inside) == "ms-token"
    both = Request("GET", "/", {"cookie": "m_session_id=ms-token", "authorization": "Bearer hf_own"})
    assert TokenAuth().enter(both) == both


@pytest.mark.parametrize(
    "request_",
    [shown(TOKEN), basic(TOKEN), Request("GET", "/", {"cookie": f"a=b; m_session_id={TOKEN}"})],
    ids=["bearer", "basic", "cookie"],
)
def test_the_mirrors_token_lets_in_and_goes_no_further(request_: Request) -> None:
    inside = TokenAuth((TOKEN,)).enter(request_)
    assert TOKEN not in str(inside.headers)
    assert bearer(inside) == ""


@pytest.mark.parametrize(
    "request_",
    [
        shown(TOKEN + "x"), shown(TOKEN[:-1]), shown(""), shown(f"x:{TOKEN}"), basic("other"), basic(""),
        Request("GET", "/"), Request("GET", "/", {"authorization": TOKEN}),
        Request("GET", "/", {"authorization": "Basic ???"}), Request("GET", "/", {"cookie": "m_session_id=x"}),
        Request("GET", f"/?token={TOKEN}"),
    ],
)  # fmt: skip
def test_nobody_else_comes_in(request_: Request) -> None:
    with pytest.raises(Refused) as caught:
        TokenAuth((TOKEN,)).enter(request_)
    assert caught.value.answer.status == 401
    assert caught.value.answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert TOKEN not in str(caught.value.answer)


def test_a_browser_is_asked_so_that_it_asks_its_reader() -> None:
    with pytest.raises(Refused) as caught:
        TokenAuth((TOKEN,)).enter(Request("GET", "/", {"accept": "text/html,*/*"}))
    assert caught.value.answer.headers["WWW-Authenticate"].startswith("Basic")


@given(own=_TOKENS, other=_TOKENS)
def test_what_goes_on_is_the_other_token_and_never_the_mirrors(own: str, other: str) -> None:
    inside = TokenAuth(("not-this-one", own)).enter(shown(f"{own}:{other}"))
    assert bearer(inside) == other


@pytest.mark.parametrize("token", ["short", "with space in", "with:colon", "with;semicolon", "", "ünïcödé-token"])
def test_a_token_that_cannot_be_one_is_said_without_saying_it(token: str) -> None:
    with pytest.raises(UsageError) as caught:
        TokenAuth((token,))
    assert not token or token not in caught.value.message


@pytest.mark.parametrize(
    ("rules", "ref", "served"),
    [
        (Rules(), "hf:a/b", True),
        (Rules(deny=("a/*",)), "hf:a/b", False),
        (Rules(deny=("a/*",)), "hf:A/B", False),
        (Rules(deny=("A/*",)), "ms:a/b", False),
        (Rules(deny=("ms:*",)), "ms:a/b", False),
        (Rules(deny=("ms:*",)), "hf:a/b", True),
        (Rules(allow=("a/*",)), "hf:a/b@v1", True),
        (Rules(allow=("a/*",)), "hf:c/b", False),
        (Rules(allow=("a/*",), deny=("*-gguf",)), "hf:a/b-GGUF", False),
        (Rules(allow=("datasets/*",)), "hf:datasets/a/b", True),
        (Rules(allow=("datasets/*",)), "hf:a/b", False),
        (Rules(deny=("a/b",)), "hf:a/b@0123456789012345678901234567890123456789", False),
        (Rules(deny=("a/*",)), "hf:datasets/a/b", False),
        (Rules(allow=("a/*",)), "hf:datasets/a/b", False),
        (Rules(deny=("datasets/*",)), "hf:a/b", True),
    ],
)
def test_rules(rules: Rules, ref: str, served: bool) -> None:
    assert rules.admit(Ref.parse(ref)) == served
    find = ruled(lambda ref: ref, lambda: rules)
    if served:
        assert find(Ref.parse(ref)) == Ref.parse(ref)
    else:
        with pytest.raises(Refused) as caught:
            find(Ref.parse(ref))
        assert caught.value.answer.status == 403


@given(st.from_regex(r"[a-z]{1,5}/[a-z]{1,5}", fullmatch=True), st.sampled_from([str.upper, str.title, str.lower]))
def test_no_spelling_gets_around_a_deny(name: str, spelled: type[str]) -> None:
    assert not Rules(deny=(name,)).admit(Ref.parse(f"hf:{spelled(name)}"))


def test_settings_are_read_anew_and_stay_as_they_were_if_they_cannot_be(tmp_path: Path) -> None:
    tokens, denied = tmp_path / "tokens", tmp_path / "denied"
    tokens.write_text("# of the room\nfirst-token\n\n")
    denied.write_text("evil/*\n")
    settings = ReloadableSettings(Words("of-the-environment", tokens, deny=(f"@{denied}", "bad/*")))
    assert settings.door.tokens == ("of-the-environment", "first-token")
    assert settings.rules.deny == ("evil/*", "bad/*")
    tokens.write_text("second-token\n")
    denied.write_text("worse/*\n")
    settings.reload()
    assert settings.door.tokens == ("of-the-environment", "second-token")
    for broken, content in ((tokens, ""), (tokens, "short\n"), (denied, "# nothing\n"), (denied, None)):
        before = broken.read_text()
        broken.unlink() if content is None else broken.write_text(content)
        with pytest.raises(UsageError):
            settings.reload()
        broken.write_text(before)
        assert settings.door.tokens == ("of-the-environment", "second-token")
        assert settings.rules.deny == ("worse/*", "bad/*")


def test_a_file_without_end_is_not_read_and_changes_nothing(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("first-token-123456\n")
    settings = ReloadableSettings(Words(token_file=tokens))
    tokens.unlink()
    tokens.symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="not a regular file"):
        settings.reload()
    assert settings.door.opens("first-token-123456")
