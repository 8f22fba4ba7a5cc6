"""Caches of other programs: the layouts of huggingface_hub, ModelScope and whisper, written by hand."""

import json
import os
import pickle
from collections.abc import Mapping
from hashlib import sha1, sha256
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def etag(data: bytes, *, lfs: bool) -> str:
    """Return the name that a hub gives to bytes."""
    return sha256(data).hexdigest() if lfs else sha1(b"blob %d\0" % len(data) + data).hexdigest()


def write(path: Path, data: bytes) -> Path:
    """Write a file and its parent folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def hf_cache(
    cache: Path,
    repo: str,
    files: Mapping[str, bytes],
    commit: str = COMMIT,
    *,
    shared: bool = False,
    tree: bool = False,
) -> Path:
    """Write a repository as huggingface_hub does; `shared`: as since 1.32, with blobs in the cache by another hash."""
    home = cache / f"models--{repo.replace('/', '--')}"
    listed = {}
    for name, data in files.items():
        lfs = len(data) > 100
        tag = etag(data, lfs=lfs)
        blob = home / "blobs" / tag
        if shared and lfs:
            xet = sha256(b"xet" + data).hexdigest()
            write(cache / "blobs" / xet[:2] / xet, data)
            write(cache / "blobs" / xet[:2] / f"{xet}.refs", b"")
            write(cache / "blobs" / ".huggingface-shared-blobs", b"1\n")
            blob.parent.mkdir(parents=True, exist_ok=True)
            if not blob.is_symlink():
                blob.symlink_to(os.path.relpath(cache / "blobs" / xet[:2] / xet, blob.parent))
        elif not blob.exists():
            write(blob, data)
        pointer = home / "snapshots" / commit / name
        pointer.parent.mkdir(parents=True, exist_ok=True)
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
        listed[name] = {"size": len(data), "blob_id": etag(data, lfs=False)}
        if lfs:
            listed[name] |= {"lfs_sha256": tag, "lfs_size": len(data)}
    write(home / "refs" / "main", commit.encode())
    write(cache / "CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n")
    write(cache / ".locks" / home.name / "x.lock", b"")
    if tree:
        write(home / "trees" / f"{commit}.json", json.dumps({"format_version": 1, "files": listed}).encode())
    return home


def ms_old(home: Path, repo: str, files: Mapping[str, bytes], revision: str = "master") -> Path:
    """Write a repository as ModelScope's clients up to 1.37 do, in its own folder."""
    for name, data in files.items():
        write(home / name, data)
    write(home / ".msc", pickle.dumps([{"Path": name, "Revision": "ab" * 20} for name in files], protocol=4))
    write(home / ".mdl", pickle.dumps({"id": repo}, protocol=4))
    write(home / ".mv", f"Revision:{revision},CreatedAt:1700000000".encode())
    return home


def ms_new(cache: Path, repo: str, files: Mapping[str, bytes], revision: str = "master") -> Path:
    """Write a repository as ModelScope's clients since 1.38 do."""
    home = cache / "models" / repo.replace("/", "--")
    for name, data in files.items():
        write(home / "snapshots" / revision / name, data)
    return home
