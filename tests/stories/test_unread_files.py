"""What a traced app downloaded and never opened is reported, and removed on request if nothing needs it."""

import pytest

from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.stories.kept import blobs
from tests.stories.test_trace import SCRIPT, traced, write_app

__all__ = ["traced"]

LARGE = 3_000_000  # the size of the file that the app downloads and does not open
DOWNLOADS = (
    "open(get('model.safetensors'), 'rb').read()\nif 'HF_HUB_OFFLINE' not in os.environ: get('voices/deep/low.bin')"
)


@pytest.fixture
def app(traced: Preheat) -> Preheat:
    """An app that was traced; one file that it downloaded was not opened."""
    write_app(traced, DOWNLOADS)
    told = traced("trace", "--json", "--", *SCRIPT)
    assert told.status == 0, told.err
    assert told.last["unread"] == LARGE
    return traced


def prune(app: Preheat, *words: str) -> Told:
    told = app("prune", "--unread", "--json", *words)
    assert told.status == 0, told.out + told.err
    return told


def has_large(app: Preheat) -> bool:
    return any(len(body) == LARGE for body in blobs(app.library).values())


def test_it_is_shown_first_and_then_removed_and_the_app_still_starts(app: Preheat, hub: FlakyHub) -> None:
    assert "blobs" in app("prune", "--json").last
    assert has_large(app), "without --unread, it belongs to its version"
    shown = prune(app).last
    assert shown["size"] >= LARGE
    assert has_large(app)
    assert prune(app, "--yes").last["size"] == shown["size"]
    assert not has_large(app)
    hub.recovers()
    write_app(app, "open(get('model.safetensors'), 'rb').read()")
    assert app("run", "--locked", HF_ENDPOINT="http://127.0.0.1:9").status == 0
    assert prune(app, "--yes").last["size"] == 0
    # The version is complete for whoever wants it.
    told = app("pull", "acme/tiny", "--files", "voices/deep/low.bin", "--json")
    assert (told.status, told.last["fetched"]) == (0, LARGE)
    prune(app, "--yes")
    assert has_large(app), "it was pulled on purpose"


def test_the_trace_says_how_much_and_how(traced: Preheat) -> None:
    write_app(traced, DOWNLOADS)
    told = traced("trace", "--", *SCRIPT)
    assert "3.0 MB in the library that no start opened; to remove them: preheat prune --unread --yes" in told.out


@pytest.mark.parametrize(
    "words",
    [
        ("pull", "acme/tiny"),
        ("pin", "acme/tiny"),
        ("pull", "hf:datasets/acme/rows"),
        ("view", "flat", "view", "acme/tiny"),
    ],
    ids=["pulled", "pinned", "another version", "placed"],
)
def test_it_stays_if_something_else_needs_it(app: Preheat, words: tuple[str, ...]) -> None:
    if words[0] == "view":
        words = (*words, "--files", "voices/deep/low.bin", "--link", "symlink")
    told = app(*words)
    assert told.status == 0, told.err
    prune(app, "--yes")
    assert has_large(app)


def test_it_stays_if_another_traced_app_opens_it(app: Preheat) -> None:
    write_app(app, "open(get('voices/deep/low.bin'), 'rb').read()")
    assert app("trace", "--name", "other", "-o", "other.toml", "--", *SCRIPT).status == 0
    prune(app, "--yes")
    assert has_large(app)


def test_what_the_library_had_before_the_trace_is_nobodys_leftover(traced: Preheat) -> None:
    assert traced("pull", "acme/tiny").status == 0
    write_app(traced, DOWNLOADS)
    told = traced("trace", "--json", "--", *SCRIPT)
    assert told.status == 0, told.err
    assert told.last["unread"] == 0
    prune(traced, "--yes")
    assert has_large(traced)
