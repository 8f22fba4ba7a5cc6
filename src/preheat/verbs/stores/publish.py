"""Publish: write a model's manifest to an object store, after its blobs, so that readers find the model.

Two pushes of the same commit may have different files of it, and its manifest lists those of both. Each push first
leaves a manifest of its own, which never changes. Then it joins all of these, writes the result, and lists them again:
if there are more by now, it begins again. So the last write has all, also in a store without conditional writes;
with them (If-Match), fewer writes are needed.
"""

import contextlib
import hashlib

from preheat.core.errors import HubError
from preheat.core.ref import Ref
from preheat.stores.model_manifest import LARGEST, ModelManifest, branch_text, read_branch, read_manifest
from preheat.stores.object_store import Document, ObjectStore
from preheat.stores.store_keys import app_key, branch_key, model_key, parts_folder
from preheat.verbs.stores.push_plan import PushedApp

_ATTEMPTS = 20
_SMALL = 1 << 20


def publish_model(manifest: ModelManifest, store: ObjectStore) -> None:
    """Write or extend the manifest of a commit, then its branch. Raise HubError, or IntegrityError as `joined`."""
    ref, commit = manifest.wanted.ref, manifest.wanted.commit
    text = manifest.text()
    parts = _Parts(ref, commit, store)
    parts.leave(text)
    key = model_key(ref, commit)
    refused: Document | None = None
    for _ in range(_ATTEMPTS):
        # The list comes before the manifest, and again after each write.
        joined = parts.joined(manifest)
        found = store.read(key, LARGEST)
        if found is not None:
            joined = joined.joined(read_manifest(found.body, ref, commit, f"{store.name}/{key}"))
            if joined.text() == found.body:
                break
        refused = _write(store, key, joined.text(), found, refused)
    else:
        raise HubError(f"{store.name}/{key} is replaced by other clients all the time", hint="push again")
    if not ref.pinned:
        _publish_branch(ref, commit, store)


def publish_app(app: PushedApp, store: ObjectStore) -> None:
    """Write an app's recipe, then its lock, unless they are the same."""
    for file, body in (("preheat.toml", app.recipe), ("preheat.lock", app.lock)):
        key = app_key(app.name, file)
        found = store.read(key, LARGEST)
        if found is None or found.body != body:
            store.replace(key, body)


class _Parts:
    """The manifests that pushes of a commit have left."""

    def __init__(self, ref: Ref, commit: str, store: ObjectStore) -> None:
        self._ref, self._commit, self._store = ref, commit, store
        self._folder = parts_folder(ref, commit)
        self._known: dict[str, ModelManifest] = {}

    def leave(self, text: bytes) -> None:
        """Write the manifest of this push, named by its content, unless it is there."""
        name = f"{hashlib.sha256(text).hexdigest()[:32]}.json"
        if name not in self._store.names(self._folder):
            self._store.create(f"{self._folder}/{name}", text)

    def joined(self, manifest: ModelManifest) -> ModelManifest:
        """Return a manifest with the files of all parts that the store has now."""
        for name in self._store.names(self._folder):
            if name not in self._known:
                key = f"{self._folder}/{name}"
                found = self._store.read(key, LARGEST)
                if found is not None:
                    where = f"{self._store.name}/{key}"
                    self._known[name] = read_manifest(found.body, self._ref, self._commit, where)
        for part in self._known.values():
            manifest = manifest.joined(part)
        return manifest


def _write(
    store: ObjectStore, key: str, body: bytes, found: Document | None, refused: Document | None
) -> Document | None:
    """Write a document over the one found. Return the latter if the store refused, else None.

    If the store refuses to replace a document that has not changed, its ETags are wrong, and it is replaced anyway.
    """
    if found is None:
        return None if store.create(key, body) else Document(b"", None)
    same = refused is not None and refused.body == found.body
    if store.replace(key, body, None if same else found):
        return None
    return found


def _publish_branch(ref: Ref, commit: str, store: ObjectStore) -> None:
    key = branch_key(ref)
    found = store.read(key, _SMALL)
    with contextlib.suppress(HubError):  # an invalid document is replaced
        if found is not None and read_branch(found.body, ref, key) == commit:
            return
    store.replace(key, branch_text(ref, commit))
