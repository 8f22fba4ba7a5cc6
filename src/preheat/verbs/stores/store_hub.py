"""Store hub: an object store as a source of the files of one need."""

from collections.abc import Sequence

from preheat.core.errors import NotFound
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.units import say_count
from preheat.core.values.replace import replace
from preheat.hubs.error_boundary import blames_the_hub
from preheat.hubs.hub import Reader
from preheat.oci.layers.parallel import map_parallel
from preheat.stores.model_manifest import LARGEST, ModelManifest, read_branch, read_manifest
from preheat.stores.store_keys import blob_key, branch_key, model_key
from preheat.verbs.stores.store_reads import StoreReads

_PARALLEL = 16
_SMALL = 64 << 10


class StoreHub:
    """See Hub. `locked` are the files that the need's lock lists; without them, the store's manifest is used.

    `patterns` select the files of the need. A model of which the store lacks one of them is not found.
    """

    round_trip_s = 0.0

    def __init__(self, store: StoreReads, locked: Snapshot | None, patterns: Sequence[str] = ()) -> None:
        self._store = store
        self._locked = locked
        self._patterns = patterns

    @blames_the_hub
    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub."""
        if self._locked is not None:
            return self._resolve_locked(ref, self._locked)
        commit = ref.revision if ref.pinned else self._commit(ref)
        manifest = self._manifest(ref, commit)
        if manifest is None:
            raise self._not_found(ref)
        listed = manifest.listed.named(ref)
        there = set(manifest.wanted.files)
        self._require_all(ref, [file for file in listed.only(self._patterns).files if file not in there])
        return listed

    @blames_the_hub
    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:  # noqa: ARG002 - see Hub
        """See Hub."""
        return self._store.open(file, start, stop)

    def _resolve_locked(self, ref: Ref, locked: Snapshot) -> Snapshot:
        """Return the files of the lock, if the store has all their blobs: the manifest saves most of the requests."""
        manifest = self._manifest(ref, locked.commit)
        known = {file.digest for file in manifest.wanted.files} if manifest is not None else set()
        unknown = list({file.digest: file for file in locked.files if file.digest not in known}.values())
        sizes = map_parallel(lambda file: self._store.size(blob_key(file.digest)), unknown, _PARALLEL)
        self._require_all(ref, [file for file, size in zip(unknown, sizes, strict=True) if size != file.size])
        return replace(locked, ref=ref)

    def _require_all(self, ref: Ref, lacking: Sequence[File]) -> None:
        if lacking:
            more = f", nor {say_count(len(lacking) - 1, 'more file')} of it" if lacking[1:] else ""
            raise NotFound(f"{self._store.name} does not contain {lacking[0].path} of {ref}{more}", hint=_push(ref))

    def _commit(self, ref: Ref) -> str:
        key = branch_key(ref)
        body = self._store.document(key, _SMALL)
        if body is None:
            raise self._not_found(ref)
        return read_branch(body, ref, f"{self._store.name}/{key}")

    def _manifest(self, ref: Ref, commit: str) -> ModelManifest | None:
        key = model_key(ref, commit)
        body = self._store.document(key, LARGEST)
        return None if body is None else read_manifest(body, ref, commit, f"{self._store.name}/{key}")

    def _not_found(self, ref: Ref) -> NotFound:
        return NotFound(f"{self._store.name} does not contain {ref}", hint=_push(ref))


def _push(ref: Ref) -> str:
    return f"push it there, where it is in the library; or pull {ref} without --from"
