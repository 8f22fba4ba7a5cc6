"""Throughput: the steady rate of a route at its current number of connections."""

from preheat.transfer.route import Measured, Route

_TICK_S = 0.12
_SETTLING_S, _ROUND_TRIPS, _SETTLING_AT_MOST_S = 0.1, 15, 1.5
_GREW = 1.2
_LONGEST_S = 1.5
_AT_WORK, _MOST = 0.8, 0.8
_ANSWER_WORTH = 64 << 10  # where files are small, answers are what takes the time


class ThroughputGauge:
    """Measures one route while its connections are at work, and at no other time."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._count = 0
        self._latest = 0.0
        self._before = 0.0
        self._since = 0.0
        self._received = self._prompt = self._answers = 0

    def read(self, now: float, *, loaded: bool) -> Measured | None:
        """Say what the connections bring; None while that cannot be said yet.

        It can be said when two looks in a row agree, some round trips after the count was changed: that long it takes
        TCP until a new connection brings what it can. More connections than before that never come to bring anything
        steady are measured as they are, in the end.
        """
        route = self._route
        if self._count != route.ramp.count:
            self._latest = now + _LONGEST_S if route.ramp.trying == "more" else float("inf")
        if not loaded or not route.round_trip_s or self._count != route.ramp.count:
            self._count, self._before = route.ramp.count, 0.0
            self._begin(now + min(max(_SETTLING_S, _ROUND_TRIPS * route.round_trip_s), _SETTLING_AT_MOST_S))
        elif self._since > now or (route.active < _AT_WORK * self._count and now < self._latest):
            self._begin(max(self._since, now))
        elif now - self._since >= _TICK_S:
            size = route.received - self._received
            prompt = route.prompt - self._prompt > _MOST * size
            rate = (size + _ANSWER_WORTH * (route.answers - self._answers)) / (now - self._since)
            before, self._before = self._before, rate
            self._begin(now)
            if before and rate <= _GREW * before:
                return Measured((before + rate) / 2, prompt)
            if now >= self._latest:
                return Measured(rate, prompt)
        return None

    def _begin(self, since: float) -> None:
        route = self._route
        self._since, self._received, self._prompt, self._answers = since, route.received, route.prompt, route.answers
