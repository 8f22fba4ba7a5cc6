"""Rate limit: a maximum of bytes per second over all connections together."""

import threading
import time


class RateLimit:
    """Delay threads that receive more than `rate` bytes/s together; 0: unlimited. Thread-safe."""

    def __init__(self, rate: float = 0.0) -> None:
        self._rate = rate
        self._turn = threading.Lock()
        self._free_at = time.monotonic()

    def spend(self, size: int) -> None:
        """Count `size` received bytes; sleep while the rate is exceeded."""
        if not self._rate:
            return
        with self._turn:
            now = time.monotonic()
            # Allow at most 100 ms of unused budget, to avoid bursts.
            self._free_at = max(self._free_at, now - 0.1) + size / self._rate
            wait_s = self._free_at - now
        if wait_s > 0:
            time.sleep(wait_s)
