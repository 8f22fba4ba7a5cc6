"""Infer: derive a recipe from one observed start, and list the files that it omits, with reasons."""

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from preheat.core.errors import UsageError
from preheat.core.ref import MODELSCOPE as MODELSCOPE_HUB
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.recipes.inference.layout_paths import (
    FLAT,
    HF_CACHE,
    HUB_LAYOUTS,
    KEPT,
    MODELSCOPE,
    LayoutPath,
    at,
    place_of,
    special,
    within,
)
from preheat.recipes.inference.observation import HubFile, Observation, Opened
from preheat.recipes.lock_file import Lock, Pinned
from preheat.recipes.recipe import Need, Recipe

# Bytes. Smaller files are kept even if never opened: the app may check only that they exist.
LARGE = 1_000_000
_LATE = float("inf")


@dataclass(frozen=True, slots=True)
class OmittedFile:
    """A file of `size` bytes that the recipe omits, for `reason`."""

    what: str
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class Inferred:
    """A recipe with its needs in the order in which the app reads them, its lock, and the omitted files."""

    recipe: Recipe
    lock: Lock
    left_out: tuple[OmittedFile, ...]


@dataclass(frozen=True, slots=True)
class _Use:
    """A file of a snapshot that the app looked for at a place, first at `when` seconds after the start."""

    snapshot: Snapshot
    file: File
    place: LayoutPath
    when: float


def infer(seen: Observation, *, keep_unread: bool = False) -> Inferred:
    """Return a recipe and its lock. Large files that were downloaded but never opened are omitted.

    With `keep_unread`, or if opens by native code could not be observed, no file from a hub is omitted.
    """
    left_out: list[OmittedFile] = []
    uses = [*_from_hubs(seen, left_out, keep=keep_unread or not seen.sees_native), *_from_elsewhere(seen, left_out)]
    env: dict[str, str] = {}
    groups: dict[tuple[Ref, str, str, str], list[_Use]] = {}
    for use in sorted(uses, key=lambda use: use.when):
        where, variable = at(use.place, seen.folder, seen.caches)
        if variable:
            env[variable] = f"{{dir}}/{KEPT}/{variable}"
        groups.setdefault((use.snapshot.ref, use.snapshot.commit, use.place.view, where), []).append(use)
    pinned = tuple(_pinned(where, group) for (_, _, _, where), group in groups.items())
    recipe = Recipe(
        name=seen.name,
        folder=Path(seen.folder),
        command=tuple(_portable(word, seen.folder) for word in seen.command),
        ready=seen.ready,
        env=env,
        needs=tuple(one.need for one in pinned),
        makes=_makes(seen),
    )
    return Inferred(recipe, Lock(pinned), tuple(sorted(left_out, key=lambda one: (-one.size, one.what))))


def _pinned(where: str, uses: Sequence[_Use]) -> Pinned:
    """Return one need for files of one folder, in the order of their opens, which the warm-up uses."""
    snapshot, view = uses[0].snapshot, uses[0].place.view
    files = {use.file.path: use.file for use in uses}
    to = {use.file.path: use.place.name for use in uses if use.place.name and use.place.name != use.file.path}
    # A URL is one file, and needs no pattern.
    patterns = () if snapshot.ref.hub == "url" else tuple(glob.escape(path) for path in files)
    need = Need(snapshot.ref, patterns, view, where, to=to)
    ordered = tuple(sorted(files.values(), key=lambda file: file.path))
    return Pinned(need, replace(snapshot, files=ordered))


# ---- files from hubs


def _from_hubs(seen: Observation, left_out: list[OmittedFile], *, keep: bool) -> Iterable[_Use]:
    by_repo: dict[tuple[Ref, str], list[HubFile]] = {}
    for served in seen.served:
        by_repo.setdefault((served.ref, served.commit), []).append(served)
    for (ref, commit), files in by_repo.items():
        snapshot = Snapshot(ref, commit, ())
        unread = []
        places: list[LayoutPath] = []
        for served in {one.file.path: one for one in files}.values():
            found = _looked_for(served, seen)
            if not found:
                unread.append(served.file)
            for place, when in found:
                places.append(place)
                yield _Use(snapshot, served.file, place, when)
        usual = next((replace(place, name="") for place in places), _usual(ref))
        for file in unread:
            if file.size > LARGE and not keep:
                left_out.append(OmittedFile(f"{ref}: {file.path}", file.size, "downloaded, never opened"))
            else:
                yield _Use(snapshot, file, usual, _LATE)


