"""Store keys: the names of blobs and documents in an object store. Format: docs/stores.md."""

import hashlib
import re

from preheat.core.digest import Digest
from preheat.core.ref import Ref

FORMAT = 1
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def blob_key(digest: Digest) -> str:
    """Return the key of a file's bytes."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def model_key(ref: Ref, commit: str) -> str:
    """Return the key of the manifest of one commit of a model."""
    return f"models/{ref.hub}/{_plain(ref.slug)}/{commit}.json"


def parts_folder(ref: Ref, commit: str) -> str:
    """Return where each push of a commit leaves its own manifest, from which the one of the commit is joined."""
    return f"models/{ref.hub}/{_plain(ref.slug)}/{commit}"


def branch_key(ref: Ref) -> str:
    """Return the key of the document with the commit of a model's branch or tag."""
    return f"models/{ref.hub}/{_plain(ref.slug)}/refs/{_plain(ref.revision)}.json"


def app_key(name: str, file: str) -> str:
    """Return the key of a file of an app: its recipe or its lock."""
    return f"apps/{_plain(name)}/{file}"


def _plain(name: str) -> str:
    """Return a name as part of a key. Names that need encoding get a hash: some stores and proxies encode `%` twice."""
    if _PLAIN.fullmatch(name):
        return name
    kept = re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("_.")[-80:]
    return f"{kept or 'name'}~{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
