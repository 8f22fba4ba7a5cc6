"""Tree listing: the list of a commit's files that huggingface_hub 1.22 and later store, to detect missing files.

`trees/COMMIT.json` (huggingface_hub/_tree_cache.py, TREE_CACHE_FORMAT_VERSION 1), indented by one space. With
it, a client rejects a snapshot that lacks files (IncompleteSnapshotError); so write it for complete snapshots only.

Most starts find a listing there already. The modules that write one are imported only when needed, to save time.
"""

from pathlib import Path

from preheat.core.digest import SHA256
from preheat.core.snapshot import File, Snapshot
from preheat.views.view_protocol import ViewNote


def tree_note(snapshot: Snapshot, trees: Path) -> ViewNote:
    """Return the note for a commit's listing in the folder `trees`; an existing listing is kept."""
    return ViewNote(
        trees / f"{snapshot.commit}.json",
        lambda before: tree_listing(snapshot) if before.body is None else before.body,
    )


def tree_listing(snapshot: Snapshot) -> bytes:
    """Return a commit's listing, byte for byte as the client writes it: json.dumps with indent=1.

    Written by hand, because json indents in Python code, which takes seconds for 30,000 files; and file by file, since
    a repository may have hundreds of thousands.
    """
    import io
    import json

    listed = io.BytesIO()
    listed.write(b'{\n "format_version": 1,\n "files": {')
    before = "\n"
    for file in sorted(snapshot.files, key=lambda file: file.path):
        fields = ",\n".join(f"   {json.dumps(name)}: {json.dumps(value)}" for name, value in _entry(file).items())
        listed.write(f"{before}  {json.dumps(file.path)}: {{\n{fields}\n  }}".encode())
        before = ",\n"
    listed.write(b"\n }\n}" if snapshot.files else b"}\n}")
    return listed.getvalue()


def _entry(file: File) -> dict[str, object]:
    if file.digest.algorithm != SHA256:
        return {"size": file.size, "blob_id": file.digest.hex}
    import hashlib

    # In git, an LFS file is a pointer file: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{file.digest.hex}\nsize {file.size}\n".encode()
    naming = hashlib.sha1(b"blob %d\0" % len(pointer), usedforsecurity=False)
    naming.update(pointer)
    return {
        "size": file.size,
        "blob_id": naming.hexdigest(),
        "lfs_sha256": file.digest.hex,
        "lfs_size": file.size,
    }
