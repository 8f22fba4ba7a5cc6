"""Push plan: what a push sends to an object store, made without changing anything."""

from dataclasses import dataclass

from preheat.core.errors import IntegrityError
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.library.library import Library
from preheat.oci.layers.parallel import map_parallel
from preheat.stores.model_manifest import LARGEST, ModelManifest, read_manifest
from preheat.stores.object_store import ObjectStore
from preheat.stores.store_keys import blob_key, model_key

_PARALLEL = 16


@dataclass(frozen=True, slots=True)
class PushedApp:
    """An app to push: its name, and the texts of its preheat.toml and lock."""

    name: str
    recipe: bytes
    lock: bytes


@dataclass(frozen=True, slots=True)
class PushPlan:
    """What to send to the store `name`: the blobs that it lacks, then the manifests of the models, then the apps.

    `blobs` has one file per digest, the largest first; `present` are those that the store has. Sizes are in bytes.
    """

    name: str
    models: tuple[ModelManifest, ...]
    apps: tuple[PushedApp, ...]
    blobs: tuple[File, ...]
    present: tuple[File, ...]

    @property
    def size(self) -> int:
        """Return the size of all blobs."""
        return self.missing + sum(file.size for file in self.present)

    @property
    def missing(self) -> int:
        """Return the size of the blobs to send."""
        return sum(file.size for file in self.blobs)


def plan_push(
    models: tuple[Snapshot, ...], apps: tuple[PushedApp, ...], library: Library, store: ObjectStore
) -> PushPlan:
    """Compare models of the library with an object store.

    Raise NotPreloaded for files that are not in the library, HubError if the store cannot be read, and IntegrityError
    if it has other files of the same commit.
    """
    for model in models:
        library.require_files(model, hint=model.ref.how_to_get)
    manifests = tuple(_manifest(model, library) for model in models)
    for manifest in manifests:
        known = published(manifest, store)
        if known is not None:
            manifest.joined(known)  # raises if they differ
    files = {file.digest: file for model in models for file in model.files}
    ordered = sorted(files.values(), key=lambda file: -file.size)
    sizes = map_parallel(lambda file: store.size(blob_key(file.digest)), ordered, _PARALLEL)
    missing: list[File] = []
    present: list[File] = []
    for file, size in zip(ordered, sizes, strict=True):
        if size is not None and size != file.size:
            raise IntegrityError(
                f"{store.name}/{blob_key(file.digest)} has {size} bytes, but {file.path} has {file.size}",
                hint="remove that key, and push again",
            )
        (missing if size is None else present).append(file)
    return PushPlan(store.name, manifests, apps, tuple(missing), tuple(present))


def published(manifest: ModelManifest, store: ObjectStore) -> ModelManifest | None:
    """Return the store's manifest of the same commit, or None. Raise HubError for an invalid one."""
    ref, commit = manifest.wanted.ref, manifest.wanted.commit
    key = model_key(ref, commit)
    found = store.read(key, LARGEST)
    return None if found is None else read_manifest(found.body, ref, commit, f"{store.name}/{key}")


def _manifest(wanted: Snapshot, library: Library) -> ModelManifest:
    """Return the manifest of a version, with the other files of its record, which are only listed."""
    known = library.find(wanted.ref.at(wanted.commit))
    if known is None:
        return ModelManifest(replace(wanted, unlisted=wanted.unlisted or ()))
    others = tuple(file for file in known.files if wanted.file(file.path) is None)
    return ModelManifest(replace(wanted, unlisted=known.unlisted), others)
