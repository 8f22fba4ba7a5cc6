"""Rate limit: at most so many bytes a second, over all connections together."""

import threading
import time


class RateLimit:
    """Hand out leave to have received bytes; who is too early waits. `rate` is bytes a second, 0 for any."""

    def __init__(self, rate: float = 0.0) -> None:
        self._rate = rate
        self._turn = threading.Lock()
        self._free_at = time.monotonic()

    def spend(self, size: int) -> None:
        """Account for `size` received bytes; return when their time has come."""
        if not self._rate:
            return
        with self._turn:
            now = time.monotonic()
            # Saved-up leave lasts a tenth of a second: enough to be smooth, too little for a burst.
            self._free_at = max(self._free_at, now - 0.1) + size / self._rate
            wait_s = self._free_at - now
        if wait_s > 0:
            time.sleep(wait_s)
