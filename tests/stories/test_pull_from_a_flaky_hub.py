"""Pull from a hub that sends wrong data, fails, denies access, or is unreachable."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from preheat.mirror.http.messages import Answer, Request
from tests.command import Preheat, Told
from tests.flaky_hub import (
    WEIGHTS,
    Fault,
    FlakyHub,
    flips_a_byte_at,
    hangs_up_after,
    knows_no_ranges,
    redirects_to,
    refuses,
    says,
    sends_less_by,
    wants_token,
)
from tests.stories.kept import blobs, contents

TOKEN = "hf_Kq7vSecretOfMine"


def failed(told: Told, status: int, *words: str) -> None:
    """Return whether it ended with this status, these words and a hint, and no traceback."""
    assert told.status == status, told.out + told.err
    assert "Traceback" not in told.out + told.err
    said = told.err or told.last["message"] + " hint: " + told.last["hint"]
    assert "hint:" in said
    for word in words:
        assert word in said


# ---- wrong data-------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "place"), [("model.safetensors", 4_000_000), ("note.txt", 1)])
def test_a_flipped_byte_never_gets_a_name(preheat: Preheat, hub: FlakyHub, model: Path, name: str, place: int) -> None:
    hub.fails(name, flips_a_byte_at(place))
    told = preheat("pull", "acme/tiny", "--view", "hf-cache=cache")
    failed(told, 4, name, "thrown away")
    whole = set(contents(model).values())
    assert all(body in whole for body in blobs(preheat.library).values())
    assert (model / name).read_bytes() not in blobs(preheat.library).values()
    assert not (preheat.folder / "cache").exists()
    assert contents(preheat.library / "records") == {}
    # Wrong bytes are not resumed: the next pull downloads the whole file.
    hub.recovers()
    assert preheat("pull", "acme/tiny").status == 0
    assert hub.sent(name) == (model / name).stat().st_size
    assert set(blobs(preheat.library).values()) == whole


@pytest.mark.parametrize("name", ["model.safetensors", "note.txt"])
def test_a_response_shorter_than_listed_is_rejected(preheat: Preheat, hub: FlakyHub, model: Path, name: str) -> None:
    hub.fails(name, sends_less_by(5))
    failed(preheat("pull", "acme/tiny"), 4, name)
    assert (model / name).read_bytes() not in blobs(preheat.library).values()


@pytest.mark.parametrize(
    "path", ["../../outside", "/etc/outside", "a/../../outside", "a\\\\outside", "a\\u0000b", "x" * 300]
)
def test_a_file_name_that_leaves_the_folder_is_rejected(preheat: Preheat, hub: FlakyHub, path: str) -> None:
    hub.fails("/api/", says('"same.json"', f'"{path}"'))
    failed(preheat("pull", "acme/tiny"), 4, "invalid path or size")
    assert not hub.asked("/resolve/")
    assert not list(preheat.folder.rglob("outside"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"sha":"', '"sha":"main'),
        ('"rfilename":"config.json","size":23', '"rfilename":"config.json","size":-1'),
        ('"siblings":[', '"siblings":[7,'),
        ("{", "<html>"),
    ],
)
def test_an_invalid_listing_is_reported(preheat: Preheat, hub: FlakyHub, old: str, new: str) -> None:
    hub.fails("/api/", says(old, new))
    told = preheat("pull", "acme/tiny")
    failed(told, 4 if "size" in old else 3, "hub")


def test_a_hub_that_lists_a_file_twice_is_rejected(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails("/api/", says('"same.json"', '"config.json"'))
    told = preheat("pull", "acme/tiny")
    assert told.status == 4
    assert "the hub lists a file of hf:acme/tiny twice" in told.err


# ---- temporary failures-----------------------------------------------------------------------------------------


def test_a_broken_connection_is_resumed_where_it_broke(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails("model.safetensors", hangs_up_after(300_000), times=3)
    told = preheat("pull", "acme/tiny", "--json")
    assert told.status == 0, told.out
    assert [event["event"] for event in told.events].count("retrying") == 3
    # Not a byte was sent twice.
    assert hub.sent("model.safetensors") == 9_000_000


def test_an_overloaded_hub_is_retried_after_the_requested_wait(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails("/api/", refuses(429, Retry_After="1"), times=1)
    hub.fails("low.bin", refuses(429, Retry_After="1"), times=1)
    told = preheat("pull", "acme/tiny", "--json")
    assert told.status == 0, told.out
    retrying = [event for event in told.events if event["event"] == "retrying"]
    assert [event["wait_s"] for event in retrying] == [1.0, 1.0]
    assert "slow down" in retrying[0]["reason"]


def test_a_hub_that_fails_twice_is_tried_a_third_time(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails("/api/", refuses(500), times=2)
    hub.fails("model.safetensors", refuses(503), times=2)
    told = preheat("pull", "acme/tiny")
    assert told.status == 0, told.err
    assert "answered 500; retrying in" in told.err


def test_a_hub_without_ranges_works(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails("low.bin", knows_no_ranges)
    told = preheat("pull", "acme/tiny", "--files", "*low.bin", "--connections", "2")
    assert told.status == 0, told.err


@pytest.mark.parametrize("odd", [None, "bytes 0-8/9000000", "nonsense"])
def test_a_hub_with_wrong_range_headers_works(preheat: Preheat, hub: FlakyHub, model: Path, odd: str | None) -> None:
    def misdescribes(request: Request, full: Answer) -> Answer:
        if full.status != 206:
            return full
        headers = {name: value for name, value in full.headers.items() if name != "Content-Range"}
        return replace(full, headers=headers if odd is None else headers | {"Content-Range": odd})

    hub.fails(WEIGHTS, misdescribes)
    told = preheat("pull", "acme/tiny", "--files", "*.safetensors")
    assert told.status == 0, told.err
    assert (model / "model.safetensors").read_bytes() in blobs(preheat.library).values()


# ---- permanent failures-----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_unreachable_hub_is_given_up(preheat: Preheat) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        failed(preheat("pull", "acme/tiny", HF_ENDPOINT=address), 3, address, "does not answer", "--endpoint")
    assert not preheat.library.exists()


@pytest.mark.slow
def test_a_connection_that_always_breaks_is_given_up_and_received_bytes_are_kept(
    preheat: Preheat, hub: FlakyHub
) -> None:
    hub.fails("model.safetensors", hangs_up_after(0))
    failed(preheat("pull", "acme/tiny", "--patience", "3s"), 3, "127.0.0.1")
    hub.recovers()
    assert preheat("pull", "acme/tiny").status == 0


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("acme/none", ["hf:acme/none", "no such repository", "check the name"]),
        ("acme/tiny@v9", ["hf:acme/tiny@v9", "no such revision"]),
        ("acme/tiny@" + "0" * 40, ["no such revision"]),
        ("hf:spaces/acme/tiny", ["hf:spaces/acme/tiny", "no such repository"]),
        ("file:nowhere", ["nowhere is not a folder"]),
    ],
)
def test_a_missing_repository_is_named(preheat: Preheat, ref: str, words: list[str]) -> None:
    failed(preheat("pull", ref), 3, *words)
    assert not preheat.library.exists()


def test_a_gated_model_has_a_hint(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails("/api/", refuses(403, "Access to model acme/tiny is restricted.", "GatedRepo"))
    failed(preheat("pull", "acme/tiny"), 3, "gated", "accept the terms", "HF_TOKEN")


@pytest.mark.parametrize("status", [401, 403])
def test_a_denial_has_a_hint(preheat: Preheat, hub: FlakyHub, status: int) -> None:
    hub.fails("/api/", refuses(status, "You shall not pass"))
    failed(preheat("pull", "acme/tiny", "--json"), 3, "denies access", "You shall not pass", "HF_TOKEN")


def test_a_hub_that_denies_a_file_of_a_public_listing_is_believed(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails("low.bin", refuses(403))
    failed(preheat("pull", "acme/tiny"), 3, "low.bin", "denies access")


# ---- the token ----------------------------------------------------------------------------------------------------


def continued_at(url: str) -> Fault:
    """Send a link to the next page of the list at another address."""
    return lambda request, full: replace(
        full, headers={**full.headers, "Link": f'<{url}>; rel="next"', "Content-Length": "2"}, body=b"[]"
    )


def unsaid(told: Told, preheat: Preheat) -> None:
    """Return whether the token is neither in the output nor in any file."""
    assert TOKEN not in told.out + told.err
    assert not [name for name, body in contents(preheat.library).items() if TOKEN.encode() in body]


def test_the_token_opens_private_models_and_is_never_shown(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails("", wants_token(TOKEN))
    told = preheat("pull", "acme/tiny", "-v", HF_TOKEN=TOKEN)
    assert told.status == 0, told.err
    unsaid(told, preheat)


@pytest.mark.parametrize("ending", ["\n", "\r\n", " "])
def test_the_token_is_found_where_hf_stores_it(preheat: Preheat, hub: FlakyHub, ending: str) -> None:
    hub.fails("", wants_token(TOKEN))
    home = preheat.folder / ".cache/huggingface"
    home.mkdir(parents=True)
    (home / "token").write_text(TOKEN + ending)
    told = preheat("pull", "acme/tiny", "--json")
    assert told.status == 0, told.out
    unsaid(told, preheat)


@pytest.mark.parametrize("wrong", [TOKEN, f"{TOKEN}\nX-Other: 1", f"{TOKEN}\x01", f"{TOKEN}é", f"a {TOKEN}"])
def test_a_wrong_token_is_denied_without_being_shown(preheat: Preheat, hub: FlakyHub, wrong: str) -> None:
    hub.fails("", wants_token("hf_theirs"))
    for words in ((), ("--json", "-v")):
        told = preheat("pull", "acme/tiny", *words, HF_TOKEN=wrong)
        failed(told, 3 if wrong == TOKEN else 2, "HF_TOKEN")
        unsaid(told, preheat)


def test_the_token_does_not_follow_a_redirect_to_another_origin(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    with FlakyHub({"acme/tiny": model}) as elsewhere:
        hub.fails("/resolve/", redirects_to(elsewhere.url))
        told = preheat("pull", "acme/tiny", HF_TOKEN=TOKEN)
        assert told.status == 0, told.err
        assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in hub.asked())
        assert elsewhere.sent(WEIGHTS) == 12_000_000
        assert not [request for request in elsewhere.asked() if "authorization" in request.headers]
    unsaid(told, preheat)


def test_the_next_page_of_a_listing_is_requested_from_the_endpoint_and_nowhere_else(
    preheat: Preheat, hub: FlakyHub, model: Path
) -> None:
    with FlakyHub({"acme/tiny": model}) as elsewhere:
        # Without sizes in its description, the hub's tree is asked, and its next page is said to be elsewhere.
        hub.fails("/revision/", says('"size"', '"unknown"'))
        hub.fails("/tree/", continued_at(f"{elsewhere.url}/api/models/acme/tiny/tree/main?cursor=0&recursive=true"))
        told = preheat("pull", "acme/tiny", HF_TOKEN=TOKEN)
        assert hub.asked("cursor=0")
        assert not elsewhere.asked()
    unsaid(told, preheat)


def test_an_endless_redirect_ends(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails("/resolve/", redirects_to(hub.url))
    failed(preheat("pull", "acme/tiny", "--files", "config.json"), 3, "redirects without end")
