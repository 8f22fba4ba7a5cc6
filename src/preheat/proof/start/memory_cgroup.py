"""Memory cgroup: a cgroup for one start, to let the kernel count peak memory, page cache included."""

import contextlib
import os
import tempfile
from pathlib import Path

from preheat.guard.kernel.oom import memory_cgroup

_PEAKS = {1: "memory.max_usage_in_bytes", 2: "memory.peak"}
_CACHED = {1: "total_cache", 2: "file"}


class MemoryCgroup:
    """A cgroup below this process's own. If it cannot be created, `why` is the reason.

    Call `close` after the processes in the cgroup ended.
    """

    def __init__(self) -> None:
        self.why = ""
        self._folder: Path | None = None
        own, self._version = memory_cgroup("self")
        try:
            if not self._version:
                raise OSError(0, "no memory cgroup is mounted")
            folder = Path(tempfile.mkdtemp(prefix="preheat-", dir=own))
            self._folder = folder
            if not (folder / _PEAKS[self._version]).is_file():
                raise OSError(0, "the kernel does not record its peak")
        except OSError as error:
            self.why = f"no memory cgroup of its own: {(error.strerror or str(error)).lower()}"
            self.close()

    def take(self, pid: int) -> None:
        """Move a process into the cgroup; its later children start there."""
        if self._folder is None:
            return
        try:
            (self._folder / "cgroup.procs").write_text(f"{pid}\n", encoding="ascii")
        except OSError as error:
            self.why = f"no memory cgroup of its own: {(error.strerror or str(error)).lower()}"
            self.close()

    @property
    def peak(self) -> int | None:
        """Return the peak memory in bytes, page cache included, or None without a cgroup."""
        return None if self._folder is None else _number(self._folder / _PEAKS[self._version])

    @property
    def page_cache(self) -> int | None:
        """Return the bytes of page cache charged to the cgroup now."""
        if self._folder is None:
            return None
        try:
            lines = (self._folder / "memory.stat").read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) for line in lines if line.split()[0] == _CACHED[self._version]), None)

    def close(self) -> None:
        """Remove the cgroup."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                os.rmdir(self._folder)  # noqa: PTH106 - the kernel removes its files
            self._folder = None


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