def _looked_for(served: HubFile, seen: Observation) -> list[tuple[LayoutPath, float]]:
    """Return the places where the app opened a file, each with the time of the first open.

    At most one of the places is in a hub's cache. A place outside the hub's cache may belong to the app's own copy of
    the file. So the place in the hub's cache is returned too: the hub's client looks for the file there.
    """
    found: dict[LayoutPath, float] = {}
    paths: dict[LayoutPath, str] = {}
    for opened in seen.opened:
        if served.file.digest in opened.digests and _could_be(opened, served, seen):
            place = place_of(opened.path, served.file.path, served.ref.repo, seen.local_dirs)
            found[place] = min(opened.at, found.get(place, _LATE))
            paths.setdefault(place, opened.path)
    beyond = {place: when for place, when in found.items() if place.view not in HUB_LAYOUTS}
    within = sorted((item for item in found.items() if item[0] not in beyond), key=lambda item: item[1])[:1]
    if not beyond:
        return within
    # The app may request a file from the hub's client again that it copied out of the hub's cache.
    sources = {target: source for source, target in seen.copied}
    for place, when in list(beyond.items()):
        source = sources.get(paths[place])
        origin = place_of(source, served.file.path, served.ref.repo, ()) if source else None
        if origin is not None and origin.view in HUB_LAYOUTS:
            beyond[origin] = when
    return sorted((beyond | dict(within)).items(), key=lambda item: (item[1], item[0].view))


def _could_be(opened: Opened, served: HubFile, seen: Observation) -> bool:
    """Return whether this repository's file was opened, and not another repository's with the same bytes."""
    slug = served.ref.slug
    if "--" in opened.path and f"/{slug}/" not in opened.path:
        return not any(f"/{other.ref.slug}/" in opened.path for other in seen.served if other.ref != served.ref)
    return True


def _usual(ref: Ref) -> LayoutPath:
    return LayoutPath(MODELSCOPE if ref.hub == MODELSCOPE_HUB else HF_CACHE, "")


# ---- files from other URLs


def _from_elsewhere(seen: Observation, left_out: list[OmittedFile]) -> Iterable[_Use]:
    served = {one.file.digest for one in seen.served}
    plain = _variables_in_plain_use(seen)
    for loaded in {one.path: one for one in seen.loaded if one.digest not in served}.values():
        try:
            ref = Ref.parse(f"{loaded.url}#sha256={loaded.digest.hex}")
        except UsageError as error:
            left_out.append(
                OmittedFile(loaded.url.partition("?")[0], loaded.size, f"cannot be a need: {error.message}")
            )
            continue
        opens = [opened.at for opened in seen.opened if opened.path == loaded.path]
        if not opens and loaded.size > LARGE and seen.sees_native:
            left_out.append(OmittedFile(loaded.url, loaded.size, "downloaded, never opened"))
            continue
        place = special(loaded.path, seen.caches)
        if place is None or any(within(place.base, seen.caches[name]) == "" for name in plain):
            base, _, own = loaded.path.rpartition("/")
            place = LayoutPath(FLAT, base, own)
        file = File(ref.file_name, loaded.size, loaded.digest)
        yield _Use(Snapshot(ref, ref.revision, (file,)), file, place, min(opens, default=_LATE))


def _variables_in_plain_use(seen: Observation) -> set[str]:
    """Return the cache variables whose folders contain files outside whisper's and torch hub's layouts."""
    return {
        name
        for name, cache in seen.caches.items()
        for loaded in seen.loaded
        if within(loaded.path, cache) is not None and special(loaded.path, seen.caches) is None
    }


# ---- files that the app creates


def _makes(seen: Observation) -> tuple[str, ...]:
    """Return the files that the start created in the app's folder, relative to it, the largest first."""
    own = [
        made for made in seen.made if not any(within(made.path, cache) is not None for cache in seen.caches.values())
    ]
    places = (within(made.path, seen.folder) for made in sorted(own, key=lambda made: -made.size))
    return tuple(place for place in places if place)


def _portable(word: str, folder: str) -> str:
    below = within(word, folder)
    return word if below is None else f"{{dir}}/{below}" if below else "{dir}"
