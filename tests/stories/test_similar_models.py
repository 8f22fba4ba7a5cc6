"""A mistyped model: the names that it is most like, from the library, the recipes and the hub's own search."""

import json

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub, answers_after, lists, refuses
from tests.stories.caches import write

HUB = ("openai/whisper-tiny", "openai/whisper-base", "distil-whisper/distil-small.en", "someone/else")
SEARCH = r"^/(api/models|openapi/v1/models)\?"


def hint(preheat: Preheat, *words: str) -> str:
    told = preheat(*words)
    assert told.status == 3, told.out + told.err
    return told.err.partition("hint: ")[2].strip()


@pytest.mark.parametrize("typed", ["opnai/whisper-tiny", "openai/whisper-tinny", "openai/wisper-tiny", "whisper-tiny"])
def test_the_hub_is_asked_for_the_names_that_are_like_it(preheat: Preheat, hub: FlakyHub, typed: str) -> None:
    hub.fails(SEARCH, lists(*HUB))
    assert hint(preheat, "pull", typed).startswith("did you mean hf:openai/whisper-tiny")
    assert len(hub.asked(SEARCH)) <= 3
    assert hub.asked(SEARCH)[0].target.startswith("/api/models?")


def test_modelscope_is_asked_too(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails(SEARCH, lists("iic/SenseVoiceSmall", "iic/SenseVoiceLarge"))
    preheat.env["MODELSCOPE_ENDPOINT"] = hub.url
    assert hint(preheat, "pull", "ms:iic/SenseVoiceSmal").startswith("did you mean ms:iic/SenseVoiceSmall")
    assert "/openapi/v1/models?owner=iic&" in hub.asked(SEARCH)[0].target


def test_the_library_and_the_recipes_have_names_too(preheat: Preheat, hub: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny", "--files", "config.json").status == 0
    assert hint(preheat, "pull", "acme/tinny").startswith("did you mean hf:acme/tiny? ")
    assert hint(preheat, "pull", "IndexTeam/IndexTTS2").startswith("did you mean hf:IndexTeam/IndexTTS-2")
    write(preheat.folder / "preheat.toml", b'[app]\nname = "talk"\n[[needs]]\nref = "hf:voices/alloy"\n')
    assert hint(preheat, "pull", "voices/aloy").startswith("did you mean hf:voices/alloy? ")


@pytest.mark.parametrize("verb", ["pull", "lock"])
def test_a_mistyped_need_of_a_recipe_gets_the_hint(preheat: Preheat, hub: FlakyHub, verb: str) -> None:
    hub.fails(SEARCH, lists(*HUB))
    write(preheat.folder / "preheat.toml", b'[app]\nname = "talk"\n[[needs]]\nref = "hf:openai/whisper-tinny"\n')
    assert hint(preheat, verb, "preheat.toml").startswith("did you mean hf:openai/whisper-tiny")


def test_a_name_that_the_hub_lists_is_not_mistyped(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails(SEARCH, lists(*HUB))
    hub.fails("/api/models/openai", refuses(401))
    assert "did you mean" not in hint(preheat, "pull", "openai/whisper-tiny")


def test_a_pull_that_works_or_a_wrong_revision_sends_no_search(preheat: Preheat, hub: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    assert hint(preheat, "pull", "acme/tiny@no-such-branch").startswith("a revision is ")
    assert hint(preheat, "pull", "acme/tiny", "--files", "nothing.here")
    assert hub.asked(SEARCH) == []


@pytest.mark.parametrize(
    "answer",
    [
        refuses(404),
        refuses(500),
        lambda _request, full: type(full)(200, {"Content-Length": "2"}, b"{]"),
        lambda _request, full: type(full)(200, {"Content-Length": str(2 << 20)}, b"[" + b" " * ((2 << 20) - 1)),
    ],
    ids=["none", "broken", "no JSON", "too large"],
)
def test_a_search_that_fails_changes_nothing(preheat: Preheat, hub: FlakyHub, answer: object) -> None:
    hub.fails(SEARCH, answer)  # type: ignore[arg-type]  # a function of these arguments
    assert hint(preheat, "pull", "openai/whisper-tinny").startswith("check the name; ")


def test_a_hostile_search_result_is_not_printed(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails(SEARCH, lists("openai/whisper-tinny; rm -rf ~", "openai/../whisper-tinn", "openai/whisper-tinni"))
    assert hint(preheat, "pull", "openai/whisper-tinny").startswith("did you mean hf:openai/whisper-tinni? ")


def test_a_hub_that_does_not_answer_is_not_asked(preheat: Preheat) -> None:
    told = preheat("pull", "openai/whisper-tinny", "--patience", "0s", "--json", HF_ENDPOINT="http://127.0.0.1:1")
    assert json.loads(told.out.splitlines()[-1])["kind"] == "HubUnavailable"
    assert "did you mean" not in told.out


@pytest.mark.slow
def test_nobody_waits_long_for_a_search(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails(SEARCH, answers_after(60.0))
    assert hint(preheat, "pull", "openai/whisper-tinny").startswith("check the name; ")


@pytest.mark.parametrize(
    "words",
    [
        ("export", "acme/tinny", "-o", "b.tar"),
        ("push", "s3://models/team", "acme/tinny"),
        ("view", "flat", "out", "acme/tinny"),
    ],
    ids=lambda words: words[0],
)
def test_a_mistyped_model_of_the_library_gets_the_hint_without_a_hub(
    preheat: Preheat, hub: FlakyHub, words: tuple[str, ...]
) -> None:
    assert preheat("pull", "acme/tiny", "--files", "config.json").status == 0
    before = len(hub.asked())
    told = preheat(*words, AWS_ACCESS_KEY_ID="k", AWS_SECRET_ACCESS_KEY="s", AWS_ENDPOINT_URL="https://127.0.0.1:9")
    assert (told.status, "did you mean hf:acme/tiny? if not: preheat pull " in " ".join(told.err.split())) == (
        5,
        True,
    ), told.err
    assert len(hub.asked()) == before


def test_a_mistyped_app_that_is_carried_gets_the_hint(preheat: Preheat) -> None:
    told = preheat("export", "indextts3", "-o", "b.tar")
    assert (told.status, "did you mean indextts2? " in told.err) == (5, True), told.err
