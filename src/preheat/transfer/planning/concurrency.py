"""Concurrency: the best number of connections, found by trying; pure."""

import math
from dataclasses import dataclass

from preheat.core.values.replace import replace

FEWEST = 4
# Few connections, or slow ones (bytes/s of one), become 4 times as many, others twice. Once the number that fills the
# line is known, only some more are tried.
_FEW, _SLOW, _BOLDLY, _GENTLY = 8, 0.75e6, 4, 1.15
_PAYS = 1.08  # an increase is kept if the rate grows by this factor
_NO_GAIN = 1.02  # fewer connections are tried if it grows by less than this factor
_IN_STEP = 0.9  # an increase is followed by another if the rate per connection stays above this share
_FELL = 0.85  # a count that was lowered is wrong if the rate falls below this share
_SPARE = 1.3  # connections kept, of those that fill the line at the rate that one had before
_REFUSED_PAUSES = 8  # after a refusal, the pause before more connections are tried is longer by this factor
HELD_BACK = 3e6  # bytes/s of one connection, below which a per-connection limit is likely


@dataclass(frozen=True, slots=True)
class Ramp:
    """The number of connections to use, `count`, and the state of the search for the best one.

    - While the rate grows in proportion to the number of connections, the count doubles; it is multiplied by 4 if
      there are few connections or if each is very slow.
    - If the rate grows, but not in proportion, the line is full: the count becomes the number of connections that fill
      it at the rate that each had before, and some more. If that lowers the rate after all, the search goes on. If the
      rate hardly grows, the count returns to `paid`, the last count that was worth it.
    - If more connections brought no gain at all, the count is halved, as long as that does not lower the rate. It does
      not become less than `needed`: that many have been seen to bring more than fewer did.
    - After that, the search has settled: more connections are tried only from time to time, and less and less often.

    `count` never exceeds `ceiling`.
    """

    count: int = 16
    ceiling: int = 256
    trying: str = "first"
    paid: int = 16
    paid_rate: float = 0.0
    needed: int = 0
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
            case "more" if rate >= (_NO_GAIN if self.needed else _PAYS) * self.paid_rate:
                if rate >= self.in_step:
                    # A short sample may be too high; what each connection brings has been measured before.
                    rate = min(rate, self.in_step / _IN_STEP)
                    known = replace(self, needed=self.count)
                    return replace(known, paid=self.count, paid_rate=rate)._settle() if prompt else known._more(rate)
                fills = rate * self.paid / self.paid_rate if self.paid_rate else float(self.count)
                count = min(self.count, math.ceil(_SPARE * fills))
                return replace(self, count=count, paid=count, paid_rate=rate, needed=int(fills), trying="check")
            case "check" if rate < _FELL * self.paid_rate and not prompt:
                return replace(self, needed=0)._more(rate)
            case "check":
                return replace(self, paid_rate=rate)._settle()
            case "more":
                back = replace(self, count=self.paid)
                # A small gain does not justify the increase, nor does it suggest that fewer would do.
                return back._fewer() if rate < _NO_GAIN * self.paid_rate else back._settle()
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
                usual = max(0.5 * self.paid_rate + 0.5 * rate, 1.0)
                return replace(self, rests=1)._more(usual, gently=self.needed > 0)

    @property
    def in_step(self) -> float:
        """The least rate, in bytes/s, that shows that an increase is worth another; infinite if none is being tried."""
        if self.trying != "more" or not self.paid_rate:
            return math.inf
        return _IN_STEP * self.paid_rate * self.count / self.paid

    def again(self) -> "Ramp":
        """Return the initial state for the next fetch from the same source."""
        return self if self.rests > 1 << 29 else Ramp(self.paid, self.ceiling, paid=self.paid)

    def at_most(self, count: int) -> "Ramp":
        """Settle on at most `count` connections, since the hub refused more than these. Try more only much later."""
        count = max(1, min(count, self.count))
        rests, pause = _REFUSED_PAUSES * self.pause, min(2 * self.pause, 128)
        return replace(
            self, count=count, paid=count, paid_rate=0.0, needed=0, trying="settled", rests=rests, pause=pause
        )

    def halved(self) -> "Ramp":
        """Halve the number of connections, and never increase it again, since the hub asked to slow down."""
        count = max(1, self.count // 2)
        return replace(self, count=count, paid=count, needed=0, ceiling=max(count, 1), trying="settled", rests=1 << 30)

    def _more(self, rate: float, *, gently: bool = False) -> "Ramp":
        known = replace(self, paid=self.count, paid_rate=rate)
        if self.count >= self.ceiling:
            return known._settle()
        boldly = (self.count <= _FEW and rate < HELD_BACK * self.count) or rate < _SLOW * self.count
        boldly &= not self.needed
        times = _GENTLY if gently else _BOLDLY if boldly else 2
        return replace(known, count=min(math.ceil(times * self.count), self.ceiling), trying="more")

    def _fewer(self) -> "Ramp":
        if self.count // 2 < max(FEWEST, self.needed):
            return self._settle()
        return replace(self, count=self.count // 2, trying="fewer")

    def _settle(self) -> "Ramp":
        return replace(self, trying="settled", rests=self.pause, pause=min(2 * self.pause, 128))
