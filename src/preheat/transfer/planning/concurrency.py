"""Concurrency: the best number of connections, found by trying; pure."""

from dataclasses import dataclass, replace

FEWEST = 4
_BOLDLY, _FEW, _BOLDLY_FROM_FEW = 4, 8, 12
_PAYS = 1.25  # times as much: then more connections were worth it
_IN_STEP = 0.8  # of what as many of the connections before would bring: then still more may be
HELD_BACK = 3e6  # bytes a second of one connection, below which it is most likely held back for being one


@dataclass(frozen=True, slots=True)
class Ramp:
    """The number of connections in use, `count`, and what is known about others.

    It doubles, or takes many times as many where each brings little, while each new one brings about as much as those
    before: then lines are held back one by one. Where more bring a little more it stays, where not it goes back to the
    last count that paid. It tries fewer where fewer bring as much; and, settled, tries more again from time to time,
    later each time, for lines change. `ceiling` is never passed.
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
        """Begin with `first`, below a ceiling."""
        count = min(first, ceiling)
        return cls(count=count, paid=count, ceiling=ceiling)

    def at_least(self, first: int) -> "Ramp":
        """Begin with more, if nothing has been tried yet."""
        if self.trying != "first" or self.count >= first:
            return self
        return Ramp.of(self.ceiling, first)

    def step(self, rate: float, *, prompt: bool = False) -> "Ramp":
        """Take in the rate that `count` connections brought since the last step, and decide on the next count.

        `prompt` says that most bytes waited here to be read: more connections would only wait beside them, unless they
        are held back so much that this machine was merely late.
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
                # A little more is no reason to stay, but it is none to think that fewer would do.
                return back._fewer() if rate < 1.02 * self.paid_rate else back._settle()
            case "fewer" if rate >= 0.95 * self.paid_rate:
                return replace(self, paid=self.count, paid_rate=max(rate, self.paid_rate))._fewer()
            case "fewer":
                return replace(self, count=self.paid)._settle()
            case _ if self.rests > 1:
                # Settled: the line's own drift is followed slowly, so that a try is measured against today.
                return replace(self, rests=self.rests - 1, paid_rate=0.5 * self.paid_rate + 0.5 * rate)
            case _ if prompt:
                return replace(self, paid_rate=rate)._settle()
            case _:
                return replace(self, rests=1)._more(max(rate, 1.0))

    def again(self) -> "Ramp":
        """Begin anew with what was found out, for another transfer over the same line."""
        return self if self.rests > 1 << 29 else Ramp(self.paid, self.ceiling, paid=self.paid)

    def at_most(self, count: int) -> "Ramp":
        """Use no more than `count` from now on: the hub refused more while it served as many."""
        count = max(1, min(count, self.count))
        return replace(self, count=count, paid=count, ceiling=count, trying="settled", rests=1 << 30)

    def halved(self) -> "Ramp":
        """Use half as many from now on: the hub asked for less."""
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
