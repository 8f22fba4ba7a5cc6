"""Hugging Face answers: encode snapshots as documents of the Hugging Face API."""

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from preheat.core.digest import GIT_SHA1, SHA256, hasher
from preheat.core.ref import MODEL
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.hf_documents import EntryLfs, HfEntry, Sibling, SiblingLfs


def write_info(snapshot: Snapshot) -> bytes:
    """Encode a snapshot as `read_info` parses it."""
    ref = snapshot.ref
    return msgspec.json.encode(
        {
            "_id": hashlib.sha1(ref.repo.encode(), usedforsecurity=False).hexdigest()[:24],
            "id": ref.repo,
            **({"modelId": ref.repo} if ref.kind == MODEL else {}),
            "author": ref.repo.rpartition("/")[0] or None,
            "sha": snapshot.commit,
            "private": False,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [_sibling(file) for file in snapshot.files],
        }
    )


@functools.lru_cache(maxsize=4)
def list_tree(snapshot: Snapshot, under: str = "", *, recursive: bool) -> tuple[HfEntry, ...]:
    """Return the files and folders in a folder, sorted by path; with `recursive`, those in its subfolders too.

    Empty if the folder does not exist. The last results are cached, since clients request page after page.
    """
    prefix = f"{under}/" if under else ""
    entries: dict[str, HfEntry] = {}
    folders: dict[str, list[File]] = {}
    for file in snapshot.files:
        if not file.path.startswith(prefix):
            continue
        parent = file.path.rpartition("/")[0]
        while len(parent) > len(under):
            folders.setdefault(parent, []).append(file)
            parent = parent.rpartition("/")[0]
        entries[file.path] = _file_entry(file)
    for path, files in folders.items():
        entries[path] = _folder_entry(path, files)
    kept = entries.values() if recursive else (e for e in entries.values() if "/" not in e.path[len(prefix) :])
    return tuple(sorted(kept, key=lambda entry: entry.path))


def list_paths(snapshot: Snapshot, paths: Iterable[str]) -> list[HfEntry]:
    """Return those of `paths` that are files or folders of the snapshot."""
    every = {entry.path: entry for entry in list_tree(snapshot, recursive=True)}
    return [every[path] for path in dict.fromkeys(path.strip("/") for path in paths) if path in every]


def write_entries(entries: Sequence[HfEntry]) -> bytes:
    """Encode a page of a tree, or the response about some paths."""
    return msgspec.json.encode(entries)


def write_paths_info(snapshot: Snapshot, paths: Iterable[str]) -> bytes:
    """Encode the entries of some paths; missing ones are omitted."""
    return write_entries(list_paths(snapshot, paths))


def write_refs(branches: Mapping[str, str]) -> bytes:
    """Encode branches with their commits."""
    return msgspec.json.encode(
        {
            "branches": [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit} for name, commit in branches.items()
            ],
            "tags": [],
            "converts": [],
        }
    )


def lfs_pointer(file: File) -> bytes:
    """Return the pointer file that git stores for an LFS file (git-lfs/docs/spec.md)."""
    return f"version https://git-lfs.github.com/spec/v1\noid {file.digest}\nsize {file.size}\n".encode()


def git_oid(file: File) -> str:
    """Return git's object name for a file, or for its LFS pointer."""
    if file.digest.algorithm != SHA256:
        return file.digest.hex
    pointer = lfs_pointer(file)
    naming = hasher(GIT_SHA1, len(pointer))
    naming.update(pointer)
    return naming.hexdigest()


def _sibling(file: File) -> Sibling:
    lfs = None
    if file.digest.algorithm == SHA256:
        lfs = SiblingLfs(sha256=file.digest.hex, size=file.size, pointer_size=len(lfs_pointer(file)))
    return Sibling(rfilename=file.path, size=file.size, blob_id=git_oid(file), lfs=lfs)


def _file_entry(file: File) -> HfEntry:
    lfs = None
    if file.digest.algorithm == SHA256:
        lfs = EntryLfs(oid=file.digest.hex, size=file.size, pointer_size=len(lfs_pointer(file)))
    return HfEntry(type="file", path=file.path, oid=git_oid(file), size=file.size, lfs=lfs)


def _folder_entry(path: str, files: Iterable[File]) -> HfEntry:
    # Not git's tree name, which clients cannot check through this API, but just as stable: same files, same name.
    naming = hashlib.sha1(usedforsecurity=False)
    for file in sorted(files, key=lambda file: file.path):
        naming.update(f"{file.digest} {file.size} {file.path}\n".encode())
    return HfEntry(type="directory", path=path, oid=naming.hexdigest(), size=0)
