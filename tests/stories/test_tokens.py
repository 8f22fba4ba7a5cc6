"""A token is sent to its own origin, and to no other."""

from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub, refuses, wants_token

TOKEN, OTHER = "hf_ownownownownownown1234", "other-token-of-another-hub"


def shown(hub: FlakyHub) -> set[str]:
    return {request.headers.get("authorization", "") for request in hub.asked()} - {""}


def test_the_token_is_sent_only_to_the_first_endpoint(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    with FlakyHub({"acme/tiny": model}) as helper:
        both = ("--endpoint", f"hf={hub.url}", "--endpoint", f"hf={helper.url}")
        told = preheat("pull", "acme/tiny", *both, HF_TOKEN=TOKEN)
        assert told.status == 0, told.err
        assert shown(hub) == {f"Bearer {TOKEN}"}
        assert shown(helper) == set()


@pytest.mark.parametrize("place", ["env", "file"])
def test_each_endpoint_may_have_its_own_token(preheat: Preheat, hub: FlakyHub, model: Path, place: str) -> None:
    (preheat.folder / "token").write_text(f"{OTHER}\n")
    said = "env:OTHER_TOKEN" if place == "env" else "file:token"
    hub.fails("", refuses(401))
    with FlakyHub({"acme/tiny": model}) as second:
        second.fails("", wants_token(OTHER))
        both = ("--endpoint", f"hf={hub.url}", "--endpoint", f"hf={second.url}", "--token-for", f"{second.url}={said}")
        told = preheat("pull", "acme/tiny", *both, HF_TOKEN=TOKEN, OTHER_TOKEN=OTHER)
        assert told.status == 0, told.err
        assert shown(hub) == {f"Bearer {TOKEN}"}
        assert shown(second) == {f"Bearer {OTHER}"}


def test_without_a_token_the_message_shows_none(preheat: Preheat, hub: FlakyHub) -> None:
    for place in ("env:NOT_SET", "file:nothing", TOKEN, ""):
        told = preheat("pull", "acme/tiny", "--token-for", f"{hub.url}={place}")
        assert told.status == 2
        assert TOKEN not in told.err
