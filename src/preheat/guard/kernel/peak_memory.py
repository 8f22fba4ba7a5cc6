"""Peak memory: measure the maximum resident memory of an app and all its children."""

from __future__ import annotations

import threading
from types import TracebackType

from preheat.guard.kernel import process_tree


class Peak:
    """Sample the resident bytes of `pid` and its descendants from a thread, until `close` or the end of `with`.

    Pages that processes share are counted for each process. A peak between two samples is missed, unless a single
    process caused it: the kernel records the peak of each process.
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
        """Stop sampling; return the peak in bytes."""
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
    """Return a process's peak resident bytes (VmHWM of proc_pid_status(5)); 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
