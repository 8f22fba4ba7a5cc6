"""Throughput: the steady rate of a route at its current number of connections."""

from preheat.transfer.route import Measured, Route

_TICK_S, _SETTLED_TICK_S = 0.1, 0.3  # s; when the number has settled, there is time for longer samples
_TICK_TRIPS = 2  # a shorter sample would see the bursts of TCP slow start
_SETTLING_S, _ROUND_TRIPS, _SETTLING_AT_MOST_S = 0.05, 5, 1.5  # after a change of the number, before the first sample
_AGREE = 1.2  # two samples agree if they differ by less than this factor
_LONGEST_S, _LONGEST_TRIPS = 1.5, 12  # the wait for two samples that agree
_AT_WORK = 0.8  # the share of the connections that must be busy
_MOST = 0.8  # the share of bytes from local buffers at which this machine is the bottleneck
# Each response counts as at least this many bytes: with small files, requests take most of the time.
_ANSWER_WORTH = 64 << 10
_BUSY = 0.85  # cores: Python code runs on one at a time


class ThroughputGauge:
    """Measure the rate of one route, only while its connections are busy."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._count = 0
        self._latest = 0.0
        self._before = 0.0
        self._since = self._settled_at = 0.0
        self._cpu_s = self._cpu_before_s = 0.0
        self._received = self._prompt = self._answers = 0
        self._seen = 0.0, 0

    def read(self, now: float, *, loaded: bool, cpu_s: float = 0.0) -> Measured | None:
        """Return the rate of all connections of the route together; None until that rate is steady.

        Sampling starts some round trips after a change of the number of connections, to skip TCP slow start. The rate
        is steady when two samples in a row agree. The latest sample is returned after 3 s, or 1.5 s if the number was
        increased, even if the rate is not steady; and at any time if its rate shows already that the increase was in
        proportion.

        `loaded`: there is enough work for all connections. `cpu_s`: the CPU time of this process so far, in seconds.
        """
        route, self._cpu_s = self._route, cpu_s
        increased, changed = route.ramp.trying == "more", self._count != route.ramp.count
        if changed or not loaded or not route.round_trip_s:
            if changed or not increased:
                longest_s = _LONGEST_S if increased else 2 * _LONGEST_S
                self._latest = now + max(longest_s, _LONGEST_TRIPS * route.trip_s)
            self._count, self._before = route.ramp.count, 0.0
            self._settled_at = now + min(max(_SETTLING_S, _ROUND_TRIPS * route.trip_s), _SETTLING_AT_MOST_S)
            self._begin(now)
            self._seen = now, route.received
        elif (rate := self._grown(now)) >= route.ramp.in_step:
            return Measured(rate, prompt=False)
        elif now < self._settled_at or self._is_crowded or self._is_idle(now):
            self._begin(now)
        elif now - self._since >= self._tick_s:
            size = route.received - self._received
            asked = _ANSWER_WORTH * (route.answers - self._answers)
            prompt = route.prompt - self._prompt > _MOST * size or (asked > size and self._is_busy(now))
            rate = max(size, asked) / (now - self._since)
            before, self._before = self._before, rate
            self._begin(now)
            if before and before / _AGREE <= rate <= _AGREE * before:
                return Measured((before + rate) / 2, prompt)
            if now >= self._latest:
                return Measured(rate, prompt)
        return None

    @property
    def _tick_s(self) -> float:
        least_s = _SETTLED_TICK_S if self._route.ramp.trying == "settled" else _TICK_S
        return max(least_s, _TICK_TRIPS * self._route.trip_s)

    def _grown(self, now: float) -> float:
        """Return the rate of the last tick by its bytes alone, or 0 within a tick."""
        began, received = self._seen
        if now - began < self._tick_s:
            return 0.0
        self._seen = now, self._route.received
        return (self._route.received - received) / (now - began)

    def _is_idle(self, now: float) -> bool:
        """Whether many connections have nothing to do; those of an increase are waited for only for some time."""
        waits = self._route.ramp.trying != "more" or now < self._latest
        return waits and self._route.active < _AT_WORK * self._count

    @property
    def _is_crowded(self) -> bool:
        """Whether more connections than allowed still finish their parts after a decrease, and share the rate."""
        return self._route.active > max(self._count / _AT_WORK, self._count + 1)

    def _is_busy(self, now: float) -> bool:
        """Whether the hub is near and this process is out of CPU time, so that more connections would slow it down."""
        return not self._route.far and self._cpu_s - self._cpu_before_s >= _BUSY * (now - self._since)

    def _begin(self, now: float) -> None:
        route, self._cpu_before_s = self._route, self._cpu_s
        self._since, self._received, self._prompt, self._answers = now, route.received, route.prompt, route.answers
