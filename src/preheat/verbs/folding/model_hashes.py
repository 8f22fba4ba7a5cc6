"""Model hashes: hash files on several cores, each once, and remember the hashes."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import SHA256, hasher
from preheat.disk.file_hash import feed_directly
from preheat.disk.regular_file import why
from preheat.library.blobs.lease import is_open_for_writing, lease
from preheat.verbs.folding.hash_memory import HashMemory
from preheat.verbs.folding.model_files import ModelFile

_THREADS = min(8, (os.cpu_count() or 1) + 2)  # some of them wait for the disk
_SAVE_EVERY_S = 10.0
_GLANCE_S = 0.2  # a wait without a timeout may miss a signal
OPEN_FOR_WRITING = "a program has it open for writing"
CHANGED = "it changed while it was read"
OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class ModelHash:
    """The sha256 of a file, as hexadecimal digits; or `trouble`, why there is none.

    `look`: the stat result for which it is certain, since a program that changes the file changes its ctime; None if
    another change of the file might not be seen.
    """

    sha256: str
    look: os.stat_result | None = None
    trouble: str = ""

    def is_certain(self, now: os.stat_result) -> bool:
        """Return whether a file with the stat result `now` certainly has the bytes that were hashed."""
        return self.look is not None and content_look(now) == content_look(self.look)


class _Stopped(Exception):
    """The hashing was interrupted."""


def unknown_files(files: Sequence[ModelFile], memory: HashMemory) -> list[ModelFile]:
    """Return the files that must be read, one for each inode."""
    return list({file.inode: file for file in files if memory.find(file.look) is None}.values())


def hash_files(
    files: Sequence[ModelFile], memory: HashMemory, on_read: Callable[[int], None]
) -> Mapping[tuple[int, int], ModelHash]:
    """Return the hash of each inode, from `memory` or by reading the file; `memory` is saved, also after an error."""
    found = {}
    for file in files:
        if (known := memory.find(file.look)) is not None:
            sha256, certain = known
            found[file.inode] = ModelHash(sha256, file.look if certain else None)
    stopped = threading.Event()

    def step(size: int) -> None:
        if stopped.is_set():
            raise _Stopped
        on_read(size)

    saved_at = time.monotonic()
    to_read = unknown_files(files, memory)
    # The largest first: otherwise one of them may be read alone at the end.
    to_read.sort(key=lambda file: -file.size)
    with ThreadPoolExecutor(_THREADS) as pool:
        jobs = [(file, pool.submit(hash_file, file.path, memory, step)) for file in to_read]
        try:
            for file, job in jobs:
                while not wait([job], timeout=_GLANCE_S).done:
                    pass
                found[file.inode] = job.result()
                if time.monotonic() - saved_at > _SAVE_EVERY_S:
                    memory.save()
                    saved_at = time.monotonic()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            memory.save()
    return found


def hash_file(path: Path, memory: HashMemory, on_read: Callable[[int], None]) -> ModelHash:
    """Read a file and return its hash. Calls `on_read` with the bytes of each step."""
    began_ns = time.time_ns()
    try:
        descriptor = os.open(path, OPEN)
    except OSError as error:
        return ModelHash("", trouble=f"it cannot be read: {why(error)}")
    try:
        if is_open_for_writing(descriptor):
            return ModelHash("", trouble=OPEN_FOR_WRITING)
        before = os.fstat(descriptor)
        digest = hasher(SHA256, before.st_size)
        with lease(descriptor) as is_alone:
            size = feed_directly(descriptor, (digest,), on_read, is_alone)
        after = os.fstat(descriptor)
    except OSError as error:
        return ModelHash("", trouble=f"it cannot be read: {why(error)}")
    finally:
        os.close(descriptor)
    if size != before.st_size or content_look(after) != content_look(before):
        return ModelHash("", trouble=CHANGED)
    noted = memory.note(after, digest.hexdigest(), began_ns)
    return ModelHash(digest.hexdigest(), after if noted else None)


def content_look(look: os.stat_result) -> tuple[int, int, int, int, int]:
    """Return the part of a stat result that changes with each write, rename or link."""
    return look.st_dev, look.st_ino, look.st_size, look.st_mtime_ns, look.st_ctime_ns
