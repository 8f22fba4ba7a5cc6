"""Known files: name the repository and commit of files that the app had before the trace, and read.

Files in the caches of hubs, whisper and ModelScope are known by their place. Others, such as weights in the app's own
folder, are known by their digest, if the library or a built-in recipe's lock lists it.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.digest import GIT_SHA1, SHA256, Digest
from preheat.core.errors import PreheatError
from preheat.core.ref import HUGGING_FACE, MODELSCOPE, URL, Ref
from preheat.core.snapshot import File, Snapshot, listing_commit
from preheat.core.values.replace import replace
from preheat.library.adopt import hf_caches, ms_caches, whisper_caches
from preheat.library.adopt.caches import CachedVersion, Candidate
from preheat.library.library import Library
from preheat.recipes.builtin_recipes import names, shipped_lock
from preheat.recipes.inference.observation import HubFile, Loaded
from preheat.verbs.tracing.observing.file_hashes import FileHashes

# Hubs list the sha256 of files in LFS, which are larger than this, and the git blob ID of others.
_LFS_FROM = 1 << 20

Resolve = Callable[[Ref], Snapshot | None]


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """Files that the app had: those of hubs and those of URLs. `sources` maps each path to its name at the hub.

    `snapshots` are the versions that the files belong to, with all files that are known of them.
    """

    served: tuple[HubFile, ...] = ()
    loaded: tuple[Loaded, ...] = ()
    paths: frozenset[str] = frozenset()
    snapshots: tuple[Snapshot, ...] = ()


@dataclass(slots=True)
class _KnownSoFar:
    served: list[HubFile] = field(default_factory=list)
    loaded: list[Loaded] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    snapshots: list[Snapshot] = field(default_factory=list)


def known_files(
    opened: Sequence[str], plain: Iterable[str], library: Library, hashes: FileHashes, resolve: Resolve
) -> KnownFiles:
    """Return what is known of the `opened` files, none of which the start wrote.

    `plain` are those of them that may be the app's weights, outside any cache: they are looked up by their digests.
    """
    found = _KnownSoFar()
    # By real path too, since native code's opens are logged with symlinks resolved.
    by_real: dict[str, str] = {}
    for path in opened:
        by_real.setdefault(os.path.realpath(path), path)
    for version in _cached_versions(opened):
        used = [
            one for one in version.candidates if str(one.source) in by_real or os.path.realpath(one.source) in by_real
        ]
        if used and version.ref.hub == URL:
            found.loaded += _loaded(version, used, hashes)
        elif used:
            _add(version, used, hashes, resolve, found)
        found.paths.update(by_real[real] for one in used if (real := os.path.realpath(one.source)) in by_real)
    rest = [path for path in plain if path not in found.paths]
    _by_digest(rest, library, hashes, found)
    return KnownFiles(tuple(found.served), tuple(found.loaded), frozenset(found.paths), tuple(found.snapshots))


# ---- by place


def _cached_versions(opened: Iterable[str]) -> Iterator[CachedVersion]:
    """Yield the versions in the caches that the opened files are in; entries that cannot be read are skipped."""
    folders = dict.fromkeys(os.path.dirname(path) for path in opened)  # noqa: PTH120 - thousands of them
    done: set[Path] = set()
    for folder in folders:
        for place in _repositories_above(Path(folder)):
            if place in done:
                break
            done.add(place)
            with suppress(OSError, PreheatError):
                if hf_caches.is_repository(place):
                    yield from _versions(hf_caches.read_repository(place))
                elif ms_caches.has_a_name(place):
                    yield from _versions(ms_caches.read_repository(place))
                else:
                    yield from _versions(whisper_caches.read_cache(place))
            break


def _versions(entries: Iterable[object]) -> Iterator[CachedVersion]:
    return (one for one in entries if isinstance(one, CachedVersion))


def _repositories_above(folder: Path) -> Iterator[Path]:
    """Yield the folder or the nearest one above it that is a repository in a cache."""
    for place in (folder, *folder.parents[:-1]):
        with suppress(OSError):
            if hf_caches.is_repository(place) or ms_caches.has_a_name(place):
                yield place
                return
            if place == folder and whisper_caches.is_cache(place):
                yield place
                return


def _loaded(version: CachedVersion, used: Iterable[Candidate], hashes: FileHashes) -> Iterator[Loaded]:
    for one in used:
        digest = hashes.digest(str(one.source), SHA256)
        if digest is not None and digest == version.ref.digest:
            yield Loaded(version.ref.address, str(one.source), hashes.size(str(one.source)) or 0, digest)


def _add(
    version: CachedVersion, used: Sequence[Candidate], hashes: FileHashes, resolve: Resolve, found: _KnownSoFar
) -> None:
    """Add the files that were opened of a version, with the digests that its cache or its hub lists."""
    ref = version.ref.at(version.revisions[0]) if version.revisions else version.ref.at(version.commit)
    told = None
    if not version.commit:
        told = resolve(ref)  # ModelScope's caches do not contain the commit
    files = []
    for one in used:
        listed = told.file(one.path) if told is not None else None
        digest = one.digest or (listed.digest if listed is not None else None)
        actual = _digest(one.source, hashes, digest.algorithm if digest else "")
        size = hashes.size(str(one.source))
        if actual is not None and size is not None and digest in (None, actual):
            files.append(File(one.path, size, actual))
    if not files:
        return
    commit = version.commit or (told.commit if told is not None else listing_commit(files))
    snapshot = told or Snapshot(ref, commit, version.listed or tuple(files))
    found.snapshots.append(replace(snapshot, ref=ref))
    found.served += [HubFile(ref, commit, file) for file in files]


def _digest(path: Path, hashes: FileHashes, algorithm: str) -> Digest | None:
    size = hashes.size(str(path)) or 0
    return hashes.digest(str(path), algorithm or (SHA256 if size >= _LFS_FROM else GIT_SHA1))


# ---- by digest


def _by_digest(paths: Sequence[str], library: Library, hashes: FileHashes, found: _KnownSoFar) -> None:
    """Add the files whose digests a version in the library, or a built-in recipe's lock, lists."""
    sizes = {size for path in paths if (size := hashes.size(path))}
    if not sizes:
        return
    fitting: dict[int, list[tuple[Snapshot, File]]] = {}
    for snapshot in _listed(library):
        for file in snapshot.files:
            if file.size in sizes:
                fitting.setdefault(file.size, []).append((snapshot, file))
    matches: dict[str, list[tuple[Snapshot, File]]] = {}
    votes: Counter[tuple[Ref, str]] = Counter()
    for path in paths:
        for snapshot, file in fitting.get(hashes.size(path) or 0, ()):
            if hashes.digest(path, file.digest.algorithm) == file.digest:
                matches.setdefault(path, []).append((snapshot, file))
                votes[snapshot.ref, snapshot.commit] += 1
    for path, ones in matches.items():
        name = path.rpartition("/")[2]
        # The version that most files are from; then the one with a file of the same name.
        snapshot, file = max(
            ones, key=lambda one: (votes[one[0].ref, one[0].commit], one[1].path.rpartition("/")[2] == name)
        )
        found.paths.add(path)
        if snapshot.ref.hub == URL:
            digest = hashes.digest(path, SHA256)
            if digest is not None:
                found.loaded.append(Loaded(snapshot.ref.address, path, file.size, digest))
        else:
            found.served.append(HubFile(snapshot.ref, snapshot.commit, file))
            found.snapshots.append(snapshot)


def _listed(library: Library) -> Iterator[Snapshot]:
    """Yield the versions that the library and the built-in recipes list, the library's first."""
    hubs = (HUGGING_FACE, MODELSCOPE, URL)
    known: set[tuple[Ref, str]] = set()
    branches: dict[tuple[str, str, str, str], str] = {}
    for summary in library.records.listed():
        if summary.ref.hub in hubs and summary.revisions:
            ref = summary.ref
            branches[ref.hub, ref.kind, ref.repo, ref.revision] = summary.revisions[0]
    for snapshot in library.snapshots():
        if snapshot.ref.hub in hubs:
            ref = snapshot.ref
            known.add((ref, snapshot.commit))
            branch = branches.get((ref.hub, ref.kind, ref.repo, snapshot.commit))
            yield snapshot.named(ref.at(branch)) if branch else snapshot
    for name in names():
        for pinned in shipped_lock(name, Path("/")).needs:
            if (pinned.snapshot.ref.at(pinned.snapshot.commit), pinned.snapshot.commit) not in known:
                yield pinned.snapshot
