"""Lock: one process at a time for one partial."""

from pathlib import Path

import filelock


class Lock:
    """A lock between processes that dies with its holder."""

    def __init__(self, path: Path) -> None:
        self._lock = filelock.FileLock(path, timeout=0, thread_local=False)

    def take(self) -> bool:
        """Take it if nobody has it; say whether it is ours now."""
        try:
            self._lock.acquire()
        except filelock.Timeout:
            return False
        return True

    def forget(self) -> None:
        """Remove the lock's file, once nobody can want what it guards any more; release it after."""
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def release(self) -> None:
        """Give it back."""
        self._lock.release()
