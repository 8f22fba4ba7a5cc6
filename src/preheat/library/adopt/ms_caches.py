"""ModelScope caches: read three generations of layouts, all with regular files and without digests.

    hub/OWNER/NAME/PATH                             the oldest; also CACHE/OWNER/NAME
    models/OWNER/NAME/PATH                          clients up to 1.37; `.` in the name is replaced by `___`
    models/OWNER--NAME/snapshots/REVISION/PATH      since 1.38

The first two also have `.msc` (the files, a pickled list), `.mdl` (the name, a pickled dictionary), and `.mv` (the
revision, text). Their downloads in progress are in `._____temp/OWNER/NAME` beside OWNER, or in `._____temp` of a local
folder; those of large files are in parts, PATH_START_END.
"""

import io
import pickle
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from preheat.core.ref import Ref
from preheat.library.adopt.caches import CachedVersion, Candidate, InvalidEntry, files_below, ref_of, resolved
from preheat.library.adopt.weight_indexes import missing_parts
from preheat.library.small_files import read_small

_TEMPORARY = "._____temp"
_NOTES = frozenset((".msc", ".mdl", ".mv", ".lock", _TEMPORARY))
_UNFINISHED = (".incomplete", ".parallel_tmp", ".tmp")


class _Plain(pickle.Unpickler):
    """An unpickler for lists, dictionaries and strings only; it raises UnpicklingError for any class."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"class {module}.{name} is not allowed")


def is_repository(folder: Path) -> bool:
    """Return whether a folder is a repository in a ModelScope cache."""
    return (folder / ".msc").is_file() or (folder / ".mdl").is_file() or _is_new(folder)


def has_a_name(folder: Path) -> bool:
    """Return whether a folder anywhere is a repository with its name, and not one that a client downloaded to.

    Clients up to 1.37 leave `.msc` in a `local_dir` too, whose folders are not the repository's owner and name.
    """
    return (folder / ".mdl").is_file() or _is_new(folder)


def repositories(cache: Path) -> list[Path]:
    """List the repositories in a cache: `~/.cache/modelscope`, or one of the folders in it."""
    found = set()
    for base in (cache, cache / "hub", cache / "models", cache / "hub" / "models"):
        for folder in (*base.glob("*"), *base.glob("*/*")):
            if not folder.is_symlink() and _TEMPORARY not in folder.parts and is_repository(folder):
                found.add(folder)
    return sorted(found)


def read_repository(repo: Path) -> Iterator[CachedVersion | InvalidEntry]:
    """Yield the versions of a repository, and InvalidEntry for each entry that cannot be adopted."""
    new = _is_new(repo)
    name = repo.name.replace("--", "/", 1) if new else f"{repo.parent.name}/{repo.name.replace('___', '.')}"
    properties = _pickled(repo / ".mdl")
    if isinstance(properties, dict) and isinstance(properties.get("id"), str):
        name = properties["id"]
    ref = ref_of(f"ms:{name}")
    if ref is None:
        yield InvalidEntry(repo, "its name is not a valid repository name")
        return
    if not new:
        revision = _revision(repo / ".mv") or ref.revision
        # The temporary folder has the name as it is, or as the client writes it in the cache.
        others = [repo.parent.parent / _TEMPORARY / one for one in (name, f"{repo.parent.name}/{repo.name}")]
        temporary = [repo / _TEMPORARY, *dict.fromkeys(others)]
        yield from _version(repo, ref_of(f"ms:{name}@{revision}") or ref, _listed(repo / ".msc"), temporary)
        return
    for folder in sorted((repo / "snapshots").iterdir()):
        at = ref_of(f"ms:{name}@{folder.name}")
        if at is None or folder.is_symlink() or not folder.is_dir():
            yield InvalidEntry(folder, "its name is not a valid revision")
        else:
            yield from _version(folder, at, None)


def unfinished(cache: Path) -> Iterator[InvalidEntry]:
    """Yield the temporary folders in a cache whose repositories have no file yet."""
    for base in (cache, cache / "hub", cache / "models", cache / "hub" / "models"):
        for folder in sorted((base / _TEMPORARY).glob("*/*")):
            owner, name = folder.parent.name, folder.name
            places = (base / owner / name, base / owner / name.replace(".", "___"))
            if not any(is_repository(place) for place in places) and any(_files(folder)):
                yield InvalidEntry(folder, "it is an incomplete download")


def _version(
    folder: Path, ref: Ref, listed: frozenset[str] | None, temporary: Sequence[Path] = ()
) -> Iterator[CachedVersion | InvalidEntry]:
    candidates, missing = [], []
    for place in temporary:
        for path in _files(place):
            yield InvalidEntry(place / path, "it is an incomplete download")
            missing.append(re.sub(r"_\d+_\d+$", "", path))
    for one in files_below(folder, skip=_NOTES):
        if isinstance(one, InvalidEntry):
            yield one
            continue
        path, place = one
        if path.endswith(_UNFINISHED) or (listed is not None and path not in listed):
            yield InvalidEntry(place, "it is an incomplete download")
            missing.append(re.sub("(" + "|".join(map(re.escape, _UNFINISHED)) + ")$", "", path))
            continue
        source = resolved(place, folder)
        if isinstance(source, InvalidEntry):
            yield source
            missing.append(path)
        else:
            candidates.append(Candidate(path, source))
    for path, entry in missing_parts(folder, candidates):
        yield entry
        missing.append(path)
    commit, revisions = (ref.revision, ()) if ref.pinned else ("", (ref.revision,))
    yield CachedVersion(ref, commit, revisions, tuple(candidates), missing=tuple(dict.fromkeys(missing)))


def _files(folder: Path) -> Iterator[str]:
    """Yield the paths of the files below a folder, relative to it."""
    return (one[0] for one in files_below(folder) if not isinstance(one, InvalidEntry)) if folder.is_dir() else iter(())


def _is_new(folder: Path) -> bool:
    return (
        "--" in folder.name
        and not folder.name.startswith(("models--", "datasets--", "spaces--"))
        and (folder / "snapshots").is_dir()
    )


def _pickled(path: Path) -> object:
    try:
        return _Plain(io.BytesIO(read_small(path))).load()
    except Exception:  # noqa: BLE001 - a malicious pickle may raise any exception
        return None


def _listed(path: Path) -> frozenset[str] | None:
    """Return the files that the client had downloaded completely; None if it left no list."""
    entries = _pickled(path)
    if not isinstance(entries, list):
        return None
    return frozenset(
        entry["Path"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("Path"), str)
    )


def _revision(path: Path) -> str:
    try:
        match = re.match(r"Revision:([^,\s]+)", read_small(path).decode("utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
    return match[1] if match else ""
