"""Observe: combine the logs of a start with the files on disk after it into an Observation."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from preheat.core.digest import SHA256, Digest, hasher
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.guard.witness.file_opens import FANOTIFY
from preheat.guard.witness.strace import STRACE
from preheat.library.library import Library
from preheat.mirror.api.request_url import asked_at, asked_by
from preheat.recipes.inference.layout_paths import within
from preheat.recipes.inference.observation import HubFile, Loaded, Made, Observation, Opened, Reached
from preheat.recipes.inference.trace_log import Reply, TraceLog, file_name
from preheat.verbs.tracing.traced_start import ObservedStart

# Bookkeeping files of hub clients, and temporary files.
_BOOKS = ("/refs/", "/trees/", "/.no_exist/", "/.locks/", "/.cache/huggingface/", "/__pycache__/", "/xet/", "/.git/")
_BOOK_NAMES = (".lock", ".incomplete", ".log", ".metadata", ".msc", ".mdl", ".mv", ".tmp", ".pid", ".pyc", ".part")
_SIGNS = frozenset(("CACHEDIR.TAG", ".gitignore", "version.txt", ".agent_harnesses.json"))
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class TracedApp:
    """The app that was started: its name, its command, and the folder that `{dir}` stands for."""

    name: str
    folder: Path
    command: tuple[str, ...]


def observe(
    seen: ObservedStart,
    subject: TracedApp,
    library: Library,
    resolve: Callable[[Ref], Snapshot | None],
    hurried: Callable[[], bool] = lambda: False,
) -> Observation:
    """Return the Observation of a start. `resolve` resolves refs that the app downloaded without the mirror.

    No more files are hashed once `hurried` returns True.
    """
    disk = _Disk(hurried)
    served = _served(seen, library, resolve)
    folder = str(subject.folder)
    caches = tuple(seen.caches.values())
    written = _written(seen)
    loaded, direct = _loaded(seen, written, disk, resolve)
    served = tuple({(one.ref, one.file.path): one for one in (*served, *direct)}.values())
    opened = tuple(_opened(seen, served, {one.path for one in loaded}, disk))
    return Observation(
        name=subject.name,
        folder=folder,
        command=subject.command,
        ready=seen.ready,
        caches=seen.caches,
        served=served,
        loaded=loaded,
        opened=opened,
        reached=reached(seen.notes),
        made=tuple(_made(_apart(written, folder, caches, str(library.root)), served, loaded, disk)),
        copied=seen.notes.copied,
        local_dirs=_local_dirs(written),
        sees_native=seen.how in (FANOTIFY, STRACE) and not seen.lost,
    )


class _Disk:
    """Reads sizes and digests of the files on disk; each file is hashed once per algorithm."""

    def __init__(self, hurried: Callable[[], bool]) -> None:
        self._hurried = hurried
        self._digests: dict[tuple[str, str], Digest] = {}

    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes; None if it is not a file."""
        try:
            return os.path.getsize(path) if os.path.isfile(path) else None  # noqa: PTH113, PTH202 - thousands of them
        except OSError:
            return None

    def digest(self, path: str, algorithm: str) -> Digest | None:
        """Return the digest of a file; None if it cannot be read, or the trace is hurried."""
        key = (os.path.realpath(path), algorithm)
        if key not in self._digests:
            try:
                with open(path, "rb") as file:
                    hashing = hasher(algorithm, os.fstat(file.fileno()).st_size)
                    while chunk := file.read(_CHUNK):
                        if self._hurried():
                            return None
                        hashing.update(chunk)
            except OSError:
                return None
            self._digests[key] = Digest(algorithm, hashing.hexdigest())
        return self._digests[key]


# ---- from hubs


