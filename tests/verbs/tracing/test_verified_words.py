"""A recipe says how it was verified, and nothing better than what was seen."""

from preheat.core.events import NetworkSeen
from preheat.verbs.tracing.replaying.replay import verified_words
from preheat.verbs.tracing.replaying.replayed_start import Replayed

SEEN = NetworkSeen(0, 0, (), ())


def test_a_failed_replay_begins_with_no() -> None:
    assert verified_words(Replayed("it was never ready", network=SEEN), "without network") == "no: it was never ready"


def test_attempts_that_were_not_counted_are_not_zero() -> None:
    assert verified_words(Replayed(network=SEEN), "without network").endswith("without network: 0 outbound attempts")
    assert verified_words(Replayed(), "without network").endswith("outbound attempts were not counted")


def test_hosts_that_were_refused_are_named() -> None:
    words = verified_words(Replayed(network=SEEN, refused=("a.example", "b.example")), "without network")
    assert words.endswith("0 outbound attempts; refused without harm: requests to a.example, b.example")
