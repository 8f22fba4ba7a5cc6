"""Doctor: find the causes of a slow start on this machine, and suggest remedies."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.core.cache_variables import hf_home
from preheat.core.errors import AccessDenied, PreheatError
from preheat.core.events import Listener, Noted
from preheat.core.ref import FOLDER
from preheat.core.snapshot import File, Snapshot
from preheat.disk.filesystem import filesystem_of
from preheat.disk.free_space import disk_need
from preheat.guard.kernel.free_memory import free_memory
from preheat.guard.memory_snapshot.criu import why_not
from preheat.guard.warm_up.start_list import plain_ranges
from preheat.library.library import Library
from preheat.proof.advice.remedies import Remedy, remedies
from preheat.proof.advice.symptoms import Endpoint, StorageFolder, Symptoms
from preheat.proof.conditions.page_cache_residency import cached
from preheat.proof.limits.disk_speed import Speed, measure_speed
from preheat.proof.limits.line_speed import Line
from preheat.proof.start.start_notes import StartParts
from preheat.recipes.app_python import AppPython
from preheat.recipes.places import start_places
from preheat.recipes.recipe import Need, Recipe
from preheat.verbs.pull_sources import PullSource
from preheat.views.links import COPY, trial

_OF_THE_CONTAINER = frozenset(("overlay", "aufs", "tmpfs", "fuse.fuse-overlayfs", "vfs"))


@dataclass(frozen=True, slots=True)
class DoctorInputs:
    """Inputs of the doctor: the sources of a need, a function that measures a connection, and the environment.

    `root` is the folder with container markers such as /.dockerenv; `ca_file` is the configured CA file, if any.
    `starts` are the app's measured starts that were noted.
    """

    sources: Callable[[Need], Sequence[PullSource]]
    line: Callable[[PullSource, Snapshot], Line]
    environ: Mapping[str, str]
    app: str = ""
    ca_file: Path | None = None
    root: Path = Path("/")
    starts: tuple[StartParts, ...] = ()


def doctor(
    recipe: Recipe | None, library: Library, inputs: DoctorInputs, on_event: Listener
) -> tuple[Symptoms, list[Remedy]]:
    """Return symptoms and remedies. Measures network and disk for a few seconds, and changes nothing."""
    symptoms = examine(recipe, library, inputs, on_event)
    return symptoms, remedies(symptoms)


def examine(recipe: Recipe | None, library: Library, inputs: DoctorInputs, on_event: Listener) -> Symptoms:
    """Measure and collect everything that can slow down a start."""
    needs = recipe.needs if recipe is not None else ()
    endpoints: list[Endpoint] = []
    files: dict[str, File] = {}
    for need in needs:
        on_event(Noted(str(need.ref), "resolving it, and measuring the download rate"))
        for endpoint, snapshot in _query_sources(need, library, inputs):
            if all(other.url != endpoint.url for other in endpoints):
                endpoints.append(endpoint)
            files |= {str(file.digest): file for file in snapshot} if snapshot else {}
    for endpoint in endpoints:
        on_event(Noted(endpoint.url, _describe_endpoint(endpoint)))
    missing = [file for file in files.values() if not library.has(file.digest)]
    here = [library.path(file.digest) for file in files.values() if library.has(file.digest)]
    resident = cached(here)
    listed, away = _listed(recipe, inputs.environ)
    return Symptoms(
        app=inputs.app,
        size=sum(file.size for file in files.values()),
        files=len(files),
        missing=sum(file.size for file in missing),
        library=_place(library.root, inputs.root),
        cache=_place(hf_home(inputs.environ, _home(inputs.environ)), inputs.root),
        free_disk=disk_need(library.root, 0).free,
        free_memory=free_memory(),
        endpoints=tuple(endpoints),
        speed=_speed(here, on_event),
        resident=resident,
        copied=_copied(recipe, here),
        offline=inputs.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"),
        proxied=_proxied(inputs.environ),
        no_memory=_memory(recipe, inputs.environ, on_event),
        no_ca=str(inputs.ca_file) if inputs.ca_file and not inputs.ca_file.is_file() else "",
        starts=inputs.starts,
        listed=listed,
        away=away,
        command=recipe.command if recipe is not None else (),
    )


def _listed(recipe: Recipe | None, environ: Mapping[str, str]) -> tuple[int | None, int]:
    """Return the bytes that the recipe's start list names, and those of them that are not in the page cache."""
    if recipe is None or not recipe.start_list:
        return None, 0
    python = AppPython.of({**environ, **recipe.env}, recipe.folder, recipe.command)
    sizes: dict[str, int] = {}
    for line in plain_ranges(recipe.start_list, start_places(recipe.folder, python)):
        path, _, part = line.partition("\t")
        start, _, stop = part.partition("\t")
        with contextlib.suppress(OSError):
            size = os.lstat(path).st_size
            sizes[path] = min(size, sizes.get(path, 0) + (int(stop) - int(start) if part else size))
    return sum(sizes.values()), sum(max(0, size - cached([path])) for path, size in sizes.items())


