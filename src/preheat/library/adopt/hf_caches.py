"""Hugging Face caches: read the layouts of huggingface_hub 0.20 to 2.4, and its local folders.

    models--OWNER--NAME/refs/REVISION          the commit, 40 hex digits
    models--OWNER--NAME/blobs/ETAG             a file, or since 1.32 a symlink to CACHE/blobs/FF/XET_HASH
    models--OWNER--NAME/snapshots/COMMIT/PATH  a symlink to ../../blobs/ETAG; a file where symlinks are not supported
    models--OWNER--NAME/trees/COMMIT.json      since 1.22: all files of the commit, with their digests

ETAG is a sha256 or a git blob ID. XET_HASH is the file's hash in the hub's Xet storage, and FF are its first two
digits. A local folder has `.cache/huggingface/download/PATH.metadata`, with three lines: commit, etag and time, and
since 1.22 `.cache/huggingface/trees/COMMIT.json`. Downloads in progress are `ETAG.incomplete` or
`ETAG.RANDOM.incomplete` in a cache, and end with `.ETAG.incomplete` in a local folder. A clone made by git may have
pointers of git-lfs instead of files, and the files in `.git/lfs/objects`.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from preheat.core.digest import Digest, git_sha1, sha256
from preheat.core.errors import PreheatError
from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.core.units import say_size
from preheat.core.values.replace import replace
from preheat.disk.lfs_pointer import LfsPointer, read_pointer
from preheat.library.adopt.caches import CachedVersion, Candidate, InvalidEntry, files_below, ref_of, resolved
from preheat.library.adopt.weight_indexes import missing_parts
from preheat.library.small_files import read_small

_REPO = re.compile(r"(models|datasets|spaces)--(.+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class _TreeLine(msgspec.Struct, frozen=True):
    size: int
    blob_id: str
    lfs_sha256: str = ""


class _Tree(msgspec.Struct, frozen=True):
    format_version: int
    files: dict[str, _TreeLine]


def is_repository(folder: Path) -> bool:
    """Return whether a folder is a repository in a Hugging Face cache."""
    return bool(_REPO.fullmatch(folder.name)) and (folder / "snapshots").is_dir()


def repositories(cache: Path) -> list[Path]:
    """List the repositories in a cache."""
    return sorted(folder for folder in cache.glob("*--*") if is_repository(folder))


def read_repository(repo: Path) -> Iterator[CachedVersion | InvalidEntry]:
    """Yield the versions of a repository, and InvalidEntry for each entry that cannot be adopted."""
    match = _REPO.fullmatch(repo.name)
    kind = f"{match[1]}/" if match and match[1] != "models" else ""
    ref = ref_of(f"hf:{kind}{match[2].replace('--', '/', 1)}") if match else None
    if ref is None:
        yield InvalidEntry(repo, "its name is not a valid repository name")
        return
    unfinished = []
    for left in sorted((repo / "blobs").glob("*.incomplete")):
        yield InvalidEntry(left, "it is an incomplete download")
        digest = _digest(left.name.partition(".")[0])
        if digest is not None and not (repo / "blobs" / digest.hex).exists():
            unfinished.append(str(digest))
    revisions: dict[str, list[str]] = {}
    for path in sorted((repo / "refs").rglob("*")):
        commit = _commit_in(path)
        if commit:
            revisions.setdefault(commit, []).append(path.relative_to(repo / "refs").as_posix())
        elif not path.is_dir():
            yield InvalidEntry(path, "it does not contain a commit")
    for folder in sorted((repo / "snapshots").iterdir()):
        if not _COMMIT.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            yield InvalidEntry(folder, "its name is not a commit")
            continue
        yield from _version(repo, ref, folder, tuple(revisions.get(folder.name, ())), unfinished)


def read_local(folder: Path, ref: Ref) -> Iterator[CachedVersion | InvalidEntry]:
    """Yield the version in a local download folder, as `ref`, and its invalid entries.

    The files' digests are those in the `.metadata` files, or in the list of the commit's files.
    """
    notes = folder / ".cache" / "huggingface" / "download"
    candidates, commits, missing, known = [], set(), [], []
    for left in sorted(notes.rglob("*.incomplete")):
        yield InvalidEntry(left, "it is an incomplete download")
        digest = _digest(left.name.split(".")[-2])
        missing += [str(digest)] if digest is not None else []
    for one in files_below(folder, skip=frozenset((".cache", ".git", ".preheat"))):
        if isinstance(one, InvalidEntry):
            yield one
            continue
        path, place = one
        source = resolved(place, folder)
        if isinstance(source, InvalidEntry):
            yield source
            missing.append(path)
            continue
        pointer = _pointer(source)
        if pointer is not None:
            source = pointer.object_below(folder)
            if not source.is_file() or source.stat().st_size != pointer.size:
                size = say_size(pointer.size)
                yield InvalidEntry(
                    place, f"it is a git-lfs pointer to a file of {size} that is not here: git lfs pull downloads it"
                )
                known.append(File(path, pointer.size, pointer.digest))
                continue
            candidates.append(Candidate(path, source, pointer.digest))
            continue
        digest = None
        note = notes / f"{path}.metadata"
        if note.is_file():
            commit, etag, *_ = [*_text(note).splitlines(), "", ""]
            digest = _digest(etag)
            commits.add(commit)
        candidates.append(Candidate(path, source, digest))
    commit = commits.pop() if len(commits) == 1 else ""
    if not _COMMIT.fullmatch(commit):
        commit = ""
    listed = _tree(notes.parent / "trees" / f"{commit}.json") if commit else ()
    expected = {file.path: file.digest for file in listed}
    candidates = [replace(one, digest=one.digest or expected.get(one.path)) for one in candidates]
    known_paths = {file.path for file in known}
    for path, entry in missing_parts(folder, candidates):
        if path not in known_paths:
            yield entry
            missing.append(path)
    yield CachedVersion(ref, commit, (ref.revision,), tuple(candidates), listed, tuple(missing), tuple(known))


def _version(
    repo: Path, ref: Ref, folder: Path, revisions: tuple[str, ...], unfinished: Sequence[str]
) -> Iterator[CachedVersion | InvalidEntry]:
    """Yield the version in a snapshot's folder; `unfinished` are the digests of the repository's partial downloads."""
    listed = _tree(repo / "trees" / f"{folder.name}.json")
    expected = {file.path: file.digest for file in listed}
    candidates, missing = [], list(unfinished)
    for one in files_below(folder):
        if isinstance(one, InvalidEntry):
            yield one
            continue
        path, pointer = one
        # Blobs shared by repositories are in the cache, outside the repository's folder.
        source = resolved(pointer, repo.parent)
        if isinstance(source, InvalidEntry):
            yield source
            missing.append(path)
            continue
        named = _digest(pointer.readlink().name) if pointer.is_symlink() else None
        if named and path in expected and expected[path] != named:
            yield InvalidEntry(pointer, f"it points to {named}, but the commit lists {expected[path]}")
            missing.append(path)
            continue
        candidates.append(Candidate(path, source, expected.get(path) or named))
    for path, entry in missing_parts(folder, candidates):
        yield entry
        missing.append(path)
    yield CachedVersion(ref, folder.name, revisions, tuple(candidates), listed, tuple(missing))


def _tree(path: Path) -> tuple[File, ...]:
    """Read the list of all files of a commit; return an empty tuple if it is missing or invalid."""
    try:
        tree = msgspec.json.decode(read_small(path), type=_Tree)
        if tree.format_version != 1:
            return ()
        return tuple(
            File(name, file.size, sha256(file.lfs_sha256) if file.lfs_sha256 else git_sha1(file.blob_id))
            for name, file in tree.files.items()
        )
    except (OSError, msgspec.DecodeError, ValueError, RecursionError, PreheatError):
        return ()


def _commit_in(path: Path) -> str:
    try:
        text = read_small(path).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if _COMMIT.fullmatch(text) else ""


def _text(path: Path) -> str:
    try:
        return read_small(path).decode("utf-8", "replace")
    except OSError:
        return ""


def _pointer(path: Path) -> LfsPointer | None:
    """Return the pointer of git-lfs that a file is; None if it is none, or cannot be read."""
    try:
        with open(path, "rb") as file:
            return read_pointer(file.read(2048))
    except OSError:
        return None


def _digest(etag: str) -> Digest | None:
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        return sha256(etag)
    return git_sha1(etag) if _COMMIT.fullmatch(etag) else None
