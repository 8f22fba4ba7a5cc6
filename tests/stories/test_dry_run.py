"""A dry run reports what a pull would download, and changes nothing."""

from tests.command import Preheat
from tests.flaky_hub import WEIGHTS, FlakyHub, refuses


def test_it_lists_the_downloads_and_writes_nothing(preheat: Preheat, hub: FlakyHub) -> None:
    told = preheat("pull", "acme/tiny", "--dry-run", "--json")
    assert told.status == 0, told.err
    (need,) = told.last["needs"]
    assert need["missing"] == told.last["missing"] > 12_000_000
    assert need["rate"] > 0
    assert need["seconds"] > 0
    assert need["fits"] is True
    assert not preheat.library.exists()


def test_files_in_the_library_are_not_downloads(preheat: Preheat, hub: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    told = preheat("pull", "acme/tiny", "--dry-run")
    assert told.status == 0
    assert "all cached" in told.out


def test_gated_files_are_reported(preheat: Preheat, hub: FlakyHub) -> None:
    hub.fails(WEIGHTS, refuses(403, "Access to model acme/tiny is restricted", "GatedRepo"))
    told = preheat("pull", "acme/tiny", "--dry-run")
    assert told.status == 3
    assert "gated" in told.err
