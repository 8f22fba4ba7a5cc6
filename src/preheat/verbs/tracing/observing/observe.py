"""Observe: combine the logs of a start with the files on disk after it into an Observation."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.digest import SHA256
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.recipes.app_python import AppPython
from preheat.recipes.inference.bookkeeping import is_bookkeeping, is_secret
from preheat.recipes.inference.layout_paths import within
from preheat.recipes.inference.observation import HubFile, Loaded, Made, Observation, Reached
from preheat.recipes.inference.trace_log import TraceLog
from preheat.recipes.places import Places, start_places
from preheat.verbs.tracing.observing.app_variables import cache_variables, telling_variables
from preheat.verbs.tracing.observing.app_weights import looks_like_weights, may_be_weights
from preheat.verbs.tracing.observing.below_places import below_places
from preheat.verbs.tracing.observing.downloads import Downloads
from preheat.verbs.tracing.observing.file_hashes import FileHashes
from preheat.verbs.tracing.observing.hub_answers import served_files
from preheat.verbs.tracing.observing.known_files import known_files
from preheat.verbs.tracing.observing.opened_files import first_opens, opened_files
from preheat.verbs.tracing.observing.start_reads import start_list
from preheat.verbs.tracing.observing.unpacked_archives import archive_kind, unpacked_archives
from preheat.verbs.tracing.observing.written_files import WrittenFile, written_files
from preheat.verbs.tracing.traced_start import ObservedStart

# Bytes. What no program opened after it was written is not kept if it is larger, not even with --keep-unread.
_MOST_UNREAD = 4 << 30
# Bytes. Smaller files of other repositories may have the same content by chance.
_TELLING = 4096


@dataclass(frozen=True, slots=True)
class TracedApp:
    """The app that was started: its name, command, first-use command, and the folder that `{dir}` stands for.

    `environ` are the variables that it was started with; `written` lists files known to be written, as an overlay
    shows them; `bodies` is the folder with archives that were saved as they were downloaded.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    first: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    bodies: Path = Path("/nonexistent")


@dataclass(frozen=True, slots=True)
class Observed:
    """An Observation, with the snapshots that its files from hubs belong to, and the files of archives by digest."""

    observation: Observation
    snapshots: tuple[Snapshot, ...]
    archives: Mapping[str, Path]


def observe(
    seen: ObservedStart,
    subject: TracedApp,
    library: Library,
    resolve: Callable[[Ref], Snapshot | None],
    hurried: Callable[[], bool] = lambda: False,
) -> Observed:
    """Return the Observation of a start. `resolve` resolves refs that the app downloaded without the mirror.

    No more files are hashed once `hurried` returns True.
    """
    hashes = FileHashes(hurried)
    places = Places.of(subject.environ, subject.folder, subject.command)
    written = written_files(seen, subject.written, seen.new_caches)
    own = str(library.root)
    written = {
        path: one for path, one in written.items() if within(path, own) is None or _in_any(path, seen.new_caches)
    }
    below = below_places(places)
    served = served_files(seen, library, resolve)
    downloads = Downloads(seen, written, hashes, resolve)
    loaded, direct = downloads.found()
    archives = _archives(downloads, loaded, subject.bodies)
    unpacked = unpacked_archives(archives.values(), written, hashes)
    times = first_opens(seen)
    had = _had(times, written)
    environment = AppPython.of(subject.environ, subject.folder, subject.command)
    plain = [
        path
        for path in had
        if may_be_weights(path, places, tuple(seen.caches.values()), hashes.size(path) or 0, environment.prefix)
    ]
    # What the start wrote to a hub's cache is known by its place too, if it came from another host than the hub's.
    large = [path for path in written if (hashes.size(path) or 0) >= _TELLING and not is_bookkeeping(below(path))]
    known = known_files(list(times), [*plain, *large], library, hashes, resolve)
    loaded = (*loaded, *(one for one in known.loaded if one.path in had))
    digests = {one.file.digest for one in (*served, *direct)}
    other = [one for one in known.served if one.file.digest not in digests]
    served = tuple({(one.ref, one.file.path): one for one in (*other, *served, *direct)}.values())
    members = {member.path for one in unpacked for member in one.members}
    taken = {one.path for one in loaded} | members
    kept = list(_kept(plain, known.paths, hashes))
    made = [*_made(written, served, taken, times, seen, hashes, below), *kept]
    opened = tuple(opened_files(seen, times, served, taken | {one.path for one in made}, hashes))
    observation = Observation(
        name=subject.name,
        folder=str(subject.folder),
        command=subject.command,
        ready=seen.ready,
        caches=seen.caches,
        served=served,
        loaded=loaded,
        unpacked=unpacked,
        opened=opened,
        reached=reached(seen.notes),
        made=tuple(made),
        had=frozenset(one.digest for one in kept if one.digest is not None),
        put=tuple(_put(written, served, hashes, below)),
        copied=seen.notes.copied,
        local_dirs=_local_dirs(written),
        sees_native=seen.complete,
        places=places,
        environment=environment,
        first=subject.first,
        used_at=None if seen.used_at is None else seen.used_at - seen.began,
        env=telling_variables(subject.environ) | cache_variables(subject.environ, subject.folder),
        start_list=start_list(
            seen,
            start_places(subject.folder, environment),
            written,
            {*taken, *known.paths, *(one.path for one in made)},
        ),
        outside=tuple(_outside(had, places, known.paths, environment.prefix, hashes)),
    )
    sources = {loaded_one.digest.hex: path for loaded_one, path in archives.values()}
    return Observed(observation, (*known.snapshots, *downloads.snapshots), sources)


