"""Kept: a small library for views, with blobs at the real paths, and a snapshot written by hand."""

from collections.abc import Callable, Mapping
from pathlib import Path

from preheat.core.digest import GIT_SHA1, SHA256, Digest, hasher
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.hubs.folder import Folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL: Mapping[str, bytes] = {
    "config.json": b'{"model_type": "tiny"}\n',
    "empty.txt": b"",
    "same.json": b'{"model_type": "tiny"}\n',
    "voices/deep/low.bin": bytes(range(256)) * 8,
    "weights.pt": b"\1" * 5000,
}


def blob_path(library: Path) -> Callable[[Digest], Path]:
    """Return the path of a blob, as docs/library-format.md describes."""
    return lambda digest: library / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex


def keep(
    library: Path, ref: str = "hf:acme/tiny", files: Mapping[str, bytes] = MODEL, commit: str = COMMIT
) -> Snapshot:
    """Store files; those of 1,000 bytes and more by sha256, like LFS files."""
    kept = []
    for path, body in files.items():
        algorithm = SHA256 if len(body) >= 1000 else GIT_SHA1
        naming = hasher(algorithm, len(body))
        naming.update(body)
        digest = Digest(algorithm, naming.hexdigest())
        blob = blob_path(library)(digest)
        if not blob.exists():
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(body)
            blob.chmod(0o444)
        kept.append(File(path, len(body), digest))
    return Snapshot(Ref.parse(ref), commit, tuple(kept))


def seen(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder, following links."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def keep_folder(library: Path, folder: Path, ref: str) -> Snapshot:
    """Store a folder's files, under the commit that a mirror of the folder gives them."""
    snapshot = replace(Folder().resolve(Ref.parse(f"file:{folder}")), ref=Ref.parse(ref))
    for file in snapshot.files:
        blob = blob_path(library)(file.digest)
        if not blob.exists():
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes((folder / file.path).read_bytes())
            blob.chmod(0o444)
    return snapshot
