"""Throughput: the steady rate of a route at its current number of connections."""

from preheat.transfer.route import Measured, Route

_TICK_S = 0.12
_SETTLING_S, _ROUND_TRIPS, _SETTLING_AT_MOST_S = 0.1, 15, 1.5
_GREW = 1.2
_LONGEST_S = 1.5
_AT_WORK, _MOST = 0.8, 0.8
_ANSWER_WORTH = 64 << 10  # each response counts as this many bytes: with small files, requests take most of the time
_BUSY = 0.85  # cores: Python code runs on one at a time


class ThroughputGauge:
    """Measure the rate of one route, only while its connections are busy."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._count = 0
        self._latest = 0.0
        self._before = 0.0
        self._since = 0.0
        self._cpu_s = self._cpu_before_s = 0.0
        self._received = self._prompt = self._answers = 0

    def read(self, now: float, *, loaded: bool, cpu_s: float = 0.0) -> Measured | None:
        """Return the rate of all connections of the route together; None until that rate is steady.

        Sampling starts some round trips after a change of the number of connections, to skip TCP slow start. The rate
        is steady when two samples in a row agree. If the number was increased, the latest sample is returned after
        1.5 s, even if the rate is not steady.

        `loaded`: there is enough work for all connections. `cpu_s`: the CPU time of this process so far, in seconds.
        """
        route, self._cpu_s = self._route, cpu_s
        if self._count != route.ramp.count:
            self._latest = now + _LONGEST_S if route.ramp.trying == "more" else float("inf")
        if not loaded or not route.round_trip_s or self._count != route.ramp.count:
            self._count, self._before = route.ramp.count, 0.0
            self._begin(now + min(max(_SETTLING_S, _ROUND_TRIPS * route.round_trip_s), _SETTLING_AT_MOST_S))
        elif self._since > now or (route.active < _AT_WORK * self._count and now < self._latest) or self._is_crowded:
            self._begin(max(self._since, now))
        elif now - self._since >= _TICK_S:
            size = route.received - self._received
            asked = _ANSWER_WORTH * (route.answers - self._answers)
            prompt = route.prompt - self._prompt > _MOST * size or (asked > size and self._is_busy(now))
            rate = (size + asked) / (now - self._since)
            before, self._before = self._before, rate
            self._begin(now)
            if before and rate <= _GREW * before:
                return Measured((before + rate) / 2, prompt)
            if now >= self._latest:
                return Measured(rate, prompt)
        return None

    @property
    def _is_crowded(self) -> bool:
        """Whether more connections than allowed still finish their parts after a decrease, and share the rate."""
        return self._route.active > max(self._count / _AT_WORK, self._count + 1)

    def _is_busy(self, now: float) -> bool:
        """Whether the hub is near and this process is out of CPU time, so that more connections would slow it down."""
        return not self._route.far and self._cpu_s - self._cpu_before_s >= _BUSY * (now - self._since)

    def _begin(self, since: float) -> None:
        route, self._cpu_before_s = self._route, self._cpu_s
        self._since, self._received, self._prompt, self._answers = since, route.received, route.prompt, route.answers
