"""Concurrency: the best number of connections, found by trying; pure."""

from dataclasses import dataclass, replace

FEWEST = 4
_BOLDLY, _FEW, _BOLDLY_FROM_FEW = 4, 8, 12
_PAYS = 1.25  # an increase is kept if the rate grows by this factor
_IN_STEP = 0.8  # and is followed by another if the rate per connection stays above this share
_REFUSED_PAUSES = 8  # after a refusal, the pause before more connections are tried is so many times longer
HELD_BACK = 3e6  # bytes/s of one connection, below which a per-connection limit is likely


@dataclass(frozen=True, slots=True)
class Ramp:
    """The number of connections to use, `count`, and the state of the search for the best one.

    - While the rate grows in proportion to the number of connections, the count doubles. If each connection is slow,
      the count is multiplied by 4 or 12 instead.
    - If the rate grows by a quarter or more, but not in proportion, the count stays. If it grows by less, the count
      returns to `paid`, the last count that was worth it.
    - If more connections brought no gain at all, the count is halved, as long as that does not lower the rate.
    - After that, the search has settled: more connections are tried only from time to time, and less and less often.

    `count` never exceeds `ceiling`.
    """

    count: int = 16
    ceiling: int = 256
    trying: str = "first"
    paid: int = 16
    paid_rate: float = 0.0
    rests: int = 0
    pause: int = 8

    @classmethod
    def of(cls, ceiling: int, first: int = 16) -> "Ramp":
        """Return a ramp that starts with `first` connections, or `ceiling` if that is lower."""
        count = min(first, ceiling)
        return cls(count=count, paid=count, ceiling=ceiling)

    def at_least(self, first: int) -> "Ramp":
        """Return this ramp; if nothing has been measured yet, one that starts with at least `first` connections."""
        if self.trying != "first" or self.count >= first:
            return self
        return Ramp.of(self.ceiling, first)

    def step(self, rate: float, *, prompt: bool = False) -> "Ramp":
        """Return the next state, given the `rate` in bytes/s of `count` connections.

        `prompt`: most bytes were already in local buffers when read. Then this machine is the bottleneck and more
        connections do not help, unless each connection is below HELD_BACK.
        """
        prompt = prompt and rate >= HELD_BACK * self.count
        match self.trying:
            case "first" if prompt and self.count > FEWEST:
                return replace(self, paid_rate=rate, count=FEWEST, trying="fewer")
            case "first":
                return self._more(rate)
            case "more" if rate >= _PAYS * self.paid_rate:
                in_step = rate * self.paid >= _IN_STEP * self.count * self.paid_rate
                known = replace(self, paid=self.count, paid_rate=rate)
                return known._more(rate) if in_step and not prompt else known._settle()
            case "more":
                back = replace(self, count=self.paid)
                # A small gain does not justify the increase, nor does it suggest that fewer would do.
                return back._fewer() if rate < 1.02 * self.paid_rate else back._settle()
            case "fewer" if rate >= 0.95 * self.paid_rate:
                return replace(self, paid=self.count, paid_rate=max(rate, self.paid_rate))._fewer()
            case "fewer":
                return replace(self, count=self.paid)._settle()
            case _ if self.rests > 1:
                # Settled: average the rate, so that the next trial is compared with current conditions.
                return replace(self, rests=self.rests - 1, paid_rate=0.5 * self.paid_rate + 0.5 * rate)
            case _ if prompt:
                return replace(self, paid_rate=rate)._settle()
            case _:
                return replace(self, rests=1)._more(max(rate, 1.0))

    def again(self) -> "Ramp":
        """Return the initial state for the next fetch from the same source."""
        return self if self.rests > 1 << 29 else Ramp(self.paid, self.ceiling, paid=self.paid)

    def at_most(self, count: int) -> "Ramp":
        """Settle on at most `count` connections, since the hub refused more than these. Try more only much later."""
        count = max(1, min(count, self.count))
        rests, pause = _REFUSED_PAUSES * self.pause, min(2 * self.pause, 128)
        return replace(self, count=count, paid=count, paid_rate=0.0, trying="settled", rests=rests, pause=pause)

    def halved(self) -> "Ramp":
        """Halve the number of connections, and never increase it again, since the hub asked to slow down."""
        count = max(1, self.count // 2)
        return replace(self, count=count, paid=count, ceiling=max(count, 1), trying="settled", rests=1 << 30)

    def _more(self, rate: float) -> "Ramp":
        boldly = _BOLDLY_FROM_FEW if self.trying == "first" and self.count < _FEW else _BOLDLY
        times = boldly if rate < HELD_BACK * self.count else 2
        known = replace(self, paid=self.count, paid_rate=rate)
        if self.count >= self.ceiling:
            return known._settle()
        return replace(known, count=min(times * self.count, self.ceiling), trying="more")

    def _fewer(self) -> "Ramp":
        if self.count // 2 < FEWEST:
            return self._settle()
        return replace(self, count=self.count // 2, trying="fewer")

    def _settle(self) -> "Ramp":
        return replace(self, trying="settled", rests=self.pause, pause=min(2 * self.pause, 128))
