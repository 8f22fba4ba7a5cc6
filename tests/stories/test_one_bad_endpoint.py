"""One bad endpoint of several: whatever it responds, the next one is tried, and the pull succeeds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.core.errors import HubError, IntegrityError
from preheat.core.ref import Ref
from preheat.hubs.huggingface import HuggingFace
from preheat.hubs.modelscope import ModelScope
from preheat.library.library import Library
from preheat.net.http import NetworkSettings, Transport
from preheat.net.retry import RetryPolicy
from preheat.transfer.fetch import Policy
from preheat.verbs.pull import pull
from preheat.verbs.pull_sources import FileSelection, PullSource, resolve
from tests.authority import trusting
from tests.command import Preheat
from tests.flaky_hub import WEIGHTS, FlakyHub
from tests.hostile import FAULTS, HOSTILE, answering

REF = Ref.parse("hf:acme/tiny")
QUICK = RetryPolicy(attempts=2, first_wait_s=0.01, longest_wait_s=0.02, lasting_s=0.1)


@pytest.fixture
def transport() -> Iterator[Transport]:
    """Return a transport with short timeouts."""
    transport = Transport(trusting(NetworkSettings(connect_s=2, read_s=2, document_s=2, largest_document=4 << 20)))
    yield transport
    transport.close()


def source(url: str, transport: Transport) -> PullSource:
    return PullSource(url, HuggingFace(url, transport), REF)


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_next_endpoint_is_tried(kind: str, transport: Transport, hub: FlakyHub, tmp_path: Path) -> None:
    with answering(HOSTILE[kind]) as bad:
        sources = [source(bad, transport), source(hub.url, transport)]
        told = pull(sources, Library(tmp_path / "l"), Policy(4), lambda _event: None, FileSelection(("*.json",)))
        assert told.fetched > 0


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize(("make", "name"), [(HuggingFace, "hf:acme/tiny"), (ModelScope, "ms:acme/tiny")])
def test_a_bad_endpoint_alone_ends_with_a_hub_error(
    kind: str, make: type[HuggingFace | ModelScope], name: str, transport: Transport
) -> None:
    with answering(HOSTILE[kind]) as bad:
        alone = [PullSource(bad, make(bad, transport), Ref.parse(name))]
        with pytest.raises((HubError, IntegrityError)):
            resolve(alone, lambda _event: None, QUICK)


@pytest.mark.parametrize("kind", ["a redirect to an invalid port", "a link to a file", "no HTTP"])
def test_the_command_reports_it_without_a_traceback(kind: str, preheat: Preheat, hub: FlakyHub) -> None:
    with answering(HOSTILE[kind]) as bad:
        words = ("pull", "acme/tiny", "--files", "*.json", "--json", "--endpoint", f"hf={bad}")
        told = preheat(*words, "--endpoint", f"hf={hub.url}")
        assert "Traceback" not in told.err
        assert told.status == 0, told.out + told.err


@pytest.fixture
def twin(model: Path) -> Iterator[FlakyHub]:
    """Another hub with the same files."""
    with FlakyHub({"acme/tiny": model}) as twin:
        yield twin


@pytest.mark.parametrize("kind", FAULTS)
def test_a_source_with_wrong_file_responses_is_replaced_by_the_next(
    kind: str, transport: Transport, hub: FlakyHub, twin: FlakyHub, tmp_path: Path
) -> None:
    hub.fails(WEIGHTS, FAULTS[kind])
    sources = [source(hub.url, transport), source(twin.url, transport)]
    told = pull(sources, Library(tmp_path / "l"), Policy(4), lambda _event: None)
    assert told.fetched > 0
