"""Every way in which a request can end: the event names the side that ended it and the reason, or there is none."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preheat.core.errors import HubError
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
from tests.flaky_hub import WEIGHTS, Fault, FlakyHub, answers_after, hangs_up_after, refuses
from tests.line import Line

REF = Ref.parse("acme/tiny")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a large file and a small one."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "model.bin").write_bytes(random.Random(7).randbytes(4_000_000))
    (folder / "config.json").write_text("{}\n")
    return folder


@pytest.fixture
def hub(weights: Path) -> Iterator[FlakyHub]:
    """A hub that has the model, at 2 MB/s per connection: a busy machine tells of the middle up to a second late."""
    with FlakyHub({"acme/tiny": weights}, pace=2_000_000) as hub:
        yield hub


def told(
    folder: Path,
    url: str,
    when_half: Callable[[], None] = lambda: None,
    *,
    second_retry: Callable[[], None] = lambda: None,
    read_s: float = 30.0,
) -> list[str]:
    """Pull over one connection; return the reasons of all retries. `when_half` is called once in the middle."""
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if isinstance(event, Retrying) and sum(isinstance(one, Retrying) for one in events) == 2:
            second_retry()
        received = sum(one.size for one in events if isinstance(one, Received))
        if isinstance(event, Received) and received - event.size < 1_000_000 <= received:
            when_half()

    policy = Policy(connections=1, patience=RetryPolicy(lasting_s=10.0, first_wait_s=0.05))
    hub = HuggingFace(url, Transport(trusting(NetworkSettings(read_s=read_s))))
    pull([PullSource(url, hub, REF)], Library(folder / "library"), policy, listen)
    return [event.reason for event in events if isinstance(event, Retrying)]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (hangs_up_after(100_000), "ended its response early"),
        (refuses(503), "the hub answered 503"),
        (refuses(429, Retry_After="0"), "the hub asked to slow down (429)"),
    ],
)
def test_a_response_ended_by_the_hub_is_reported_as_such(
    tmp_path: Path, hub: FlakyHub, fault: Fault, words: str
) -> None:
    hub.fails(WEIGHTS, fault, times=1)
    reasons = told(tmp_path, hub.url)
    assert len(reasons) == 1
    assert words in reasons[0]


def test_a_reset_connection_is_reported_as_reset(tmp_path: Path, hub: FlakyHub) -> None:
    with Line(hub.url) as line:
        reasons = told(tmp_path, line.url, line.hang_up)
    assert len(reasons) == 1
    assert reasons[0] in (f"{line.url} reset the connection", f"{line.url} ended its response early")


def test_a_refused_connection_is_reported_as_refused(tmp_path: Path, hub: FlakyHub) -> None:
    with Line(hub.url) as line:
        reasons = told(tmp_path, line.url, line.cut, second_retry=line.restore)
    assert f"{line.url} does not answer (connection refused)" in reasons[1]


def test_a_response_that_preheat_gives_up_is_reported_as_late(tmp_path: Path, hub: FlakyHub) -> None:
    hub.fails("resolve/.*config.json", answers_after(2.0), times=1)
    reasons = told(tmp_path, hub.url, read_s=0.8)
    assert len(reasons) == 1
    assert "does not answer in time" in reasons[0]


def test_a_read_that_ends_with_the_fetch_is_not_reported(tmp_path: Path, hub: FlakyHub) -> None:
    def fails_at_last(request: Request, full: Answer) -> Answer:
        return refuses(404, "gone", "EntryNotFound")(request, answers_after(0.7)(request, full))

    hub.fails("config.json", fails_at_last)
    events: list[Event] = []
    source = PullSource(hub.url, HuggingFace(hub.url, Transport(trusting(NetworkSettings()))), REF)
    with pytest.raises(HubError, match="config"):
        pull([source], Library(tmp_path / "library"), Policy(connections=4), events.append)
    assert any(isinstance(event, Received) for event in events)
    assert not [event for event in events if isinstance(event, Retrying)]
