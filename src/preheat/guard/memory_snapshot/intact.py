"""Intact: check that a dump's files are unchanged since it was written, and that no other user can reach them."""

from __future__ import annotations

import os
import stat
import threading
from typing import Any, Callable, Dict, Iterable, List

from preheat.guard.kernel.descriptors import open_regular

# The size of a file, then the SHA-256 of each piece: large files are verified by several threads.
Parts = Dict[str, List[Any]]
Check = Callable[[Callable[[], bool]], str]

PIECE = 4 << 20
_BUFFER = 1 << 20
_THREADS = 4


class Unusable(Exception):
    """A memory snapshot must not be restored; the message is the reason."""


def describe_part(path: str) -> List[Any]:
    """Return the size of a file and the SHA-256 of its pieces; make it private, and durable."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digests = [_sha256(file.fileno(), start, size) for start in range(0, max(size, 1), PIECE)]
        os.fchmod(file.fileno(), 0o600)
        os.fsync(file.fileno())
    return [size, *digests]


def require_sizes(folder: str, parts: Parts) -> None:
    """Raise Unusable unless all files exist, are private, and have their sizes. Reads none of them."""
    for name, (size, *digests) in parts.items():
        path = os.path.join(folder, name)
        require_private(path, folder=False)
        if os.lstat(path).st_size != size or len(digests) != len(range(0, max(size, 1), PIECE)):
            raise Unusable(f"{name} was altered")


def checks_of(folder: str, parts: Parts) -> List[Check]:
    """Return a check for each piece of the files, those of the largest file first."""
    found: List[Check] = []
    for name in sorted(parts, key=lambda name: -parts[name][0]):
        size, *digests = parts[name]
        for number, digest in enumerate(digests):
            found.append(_piece_check(folder, name, number * PIECE, size, digest))
    return found


def first_fault(checks: Iterable[Check]) -> str:
    """Run checks in several threads; return what the first failed one returned, "" if none did.

    Returns as soon as one fails. Each check is called with a function that returns whether it may give up.
    """
    waiting = iter(checks)
    turn = threading.Lock()  # for `waiting`
    faults: List[str] = []
    done = threading.Semaphore(0)

    def work() -> None:
        try:
            while not faults:
                with turn:
                    check = next(waiting, None)
                if check is None:
                    return
                fault = check(lambda: bool(faults))
                if fault:
                    faults.append(fault)
                    for _ in range(_THREADS):
                        done.release()
        finally:
            done.release()

    for _ in range(_THREADS):
        threading.Thread(target=work, name="verify", daemon=True).start()
    for _ in range(_THREADS):
        done.acquire()
    return faults[0] if faults else ""


def _piece_check(folder: str, name: str, start: int, size: int, digest: str) -> Check:
    def check(_hurry: Callable[[], bool]) -> str:
        try:
            descriptor = open_regular(os.path.join(folder, name), follow=False)
            try:
                return "" if _sha256(descriptor, start, size) == digest else f"{name} was altered"
            finally:
                os.close(descriptor)
        except OSError as error:
            return f"{name}: {error.strerror or error}"

    return check


def require_unshared(folder: str) -> None:
    """Raise Unusable if another user could rename `folder`, or a folder that it is in, and put another in its place.

    Otherwise that user could replace a dump after it was verified, or read one while it is written; if this process is
    root, that would give the user all rights. In folders with the sticky bit, such as /tmp, users cannot rename the
    files of others.
    """
    trusted = {0, os.geteuid(), os.stat("/").st_uid}  # in a user namespace, root may have another ID
    place = os.path.realpath(folder)
    while True:
        found = os.stat(place)
        # A group with the number of its user has no other members, by convention.
        others = 0o002 if found.st_gid in (0, found.st_uid) else 0o022
        is_open = found.st_mode & others and not found.st_mode & stat.S_ISVTX
        if found.st_uid not in trusted or is_open:
            raise Unusable(f"another user could change {place}: use a --library of your own")
        if place == "/":
            return
        place = os.path.dirname(place)


def require_private(path: str, *, folder: bool) -> None:
    """Raise Unusable unless `path` is a folder, or a regular file, that only this user can read or change."""
    try:
        found = os.lstat(path)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error
    if found.st_uid != os.geteuid():
        raise Unusable(f"{path} belongs to another user")
    if not (stat.S_ISDIR if folder else stat.S_ISREG)(found.st_mode) or stat.S_IMODE(found.st_mode) & 0o077:
        raise Unusable(f"{path} could be read or changed by others")


def _sha256(descriptor: int, start: int, size: int) -> str:
    """Return the SHA-256 of the piece that begins at `start`; of fewer bytes if the file is shorter than `size`."""
    import hashlib  # loads OpenSSL, which would delay `ls`

    found, view = hashlib.sha256(), memoryview(bytearray(_BUFFER))
    stop = min(start + PIECE, size)
    while start < stop:
        count = os.preadv(descriptor, [view[: stop - start]], start)
        if not count:
            break
        found.update(view[:count])
        start += count
    return found.hexdigest()