def _in_any(path: str, folders: Mapping[str, str]) -> bool:
    return any(within(path, folder) is not None for folder in folders.values())


def _archives(downloads: Downloads, loaded: Iterable[Loaded], folder: Path) -> dict[str, tuple[Loaded, Path]]:
    """Return the downloaded archives by digest, each with a file that has its bytes."""
    found = {one.digest.hex: (one, path) for one, path in downloads.saved_archives(folder)}
    for one in loaded:
        if one.digest.hex not in found and archive_kind(Path(one.path)):
            found[one.digest.hex] = (one, Path(one.path))
    return found


def _had(times: Mapping[str, float], written: Mapping[str, WrittenFile]) -> dict[str, float]:
    """Return the files that the app opened and the start did not write, with the times of the first opens."""
    own = {os.path.realpath(path) for path in written}
    return {path: at for path, at in times.items() if path not in written and os.path.realpath(path) not in own}


def _made(
    written: Mapping[str, WrittenFile],
    served: Iterable[HubFile],
    taken: Collection[str],
    times: Mapping[str, float],
    seen: ObservedStart,
    hashes: FileHashes,
    below: Callable[[str], str],
) -> Iterator[Made]:
    """Yield the files that the start created, except downloads, bookkeeping and secrets."""
    digests = {one.file.digest for one in served}
    sizes = {one.file.size for one in served}
    for path, one in written.items():
        size = hashes.size(path)
        if path in taken or size is None or is_bookkeeping(below(path)) or is_secret(below(path)):
            continue
        algorithms = {digest.algorithm for digest in digests} if size in sizes else set()
        if any(hashes.digest(path, algorithm) in digests for algorithm in algorithms):
            continue
        unread = size > _MOST_UNREAD and path not in times and os.path.realpath(path) not in times
        digest = None if unread else hashes.digest(path, SHA256)
        yield Made(path, size, digest, one.modules, max(one.at - seen.began, 0.0))


def _outside(
    had: Iterable[str], places: Places, known: Collection[str], prefix: Path | None, hashes: FileHashes
) -> Iterator[Made]:
    """Yield the weights that the app read in no place: only a replay on this machine finds them."""
    for path in had:
        size = hashes.size(path)
        if (
            path not in known
            and size
            and places.shorten(path).startswith("/")
            and looks_like_weights(path, size, prefix)
        ):
            yield Made(path, size)


def _kept(plain: Iterable[str], known: Collection[str], hashes: FileHashes) -> Iterator[Made]:
    """Yield the weights that the app had and that are known to no hub: the library keeps them."""
    for path in plain:
        size = hashes.size(path)
        if path not in known and size is not None:
            yield Made(path, size, hashes.digest(path, SHA256))


def _put(
    written: Iterable[str], served: Iterable[HubFile], hashes: FileHashes, below: Callable[[str], str]
) -> Iterator[Made]:
    """Yield the written files that have the bytes of a hub's file."""
    algorithms: dict[int, set[str]] = {}
    digests = set()
    for one in served:
        algorithms.setdefault(one.file.size, set()).add(one.file.digest.algorithm)
        digests.add(one.file.digest)
    for path in written:
        size = hashes.size(path)
        if not size or is_bookkeeping(below(path)):
            continue  # all empty files are alike
        for algorithm in algorithms.get(size, ()):
            digest = hashes.digest(path, algorithm)
            if digest in digests:
                yield Made(path, size, digest)


def _local_dirs(written: Iterable[str]) -> frozenset[str]:
    sign = "/.cache/huggingface/"
    return frozenset(path.partition(sign)[0] for path in written if sign in path and path.endswith(".metadata"))


# ---- on the network


def reached(notes: TraceLog) -> tuple[Reached, ...]:
    """Summarize the remote hosts that the app tried to reach, most frequent first."""
    counts: Counter[tuple[str, int, tuple[str, ...]]] = Counter()
    looked_up = {module for aim in notes.aims if aim.lookup for module in aim.modules}
    # A DNS lookup may have no port; use the port of another attempt by the same modules to the same host.
    ports = {(aim.host, aim.modules): aim.port for aim in notes.aims if aim.port}
    for aim in notes.aims:
        # A connection after a DNS lookup by one of the same modules belongs to the same attempt.
        if not _own(aim.host) and (aim.lookup or looked_up.isdisjoint(aim.modules)):
            counts[aim.host, aim.port or ports.get((aim.host, aim.modules), 0), aim.modules] += 1
    return tuple(Reached(host, port, modules, count) for (host, port, modules), count in counts.most_common())


def _own(host: str) -> bool:
    return host in ("localhost", "::1", "0.0.0.0", "::", "") or host.startswith("127.")  # noqa: S104 - compared with
