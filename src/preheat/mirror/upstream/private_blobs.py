"""Private blobs: blobs downloaded only for private repositories, and proof that another repository has them."""

import contextlib
import os
from pathlib import Path

from preheat.core.errors import HubUnavailable, IntegrityError, PreheatError
from preheat.core.ref import HUGGING_FACE, MODELSCOPE
from preheat.core.snapshot import File
from preheat.disk.temporary_file import write_whole
from preheat.library.library import Library
from preheat.mirror.upstream.answer_cache import AnswerCache
from preheat.mirror.upstream.upstream import Told, Upstreams

_CHUNK = 1 << 20
_FRESH_S, _REFUSED_S = 86_400.0, 60.0


def brought_privately(root: Path, file: File) -> list[str]:
    """Return the hubs (`hf`, `ms`) for whose private repositories a blob was downloaded; none if the blob is public."""
    # Not Path.exists, which is slower: a mirror does this for each request.
    return [hub for hub in (HUGGING_FACE, MODELSCOPE) if os.path.exists(_mark(root, hub, file))]  # noqa: PTH110


def _mark(root: Path, hub: str, file: File) -> str:
    return f"{root}/mirror/private/{hub}/{file.digest.algorithm}-{file.digest.hex}"


class Possession:
    """Mark each private blob with an empty file, `mirror/private/HUB/ALGORITHM-HEX`, until it turns out to be public.

    A listed digest proves nothing, because anyone can copy a digest without having the bytes. So a blob that was
    downloaded for a private repository is served for another upstream's repository only after that upstream has sent
    all of its bytes. The hub of the private repository needs no such proof: it lists only digests of uploaded bytes.

    Thread-safe.
    """

    def __init__(self, library: Library, upstreams: Upstreams) -> None:
        self._library = library
        self._upstreams = upstreams
        self._proved: AnswerCache[bool] = AnswerCache(lambda _proved: 0, heaviest=20_000)

    def note_private(self, file: File, told: Told) -> None:
        """Mark a blob as private before its download; raise HubUnavailable if the mark cannot be written."""
        if self._library.has(file.digest):
            return
        try:
            write_whole(Path(_mark(self._library.root, told.upstream.hub, file)), b"")
        except OSError as error:
            raise HubUnavailable(f"{file.path} is private, and the mark for it cannot be written: {error}") from error

    def require(self, told: Told, file: File) -> None:
        """Raise IntegrityError or HubUnavailable unless the upstream that listed a file has its bytes.

        May download the whole file from that upstream; the result is cached.
        """
        hubs = brought_privately(self._library.root, file)
        if not hubs:
            return
        if any(told.upstream is self._upstreams.origin(hub) for hub in hubs):
            if not told.privately:
                self._forget(file)  # it is public at the hub itself
            return
        key = (file.digest, told.upstream.url, told.snapshot.ref.repo)
        self._proved.recall(key, lambda: _sends_all(told, file), _FRESH_S, _REFUSED_S)
        if not told.privately:
            self._forget(file)

    def _forget(self, file: File) -> None:
        for hub in brought_privately(self._library.root, file):
            with contextlib.suppress(OSError):
                Path(_mark(self._library.root, hub, file)).unlink(missing_ok=True)


def _sends_all(told: Told, file: File) -> bool:
    hashing = file.digest.hasher(file.size)
    buffer = memoryview(bytearray(_CHUNK))
    try:
        reader = told.hub.open(told.snapshot, file, 0, file.size)
        try:
            while count := reader.readinto(buffer):
                hashing.update(buffer[:count])
        finally:
            reader.close()
    except HubUnavailable:
        raise
    except PreheatError as error:
        raise HubUnavailable(f"{file.path}: {error.message}", wait_s=_REFUSED_S) from error
    if hashing.hexdigest() != file.digest.hex:
        raise IntegrityError(f"{told.upstream.url} lists a digest for {file.path} that does not match its bytes")
    return True
