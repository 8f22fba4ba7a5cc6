"""Progress: bytes done, rate, and estimated time left."""

from collections import deque

_WINDOW_S = 5.0


class DownloadRate:
    """Bytes over time, with the rate of the last five seconds. The caller passes the current time, in seconds."""

    def __init__(self, total: int, now: float) -> None:
        self.total = total
        self.done = self.received = 0
        self._added_at = now
        self._marks: deque[tuple[float, int]] = deque([(now, 0)])

    def add(self, size: int, now: float) -> None:
        """Add `size` received bytes. `done` stays within the total: what is downloaded again is not progress."""
        self.received += size
        self._added_at = now
        self.done = min(self.received, self.total) if self.total else self.received
        if now - self._marks[-1][0] >= 0.1:
            self._marks.append((now, self.received))
            while len(self._marks) > 2 and now - self._marks[1][0] > _WINDOW_S:
                self._marks.popleft()

    def idle_s(self, now: float) -> float:
        """Return for how many seconds nothing has arrived."""
        return now - self._added_at

    @property
    def is_complete(self) -> bool:
        """Return whether all bytes are done."""
        return bool(self.total) and self.received >= self.total

    def rate(self, now: float) -> float:
        """Return the rate in bytes per second."""
        then, received = self._marks[0]
        return (self.received - received) / (now - then) if now > then else 0.0

    def left_s(self, now: float) -> float | None:
        """Return the estimated seconds left; None if the rate is 0."""
        rate = self.rate(now)
        return max(self.total - self.done, 0) / rate if rate > 0 else None
