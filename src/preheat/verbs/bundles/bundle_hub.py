"""Bundle hub: a bundle as a source of models."""

from collections.abc import Sequence

from preheat.core.errors import HubError, NotFound
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.hub import Reader
from preheat.verbs.bundles.bundle_file import BundleFile
from preheat.verbs.bundles.bundle_index import BundleModel


class BundleHub:
    """See Hub. It has the `models`; `open` raises NotFound for files that only an earlier bundle has."""

    round_trip_s = 0.0

    def __init__(self, bundle: BundleFile, models: Sequence[BundleModel]) -> None:
        self._bundle = bundle
        self._models = models

    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub."""
        for model in self._models:
            if ref in (model.wanted.ref, model.wanted.ref.at(model.wanted.commit)):
                return model.listed.named(ref)
        raise NotFound(f"{self._bundle.name} does not contain {ref}")

    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """See Hub."""
        if not self._bundle.has(file.digest):
            raise NotFound(f"{self._bundle.name} does not contain {file.path} of {snapshot.ref}")
        return _BlobReader(self._bundle, file, start, stop)


class _BlobReader:
    """See Reader."""

    prompt = True
    round_trip_s = 0.0

    def __init__(self, bundle: BundleFile, file: File, start: int, stop: int) -> None:
        self._bundle, self._file, self._at, self._stop = bundle, file, start, stop

    def readinto(self, buffer: memoryview, /) -> int:
        """See Reader."""
        try:
            count = self._bundle.read_blob(self._file.digest, self._at, buffer[: self._stop - self._at])
        except OSError as error:
            raise HubError(f"{self._bundle.name} cannot be read: {error.strerror}", hint="check the disk") from error
        self._at += count
        return count

    def close(self) -> None:
        """See Reader."""