def _served(seen: ObservedStart, library: Library, resolve: Callable[[Ref], Snapshot | None]) -> tuple[HubFile, ...]:
    """List the files that the mirror served, each with the branch that the app requested, if any."""
    asked = [one for answer in seen.answered if answer.status < 300 and (one := asked_by(answer.path)) is not None]
    known: dict[Ref, Snapshot | None] = {}

    def meant(ref: Ref) -> Snapshot | None:
        if ref not in known:
            known[ref] = library.find(ref) or resolve(ref)
        return known[ref]

    branches: dict[tuple[Ref, str], Ref] = {}
    for one in asked:
        snapshot = None if one.ref.pinned else meant(one.ref)
        if snapshot is not None:
            branches.setdefault((one.ref.at(""), snapshot.commit), one.ref)
    got = [
        one
        for answer in seen.answered
        if answer.status in (200, 206) and answer.method == "GET" and (one := asked_by(answer.path)) is not None
    ]
    found: dict[tuple[Ref, str], HubFile] = {}
    for one in got:
        snapshot = meant(one.ref) if one.path else None
        file = snapshot.file(one.path) if snapshot is not None else None
        if snapshot is not None and file is not None:
            ref = branches.get((one.ref.at(""), snapshot.commit), one.ref)
            found[ref, one.path] = HubFile(ref, snapshot.commit, file)
    return tuple(found.values())


# ---- from other servers


def _loaded(
    seen: ObservedStart, written: Mapping[str, float], disk: _Disk, resolve: Callable[[Ref], Snapshot | None]
) -> tuple[tuple[Loaded, ...], list[HubFile]]:
    """Return the files that the app downloaded without the mirror: those that no hub has, and those that a hub has."""
    loaded: list[Loaded] = []
    served: list[HubFile] = []
    own = tuple(f"{place}/" for place in (seen.lead.plain, seen.lead.secure) if place)
    led_from = {urljoin(r.url, r.location): r.url for r in seen.notes.replies if 300 <= r.status < 400 and r.location}
    taken: set[str] = set()
    for reply in seen.notes.replies:
        if reply.method != "GET" or reply.status != 200 or reply.url.startswith(own):
            continue
        origin = _origin(reply.url, led_from)
        path = _file_of(reply, origin, written, taken, disk)
        digest = disk.digest(path, SHA256) if path else None
        if path is None or digest is None:
            continue
        taken.add(path)
        asked = asked_at(origin)
        snapshot = resolve(asked.ref) if asked is not None and asked.path else None
        file = snapshot.file(asked.path) if snapshot is not None and asked is not None else None
        if snapshot is not None and file is not None and disk.digest(path, file.digest.algorithm) == file.digest:
            served.append(HubFile(snapshot.ref, snapshot.commit, file))
        else:
            loaded.append(Loaded(origin, path, disk.size(path) or 0, digest, reply.modules))
    return tuple(loaded), served


def _origin(url: str, led_from: Mapping[str, str]) -> str:
    """Return the URL that was requested before any redirects: redirect targets may expire."""
    passed: set[str] = set()
    while url in led_from and url not in passed:
        passed.add(url)
        url = led_from[url]
    return url


def _file_of(reply: Reply, origin: str, written: Mapping[str, float], taken: Iterable[str], disk: _Disk) -> str | None:
    """Find the file that a response's body was written to: by size and name, else by size alone."""
    names = {file_name(url) for url in (reply.url, origin)} - {""}
    fit = [
        path
        for path, at in written.items()
        if path not in taken and (size := disk.size(path)) and at >= reply.at - 60 and size == (reply.size or size)
    ]
    named = [path for path in fit if path.rpartition("/")[2] in names]
    if named:
        return min(named, key=lambda path: abs(written[path] - reply.at))
    # Small files often have the same size by chance, large ones rarely.
    alike = [path for path in fit if reply.size is not None and reply.size > 4096]
    return alike[0] if len(alike) == 1 else None


# ---- on disk


def _written(seen: ObservedStart) -> dict[str, float]:
    """Return the files that were written and still exist, by current path, with the time of the first write."""
    found: dict[str, float] = {}
    for access in seen.notes.accesses:
        if access.wrote:
            found.setdefault(seen.notes.final(access.path), access.at)
    for source, target in seen.notes.copied:
        del source
        found.setdefault(seen.notes.final(target), seen.began)
    for one in seen.opens:
        if one.wrote:
            found.setdefault(seen.notes.final(one.path), one.at)
    return {path: at for path, at in found.items() if os.path.isfile(path)}  # noqa: PTH113 - thousands of them


