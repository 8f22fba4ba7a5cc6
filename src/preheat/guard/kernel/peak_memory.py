"""Peak memory: the most memory that an app and all its children had at once."""

from __future__ import annotations

import threading
from types import TracebackType

from preheat.guard.kernel import process_tree


class Peak:
    """Look ten times a second, from a thread, at the resident bytes of `pid` and its family; `with` ends it.

    Pages shared between processes count once for each. A peak between two looks is missed, unless one process alone
    made it: the kernel keeps each one's own.
    """

    def __init__(self, pid: int, every_s: float = 0.1) -> None:
        self.peak_rss = 0
        self._pid = pid
        self._every_s = every_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak", daemon=True)
        self._thread.start()

    def __enter__(self) -> Peak:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> int:
        """Look no more; return the peak in bytes."""
        self._closed.set()
        self._thread.join()
        return self.peak_rss

    def _watch(self) -> None:
        while True:
            family = process_tree.family(self._pid)
            own_peaks = (high_water(member.pid) for member in family)
            self.peak_rss = max(self.peak_rss, sum(member.resident for member in family), *own_peaks, 0)
            if self._closed.wait(self._every_s):
                return


def high_water(pid: int) -> int:
    """Read the most that one process ever had: VmHWM of proc_pid_status(5), 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
