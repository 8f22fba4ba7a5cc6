"""Pull rate: measure how fast the hubs of a plan respond, and discard the bytes."""

import time

from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.hubs.hub import Hub
from preheat.proof.limits.interruptible import sum_in_threads
from preheat.verbs.pull_plan import PullPlan

_CONNECTIONS = 8
_MEASURED_S = 1.5
_MOST = 64 << 20


def with_rates(plan: PullPlan) -> PullPlan:
    """Return the plan with the download rate of each hub, measured for 1.5 s with 8 connections.

    A pull may use more connections and be faster. Raise AccessDenied if the files are gated for this token.
    """
    largest: dict[str, tuple[Hub, Snapshot, File]] = {}
    for need in plan.needs:
        if need.to_fetch and need.source is not None and need.listed is not None:
            file, name = max(need.to_fetch, key=lambda file: file.size), need.source.name
            if name not in largest or largest[name][2].size < file.size:
                largest[name] = need.source.hub, need.listed, file
    rates = {name: _rate(*of) for name, of in largest.items()}
    needs = [
        replace(need, rate=rates[need.source.name]) if need.to_fetch and need.source is not None else need
        for need in plan.needs
    ]
    return replace(plan, needs=tuple(needs))


def _rate(hub: Hub, snapshot: Snapshot, file: File) -> float:
    """Download parts of a file in parallel for 1.5 s and discard them; return bytes per second."""
    size = min(file.size, _MOST)
    step = max(size // _CONNECTIONS, 1)
    began = time.monotonic()

    def read(start: int) -> int:
        reader = hub.open(snapshot, file, start, min(start + step, size))
        buffer, count = memoryview(bytearray(64 << 10)), 0
        try:
            while time.monotonic() - began < _MEASURED_S and (more := reader.readinto(buffer)):
                count += more
        finally:
            reader.close()
        return count

    received = sum_in_threads(read, range(0, size, step), _CONNECTIONS)
    return received / max(time.monotonic() - began, 0.001)
