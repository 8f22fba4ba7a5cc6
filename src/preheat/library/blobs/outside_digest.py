"""Outside digest: hash a file outside the library."""

import os
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from preheat.core.digest import Digest, hasher
from preheat.disk.file_hash import feed_all
from preheat.library.blobs.lease import lease


def digests_of(path: Path, algorithms: Collection[str], on_read: Callable[[int], None]) -> frozenset[Digest]:
    """Return the digests of a regular file; empty if it cannot be read or changes while being read.

    Follows symlinks. Reads the file once for all algorithms. Calls `on_read` with the number of bytes of each step.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return frozenset()
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return frozenset()
        hashers = {algorithm: hasher(algorithm, before.st_size) for algorithm in algorithms}
        with lease(descriptor) as is_alone:
            size = feed_all(descriptor, hashers.values(), on_read, is_alone)
        after = os.fstat(descriptor)
        if size != before.st_size or (after.st_mtime_ns, after.st_ctime_ns) != (before.st_mtime_ns, before.st_ctime_ns):
            return frozenset()
        return frozenset(Digest(algorithm, one.hexdigest()) for algorithm, one in hashers.items())
    except OSError:
        return frozenset()
    finally:
        os.close(descriptor)
