"""Timeline: what one start of an app took."""

from dataclasses import dataclass

COLD, PRELOADED = "cold", "preloaded"


@dataclass(frozen=True, slots=True)
class Timeline:
    """One start under one condition; seconds since the process was started, bytes as counted.

    `outbound` is None where network calls could not be counted, and `uncounted` says why. `first_s` is None when the
    recipe names no first use. `pull_s` is what the pull before it took; None when there was none.
    """

    condition: str
    ready_s: float
    first_s: float | None
    peak_rss: int
    fetched: int
    outbound: int | None
    lookups: int
    places: tuple[str, ...] = ()
    uncounted: str = ""
    pull_s: float | None = None
