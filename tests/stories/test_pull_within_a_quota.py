"""Pull from a hub with a limit of concurrent or windowed requests: it waits, shows that it waits, and succeeds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub, bears, grants
from tests.stories.kept import blobs

FILES = 24


@pytest.fixture
def many(tmp_path: Path) -> Iterator[FlakyHub]:
    """A hub with a model of many small files."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number}.json").write_text(f'{{"number": {number}}}\n')
    with FlakyHub({"acme/many": folder}) as hub:
        yield hub


@pytest.mark.parametrize("says_when", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_quota_is_waited_for_and_the_wait_is_shown(preheat: Preheat, many: FlakyHub, says_when: bool) -> None:
    many.fails("/resolve/", grants(14, 3.0, says_when=says_when))
    told = preheat("pull", "acme/many", "--endpoint", f"hf={many.url}", "--json")
    assert told.status == 0, told.out
    assert len(set(blobs(preheat.library).values())) == FILES
    away = [event for event in told.events if event["event"] == "away"]
    assert away, "the wait is not shown"
    assert "slow down" in away[0]["reason"]
    assert away[0]["wait_s"] <= 3
    # At some hubs, requests beyond the quota would only lengthen the wait.
    assert len(many.asked("/resolve/")) < FILES + 25


@pytest.mark.parametrize(
    ("connections", "status"),
    [(1, 429), (3, 503), *(pytest.param(*one, marks=pytest.mark.slow) for one in ((1, 503), (3, 429)))],
)
def test_the_number_of_connections_settles_at_the_hubs_limit(
    preheat: Preheat, many: FlakyHub, connections: int, status: int
) -> None:
    many.fails("/resolve/", bears(connections, status))
    told = preheat("pull", "acme/many", "--endpoint", f"hf={many.url}", "--json")
    assert told.status == 0, told.out
    assert len(set(blobs(preheat.library).values())) == FILES
    # One wave of requests finds the hub's limit; it is not repeated for each file.
    assert len(many.asked("/resolve/")) <= FILES + 12


def test_a_wait_beyond_the_time_limit_is_an_error_at_once(preheat: Preheat, many: FlakyHub) -> None:
    many.fails("/resolve/", grants(5, 3_600.0))
    told = preheat("pull", "acme/many", "--endpoint", f"hf={many.url}", "--json")
    assert told.status == 3
    assert "asks to wait" in told.last["message"]
    assert "--patience 6" in told.last["hint"]
