"""Image hub: an image, in a registry or a file, as a source of the files of one need."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from preheat.core.errors import HubError, HubUnavailable, ImageError, NotFound, UsageError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.hubs.error_boundary import blames_the_hub
from preheat.hubs.hub import Reader
from preheat.oci.model.descriptor import Descriptor
from preheat.recipes.lock_file import understand_lock
from preheat.verbs.image_sources.image_files import ImageFiles
from preheat.verbs.image_sources.stored_layers import StoredLayers


class WeightsImage:
    """An image whose layers contain models; shared by the hubs of several needs. Thread-safe.

    `connect` returns its layers, and is called when the image is first asked for; `aside` is the folder for temporary
    files, None for the system's.
    """

    def __init__(self, name: str, connect: Callable[[], StoredLayers], aside: Path | None) -> None:
        self.name = name
        self._connect = connect
        self._aside = aside

    @functools.cached_property
    def files(self) -> ImageFiles:
        """Return the files of the image's layers."""
        return ImageFiles(self._layers.source, self._ask, self._aside)

    @functools.cached_property
    def _layers(self) -> StoredLayers:
        return self._connect()

    def open(self, layer: Descriptor, start: int, stop: int) -> Reader:
        """Return a reader of the bytes `start` to `stop` (exclusive) of a layer as it is stored."""
        return self._layers.open(layer, start, stop)

    def _ask(self, layer: Descriptor, start: int, stop: int) -> bytes:
        body = memoryview(bytearray(stop - start))
        reader = self.open(layer, start, stop)
        try:
            filled = 0
            while filled < len(body) and (count := reader.readinto(body[filled:])):
                filled += count
        finally:
            reader.close()
        if filled < len(body):
            raise HubUnavailable(f"{self.name} ended its response early", hint="pull again to resume")
        return bytes(body)


class ImageHub:
    """See Hub. `locked` are the files that the need's lock lists; without them, the image's own lock is used."""

    round_trip_s = 0.0

    def __init__(self, image: WeightsImage, locked: Snapshot | None) -> None:
        self._image = image
        self._locked = locked

    @blames_the_hub
    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub. Raise NotFound if the image lacks one of the files."""
        with _as_hub_error():
            wanted = self._locked or self._listed(ref)
            found = self._image.files.find(wanted.files)
        missing = [file.path for file in wanted.files if file not in found]
        if missing:
            raise NotFound(
                f"{self._image.name} does not contain {missing[0]} of {ref}"
                + (f", nor {len(missing) - 1} more of its files" if missing[1:] else ""),
                hint="name an image with the app's weights, or pull without --from",
            )
        return replace(wanted, ref=ref)

    @blames_the_hub
    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """See Hub."""
        with _as_hub_error():
            at = self._image.files.find([file]).get(file)
            if at is None:
                raise NotFound(f"{self._image.name} does not contain {file.path} of {snapshot.ref}")
            if at.spool is not None:
                return _Spooled(at.spool, at.at + start, at.at + stop)
            return self._image.open(at.layer, at.at + start, at.at + stop)

    def _listed(self, ref: Ref) -> Snapshot:
        """Return the files of `ref` that the image's own lock lists. Raise NotFound if it is not in the lock."""
        try:
            lock = understand_lock(Path(f"{self._image.name}/preheat.lock"), self._image.files.lock(), Path("/"))
        except UsageError as error:
            raise HubError(error.message, hint=error.hint) from error
        for pinned in lock.needs:
            stored, commit = pinned.need.stored, pinned.snapshot.commit
            # An image has one commit of each model, which stands for the model's default branch.
            if ref in (stored, stored.at(commit)) or ref == stored.at(stored.branch):
                return pinned.snapshot
        has = ", ".join(dict.fromkeys(str(pinned.need.ref) for pinned in lock.needs))
        raise NotFound(f"{self._image.name} does not contain {ref}", hint=f"it has {has}")


class _Spooled:
    """A reader of a part of a temporary file, which several threads read. See Reader."""

    prompt = True
    round_trip_s = 0.0

    def __init__(self, spool: IO[bytes], start: int, stop: int) -> None:
        self._spool, self._at, self._stop = spool, start, stop

    def readinto(self, buffer: memoryview, /) -> int:
        """See Reader."""
        size = os.preadv(self._spool.fileno(), [buffer[: self._stop - self._at]], self._at)
        self._at += size
        return size

    def close(self) -> None:
        """See Reader."""


@contextlib.contextmanager
def _as_hub_error() -> Iterator[None]:
    """Raise HubError for an ImageError: then the next source is tried."""
    try:
        yield
    except ImageError as error:
        raise HubError(error.message, hint=error.hint) from error