def _memory(recipe: Recipe | None, environ: Mapping[str, str], on_event: Listener) -> str:
    """Return why no memory snapshots can be made here, "" if they can."""
    reason = why_not(environ) or (recipe.why_not_saved if recipe is not None else "")
    on_event(
        Noted("memory snapshots", f"not possible: {reason}" if reason else "possible: preheat run --memory-snapshot")
    )
    return reason


def _describe_endpoint(endpoint: Endpoint) -> str:
    """Describe the measurement of an endpoint."""
    line = endpoint.line
    if line is None:
        return endpoint.error or "not measured: no files to download"
    rates = f"{line.one / 1e6:.1f} MB/s with 1 connection, {line.many / 1e6:.1f} MB/s with {line.connections}"
    return f"{rates}, response time {line.answer_s * 1000:.0f} ms"


def _query_sources(need: Need, library: Library, inputs: DoctorInputs) -> list[tuple[Endpoint, tuple[File, ...]]]:
    """Return the files of a need at each source; if all sources fail, those in the library's record."""
    known = library.find(need.ref)
    asked: list[tuple[Endpoint, tuple[File, ...]]] = []
    for source in inputs.sources(need):
        try:
            snapshot = source.hub.resolve(source.ref)
            wanted = snapshot.only(need.files)
            line = inputs.line(source, wanted) if source.ref.hub != FOLDER and wanted.size else None
            asked.append((Endpoint(source.ref.hub, source.name, line), wanted.files))
        except PreheatError as error:
            denied = isinstance(error, AccessDenied)
            asked.append((Endpoint(source.ref.hub, source.name, None, error.message, denied), ()))
    if known is not None and not any(files for _, files in asked):
        asked = [(endpoint, known.only(need.files).files) for endpoint, _ in asked]
    return asked


def _speed(here: Sequence[Path], on_event: Listener) -> Speed | None:
    """Measure disk speed by reading the largest file, which is evicted from the page cache first."""
    if not here:
        return None
    on_event(Noted("the library's disk", "measuring its read speed for a few seconds"))
    largest = max(here, key=lambda path: path.stat().st_size)
    return measure_speed([largest])


def _place(path: Path, root: Path) -> StorageFolder:
    kind = filesystem_of(path)
    contained = any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv"))
    return StorageFolder(str(path), kind, survives=not (contained and kind in _OF_THE_CONTAINER))


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - never raises


def _proxied(environ: Mapping[str, str]) -> bool:
    proxy = any(environ.get(name) for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"))
    direct = environ.get("no_proxy", environ.get("NO_PROXY", "")).split(",")
    return proxy and not {"localhost", "127.0.0.1", "*"} & {name.strip() for name in direct}


def _copied(recipe: Recipe | None, here: Sequence[Path]) -> tuple[str, ...]:
    """List the view folders where links do not work, tested with the smallest file."""
    if recipe is None or not here:
        return ()
    smallest = min(here, key=lambda path: path.stat().st_size)
    places = [recipe.folder / need.at for need in recipe.needs if need.at]
    return tuple(str(place) for place in places if _needs_copy(smallest, place))


def _needs_copy(blob: Path, place: Path) -> bool:
    folder = next(one for one in (place, *place.parents) if one.is_dir())
    try:
        return trial(blob, folder) == COPY
    except OSError:
        return not os.access(folder, os.W_OK)
