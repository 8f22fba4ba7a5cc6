"""Publish: write a model's manifest to an object store, after its blobs, so that readers find the model.

Two pushes of the same commit may have different files of it. A manifest then gets those of both: it is read, joined and
replaced only if it is still the same (If-Match). In stores without conditional writes, reading it again shows whether
the other push has replaced it meanwhile.
"""

from preheat.core.errors import HubError
from preheat.core.ref import Ref
from preheat.stores.model_manifest import LARGEST, ModelManifest, branch_text, read_branch, read_manifest
from preheat.stores.object_store import Document, ObjectStore
from preheat.stores.store_keys import app_key, branch_key, model_key
from preheat.verbs.stores.push_plan import PushedApp

_ATTEMPTS = 12
_SMALL = 1 << 20


def publish_model(manifest: ModelManifest, store: ObjectStore) -> None:
    """Write or extend the manifest of a commit, then its branch. Raise HubError, or IntegrityError as `joined`."""
    ref, commit = manifest.wanted.ref, manifest.wanted.commit
    key, refused = model_key(ref, commit), None
    for _ in range(_ATTEMPTS):
        found = store.read(key, LARGEST)
        known = None if found is None else read_manifest(found.body, ref, commit, f"{store.name}/{key}")
        joined = manifest if known is None else manifest.joined(known)
        if found is not None and known is not None and joined.text() == known.text():
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
    try:
        if found is not None and read_branch(found.body, ref, key) == commit:
            return
    except HubError:
        pass  # it is replaced
    store.replace(key, branch_text(ref, commit))
