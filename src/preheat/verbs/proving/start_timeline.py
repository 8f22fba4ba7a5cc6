"""Start timeline: put together what a timed start, its observer and its witness have seen."""

from preheat.core.values.replace import replace
from preheat.guard.witness.connections import Witness
from preheat.proof.start.import_times import sum_up
from preheat.proof.start.observer import ResourceUse
from preheat.proof.start.timeline import Memory, Timeline, Traffic, WeightReads
from preheat.proof.start.trial import TimedStart
from preheat.verbs.run import network_seen


def timeline_of(condition: str, started: TimedStart, witness: Witness | str, fetched: int) -> Timeline:
    """Return the times and resources of a start; `witness` is the reason if its network calls were not counted."""
    seen = started.seen or ResourceUse()
    imports = sum_up(list(started.notes), started.began, started.ready_s)
    return Timeline(
        condition=condition,
        ready_s=started.ready_s,
        first_s=started.first_s,
        # The port is polled, so the listening time may be seen late: the app listened before it was ready.
        listening_s=None if seen.listening_s is None else min(seen.listening_s, started.ready_s),
        imports=imports,
        reading=WeightReads(major_faults=seen.major_faults),
        traffic=_traffic(
            witness, Traffic(fetched, seen.disk_read, seen.disk_written), started.own_ports, started.observed_s
        ),
        memory=Memory(
            seen.rss, seen.pss or None, started.cgroup_peak, started.page_cache, seen.video, started.no_cgroup
        ),
    )


def _traffic(witness: Witness | str, traffic: Traffic, own: frozenset[int], observed_s: float) -> Traffic:
    if isinstance(witness, str):
        return replace(traffic, uncounted=witness)
    seen = network_seen(witness, own)
    traffic = replace(traffic, observed_s=round(observed_s, 1), places=seen.places)
    if seen.blind_spots:
        return replace(traffic, uncounted="; ".join(seen.blind_spots))
    return replace(traffic, outbound=seen.outbound, lookups=seen.lookups)
