"""A fetch abandons routes that stall, are slow, send wrong bytes or fail, and downloads from the others."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.core.errors import HubError, IntegrityError
from preheat.core.events import Event, Received, Retrying
from preheat.core.ref import Ref
from preheat.hubs.huggingface import HuggingFace
from preheat.library.library import Library
from preheat.mirror.http.messages import Answer, Request
from preheat.net.http import NetworkSettings, Transport
from preheat.net.retry import RetryPolicy
from preheat.transfer.fetch import Policy
from preheat.verbs.pull import pull
from preheat.verbs.pull_sources import PullSource
from tests.authority import trusting
from tests.flaky_hub import (
    WEIGHTS,
    Fault,
    FlakyHub,
    answers_after,
    flips_a_byte_at,
    hangs_up_after,
    knows_no_ranges,
    refuses,
    says,
    sends_less_by,
)

REF = Ref.parse("acme/tiny")
SIZE = 24_000_000
QUICK = Policy(connections=8, patience=RetryPolicy(lasting_s=5.0, attempts=3, first_wait_s=0.05))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    (folder / "model.bin").write_bytes(os.urandom(SIZE))
    (folder / "config.json").write_text("{}\n")
    return folder


@pytest.fixture
def first(weights: Path) -> Iterator[FlakyHub]:
    with FlakyHub({"acme/tiny": weights}) as hub:
        yield hub


@pytest.fixture
def second(weights: Path) -> Iterator[FlakyHub]:
    with FlakyHub({"acme/tiny": weights}) as hub:
        yield hub


def source(hub: FlakyHub) -> PullSource:
    return PullSource(hub.url, HuggingFace(hub.url, Transport(trusting(NetworkSettings(read_s=30)))), REF)


def pulled(folder: Path, *hubs: FlakyHub, policy: Policy = QUICK) -> tuple[Library, list[Event]]:
    told: list[Event] = []
    library = Library(folder / "library")
    pull([source(hub) for hub in hubs], library, policy, told.append)
    return library, told


def right(library: Library, weights: Path) -> bool:
    snapshot = library.require(REF)
    return all(library.path(file.digest).read_bytes() == (weights / file.path).read_bytes() for file in snapshot.files)


def refuses_after(seconds: float) -> Fault:
    """Wait a long time, then refuse."""

    later, no = answers_after(seconds), refuses(503, "down")
    return lambda request, full: no(request, later(request, full))


def test_two_routes_share_the_work(tmp_path: Path, weights: Path) -> None:
    with (
        FlakyHub({"acme/tiny": weights}, pace=1_500_000) as one,
        FlakyHub({"acme/tiny": weights}, pace=1_500_000) as two,
    ):
        library, _ = pulled(tmp_path, one, two)
        assert right(library, weights)
        assert one.sent(WEIGHTS) > 0
        assert two.sent(WEIGHTS) > 0
        assert one.sent(WEIGHTS) + two.sent(WEIGHTS) < 1.5 * SIZE


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(refuses(503, "down"), id="down"),
        pytest.param(refuses(404, "gone", "EntryNotFound"), id="without-the-file"),
        pytest.param(refuses(403, "expired"), id="expired"),
        pytest.param(hangs_up_after(1000), id="hangs-up"),
        pytest.param(sends_less_by(1), id="sends-less"),
        pytest.param(flips_a_byte_at(SIZE // 2), id="flips-a-byte"),
        pytest.param(knows_no_ranges, id="knows-no-ranges"),
    ],
)
def test_a_failing_route_is_abandoned_for_the_other(
    fault: Fault, tmp_path: Path, weights: Path, first: FlakyHub, second: FlakyHub
) -> None:
    first.fails(WEIGHTS, fault)
    library, _ = pulled(tmp_path, first, second)
    assert right(library, weights)


def test_a_stalled_route_is_abandoned_within_seconds(
    tmp_path: Path, weights: Path, first: FlakyHub, second: FlakyHub
) -> None:
    first.fails(WEIGHTS, answers_after(25.0))
    began = time.monotonic()
    library, _ = pulled(tmp_path, first, second)
    assert right(library, weights)
    assert time.monotonic() - began < 25  # no response of it was waited for


def test_a_route_with_an_invalid_listing_is_not_used(
    tmp_path: Path, weights: Path, first: FlakyHub, second: FlakyHub
) -> None:
    second.fails("/api/", says('"model.bin"', '"../model.bin"'))
    library, _ = pulled(tmp_path, first, second)
    assert right(library, weights)
    assert second.sent(WEIGHTS) == 0


@pytest.mark.slow
def test_a_hub_that_stops_sending_is_given_up(tmp_path: Path, weights: Path) -> None:
    with FlakyHub({"acme/tiny": weights}, pace=2_000_000) as hub:
        hub.fails(WEIGHTS, answers_after(1.5), times=8)
        hub.fails(WEIGHTS, refuses_after(1.5))
        with pytest.raises(HubError, match="503"):
            pulled(tmp_path, hub)


def test_a_route_that_sends_wrong_bytes_is_found(
    tmp_path: Path, weights: Path, first: FlakyHub, second: FlakyHub
) -> None:
    second.fails(WEIGHTS, flips_a_byte_at(SIZE - 10))
    library, told = pulled(tmp_path, first, second)
    assert right(library, weights)
    brought = sum(event.size for event in told if isinstance(event, Received))
    lied = any(isinstance(event, Retrying) and "digest" in event.reason for event in told)
    assert brought < 3 * SIZE
    assert lied == (brought > SIZE + 10_000)


def test_when_all_routes_agree_on_wrong_bytes_the_error_names_them(
    tmp_path: Path, weights: Path, first: FlakyHub, second: FlakyHub
) -> None:
    for hub in (first, second):
        hub.fails(WEIGHTS, flips_a_byte_at(5))
    with pytest.raises(IntegrityError) as wrong:
        pulled(tmp_path, first, second)
    expected = hashlib.sha256((weights / "model.bin").read_bytes()).hexdigest()
    assert "model.bin" in wrong.value.message
    assert expected in wrong.value.message
    assert first.url in wrong.value.message or second.url in wrong.value.message


def test_a_byte_flipped_once_by_the_only_route_is_downloaded_again(
    tmp_path: Path, weights: Path, first: FlakyHub
) -> None:
    honest: list[bool] = []

    def once(request: Request, full: Answer) -> Answer:
        if honest or not request.headers.get("range", "").startswith("bytes=0-"):
            return full
        honest.append(True)
        return flips_a_byte_at(5)(request, full)

    first.fails(WEIGHTS, once)
    library, told = pulled(tmp_path, first)
    assert right(library, weights)
    assert any(isinstance(event, Retrying) and "digest" in event.reason for event in told)


@pytest.mark.slow
def test_a_slow_route_does_not_delay_the_end(tmp_path: Path, weights: Path, second: FlakyHub) -> None:
    with FlakyHub({"acme/tiny": weights}, pace=50_000) as slow:
        began = time.monotonic()
        library, _ = pulled(tmp_path, slow, second)
        assert right(library, weights)
        # Its first parts alone would take a minute.
        assert time.monotonic() - began < 30


def test_a_route_with_other_bytes_under_the_same_name_is_not_used(
    tmp_path: Path, weights: Path, first: FlakyHub, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "model.bin").write_bytes(os.urandom(SIZE))
    with FlakyHub({"acme/tiny": other}) as twin:
        library = Library(tmp_path / "library")
        elsewhere = PullSource(twin.url, HuggingFace(twin.url, Transport(trusting())), REF)
        pull([source(first), elsewhere], library, QUICK, lambda _event: None)
        assert right(library, weights)
        assert twin.sent(WEIGHTS) == 0


def test_the_first_source_that_responds_decides_the_files(tmp_path: Path, weights: Path, second: FlakyHub) -> None:
    with FlakyHub({}) as empty:
        library, _ = pulled(tmp_path, empty, second)
    assert right(library, weights)


def test_a_hub_that_stays_down_ends_the_pull_with_its_error(tmp_path: Path, first: FlakyHub) -> None:
    first.fails(WEIGHTS, refuses(503, "down"))
    with pytest.raises(HubError, match="503"):
        pulled(tmp_path, first)


def test_the_rate_limit_applies_to_all_connections_together(tmp_path: Path, first: FlakyHub) -> None:
    began = time.monotonic()
    pulled(tmp_path, first, policy=Policy(connections=8, rate=12e6))
    assert time.monotonic() - began > 0.8 * SIZE / 12e6
