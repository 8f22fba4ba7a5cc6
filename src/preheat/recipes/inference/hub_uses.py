"""Hub uses: the files from hubs that an app looked for, each with the places where it did; pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from preheat.core.ref import MODELSCOPE as MODELSCOPE_HUB
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.recipes.inference.bookkeeping import is_output
from preheat.recipes.inference.layout_paths import HF_CACHE, HUB_LAYOUTS, MODELSCOPE, LayoutPath, place_of
from preheat.recipes.inference.observation import HubFile, Observation, Opened
from preheat.recipes.inference.omitted import LARGE, OmittedFile

LATE = float("inf")
# Bytes. Voices and pictures in the app's own folder are kept up to this size: the app fetches those that it misses.
_MEDIA = 50_000_000
# Bytes. Below, files of other programs may have the same content.
_ALIKE = 64


@dataclass(frozen=True, slots=True)
class Use:
    """A file of a snapshot that the app looked for at a place, first at `when` seconds after the start.

    `path` is the file's full path, if it was found on disk.
    """

    snapshot: Snapshot
    file: File
    place: LayoutPath
    when: float
    path: str = ""


def hub_uses(seen: Observation, left_out: list[OmittedFile], *, keep: bool) -> Iterable[Use]:
    """Yield the uses of files from hubs. Large files that were never opened go to `left_out`, unless `keep` is set."""
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
            for place, when, path in found:
                places.append(place)
                yield Use(snapshot, served.file, place, when, path)
        usual = next((replace(place, name="") for place in places), _usual(ref))
        for file in unread:
            if file.size > LARGE and not keep:
                left_out.append(OmittedFile(f"{ref}: {file.path}", file.size, "downloaded, never opened"))
            else:
                yield Use(snapshot, file, usual, LATE)


def _looked_for(served: HubFile, seen: Observation) -> list[tuple[LayoutPath, float, str]]:
    """Return the places where the app opened or put a file, each with the time of the first open, and the path.

    At most one of the places is in a hub's cache. A place outside the hub's cache may belong to the app's own copy of
    the file. So the place in the hub's cache is returned too: the hub's client looks for the file there.
    """
    found: dict[LayoutPath, float] = {}
    paths: dict[LayoutPath, str] = {}
    for opened in seen.opened:
        same = served.file.digest in opened.digests and not _by_chance(opened.path, served.file)
        if same and _could_be(opened, served, seen):
            place = place_of(opened.path, served.file.path, served.ref.repo, seen.local_dirs)
            found[place] = min(opened.at, found.get(place, LATE))
            paths.setdefault(place, opened.path)
    if not found:
        return _put(served, seen)
    beyond = {place: when for place, when in found.items() if place.view not in HUB_LAYOUTS}
    within = sorted((item for item in found.items() if item[0] not in beyond), key=lambda item: item[1])[:1]
    if not beyond:
        return [(place, when, paths.get(place, "")) for place, when in within]
    # The app may request a file from the hub's client again that it copied out of the hub's cache.
    sources = {target: source for source, target in seen.copied}
    for place, when in list(beyond.items()):
        source = sources.get(paths[place])
        origin = place_of(source, served.file.path, served.ref.repo, ()) if source else None
        if origin is not None and origin.view in HUB_LAYOUTS:
            beyond[origin] = when
    ordered = sorted((beyond | dict(within)).items(), key=lambda item: (item[1], item[0].view))
    return [(place, when, paths.get(place, "")) for place, when in ordered]


def _by_chance(path: str, file: File) -> bool:
    """Return whether a file may have a repository's bytes by chance, as an empty __init__.py has."""
    # In a hub's cache, files are named by their digests.
    return file.size < _ALIKE and "/blobs/" not in path and path.rpartition("/")[2] != file.path.rpartition("/")[2]


def _put(served: HubFile, seen: Observation) -> list[tuple[LayoutPath, float, str]]:
    """Return where a file that was never opened was written, outside the caches: the app looks whether it is there."""
    places = [
        (place_of(put.path, served.file.path, served.ref.repo, seen.local_dirs), put.path)
        for put in seen.put
        if put.digest == served.file.digest and not _by_chance(put.path, served.file)
    ]
    if not places or any(place.view in HUB_LAYOUTS for place, _ in places):
        return []
    place, path = min(places, key=lambda one: bool(one[0].name))
    most = _MEDIA if is_output(path, media=True) else LARGE
    return [(place, LATE, path)] if served.file.size <= most else []


def _could_be(opened: Opened, served: HubFile, seen: Observation) -> bool:
    """Return whether this repository's file was opened, and not another repository's with the same bytes."""
    slug = served.ref.slug
    if "--" in opened.path and f"/{slug}/" not in opened.path:
        return not any(f"/{other.ref.slug}/" in opened.path for other in seen.served if other.ref != served.ref)
    return True


def _usual(ref: Ref) -> LayoutPath:
    return LayoutPath(MODELSCOPE if ref.hub == MODELSCOPE_HUB else HF_CACHE, "")