def _opened(seen: ObservedStart, served: Iterable[HubFile], loaded: set[str], disk: _Disk) -> Iterable[Opened]:
    """List the downloaded files that were opened for reading."""
    first: dict[str, float] = {}
    for access in seen.notes.accesses:
        if not access.wrote:
            first.setdefault(seen.notes.final(access.path), access.at)
    copied = {os.path.realpath(source) for source, _ in seen.notes.copied}
    read = {os.path.realpath(path) for path in first}
    for one in seen.opens:
        path = os.path.realpath(seen.notes.final(one.path))
        # Copying a file opens it too; Python's log shows which opens were copies.
        if not one.wrote and (path not in copied or path in read):
            first.setdefault(path, one.at)
    algorithms: dict[int, set[str]] = {}
    for served_one in served:
        algorithms.setdefault(served_one.file.size, set()).add(served_one.file.digest.algorithm)
    amounts = _amounts(seen)
    for path, at in first.items():
        size = disk.size(path)
        if size is None or (size not in algorithms and path not in loaded):
            continue
        digests = (disk.digest(path, algorithm) for algorithm in algorithms.get(size, ()))
        amount = amounts.get(os.path.realpath(path))
        known = frozenset(one for one in digests if one is not None)
        yield Opened(path, max(at - seen.began, 0.0), size, known, None if amount is None else min(amount, size))


def _amounts(seen: ObservedStart) -> dict[str, int]:
    """Return the bytes read of each file, by current path, if known."""
    found: dict[str, int] = {}
    for one in seen.opens:
        if one.read is not None:
            path = os.path.realpath(seen.notes.final(one.path))
            found[path] = found.get(path, 0) + one.read
    return found


def _apart(written: Iterable[str], folder: str, caches: Iterable[str], library: str) -> Iterable[str]:
    """Yield the paths in the caches or in the app's folder, except those in a library in that folder."""
    for path in written:
        own = within(path, folder) is not None and within(path, library) is None
        if own or any(within(path, cache) is not None for cache in caches):
            yield path


def _made(written: Iterable[str], served: Iterable[HubFile], loaded: Iterable[Loaded], disk: _Disk) -> Iterable[Made]:
    """List the files that the start created, except downloads and hub clients' bookkeeping files."""
    digests = {one.file.digest for one in served}
    sizes = {one.file.size for one in served}
    fetched = {one.path for one in loaded}
    for path in written:
        name = path.rpartition("/")[2]
        if name in _SIGNS or name.endswith(_BOOK_NAMES) or any(book in path for book in _BOOKS):
            continue
        if path in fetched:
            continue
        size = disk.size(path)
        if not size:
            continue
        algorithms = {digest.algorithm for digest in digests} if size in sizes else set()
        if not any(disk.digest(path, algorithm) in digests for algorithm in algorithms):
            yield Made(path, size)


def _local_dirs(written: Iterable[str]) -> frozenset[str]:
    sign = "/.cache/huggingface/"
    return frozenset(path.partition(sign)[0] for path in written if sign in path and path.endswith(".metadata"))


# ---- on the network


def reached(notes: TraceLog) -> tuple[Reached, ...]:
    """Summarize the remote hosts that the app tried to reach, most frequent first."""
    counts: Counter[tuple[str, int, tuple[str, ...]]] = Counter()
    looked_up = {aim.modules for aim in notes.aims if aim.lookup}
    # A DNS lookup may have no port; use the port of another attempt by the same modules to the same host.
    ports = {(aim.host, aim.modules): aim.port for aim in notes.aims if aim.port}
    for aim in notes.aims:
        # A connection after a DNS lookup by the same modules belongs to the same attempt.
        if not _own(aim.host) and (aim.lookup or aim.modules not in looked_up):
            counts[aim.host, aim.port or ports.get((aim.host, aim.modules), 0), aim.modules] += 1
    return tuple(Reached(host, port, modules, count) for (host, port, modules), count in counts.most_common())


def _own(host: str) -> bool:
    return host in ("localhost", "::1", "0.0.0.0", "::", "") or host.startswith("127.")  # noqa: S104 - compared with
