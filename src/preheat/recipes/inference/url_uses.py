"""URL uses: the files and archives from URLs that are no hub's, with the places that the app put them in; pure."""

import glob
from collections.abc import Iterable

from preheat.core.errors import UsageError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.recipes.inference.bookkeeping import is_code
from preheat.recipes.inference.hub_uses import LATE, Use
from preheat.recipes.inference.layout_paths import FLAT, LayoutPath, special, within
from preheat.recipes.inference.observation import Loaded, Observation, Unpacked
from preheat.recipes.inference.omitted import LARGE, OmittedFile
from preheat.recipes.inference.portable_places import PortablePlaces
from preheat.recipes.lock_file import Archive, Pinned
from preheat.recipes.recipe import Need


def url_uses(seen: Observation, left_out: list[OmittedFile], *, keep: bool) -> Iterable[Use]:
    """Yield the uses of files from URLs. Large ones that were never opened go to `left_out`, unless `keep` is set."""
    served = {one.file.digest for one in seen.served}
    plain = _variables_in_plain_use(seen)
    times = _times(seen)
    for loaded in {one.path: one for one in seen.loaded if one.path and one.digest not in served}.values():
        ref = _ref(loaded, left_out)
        if ref is None:
            continue
        when = times.get(loaded.path)
        if when is None and loaded.size > LARGE and not keep:
            left_out.append(OmittedFile(loaded.url, loaded.size, "downloaded, never opened"))
            continue
        place = special(loaded.path, seen.caches)
        if place is None or any(within(place.base, seen.caches[name]) == "" for name in plain):
            base, _, own = loaded.path.rpartition("/")
            place = LayoutPath(FLAT, base, own)
        file = File(ref.file_name, loaded.size, loaded.digest)
        at = LATE if when is None else when
        yield Use(Snapshot(ref, ref.revision, (file,)), file, place, at, loaded.path)


def unpacked_needs(
    seen: Observation, places: PortablePlaces, left_out: list[OmittedFile], *, keep: bool
) -> Iterable[tuple[float, Pinned]]:
    """Yield a need for each archive, with its members that the app unpacked, and the time of their first open."""
    times = _times(seen)
    for one in seen.unpacked:
        ref = _ref(one.archive, left_out)
        if ref is None:
            continue
        wanted = {member.name: member for member in one.members}
        for member in one.members:
            if member.size > LARGE and member.path not in times and not keep and not is_code(member.path):
                del wanted[member.name]
                what = f"{one.archive.url}: {member.name}"
                left_out.append(OmittedFile(what, member.size, "unpacked, never opened"))
        if wanted:
            when = min((times.get(member.path, LATE) for member in wanted.values()), default=LATE)
            yield when, _unpacked(one, ref, list(wanted), places)


def _unpacked(one: Unpacked, ref: Ref, wanted: list[str], places: PortablePlaces) -> Pinned:
    members = {member.name: member for member in one.members}
    to: dict[str, str] = {one.prefix + "/": ""} if one.prefix else {}
    for name in wanted:
        below = within(members[name].path, one.base)
        usual = name[len(one.prefix) + 1 :] if one.prefix else name
        if below is not None and below != usual:
            to[name] = below
    files = tuple(File(name, members[name].size, members[name].digest) for name in sorted(wanted))
    at = places.relative(places.shorten(one.base))
    patterns = _patterns(wanted, {*one.others, *(members.keys() - set(wanted))})
    need = Need(ref, patterns, FLAT, at, to=to, unpack=one.kind)
    archive = Archive(one.archive.size, one.archive.digest)
    return Pinned(need, Snapshot(need.stored, ref.revision, files), archive=archive)


def _patterns(wanted: list[str], others: set[str]) -> tuple[str, ...]:
    """Return patterns that match the `wanted` members and no others: whole folders where possible; none for all."""
    if not others:
        return ()
    found: dict[str, None] = {}
    for name in sorted(wanted):
        parts = name.split("/")
        whole = (folder for depth in range(1, len(parts)) if (folder := "/".join(parts[:depth]) + "/"))
        folder = next((one for one in whole if not any(other.startswith(one) for other in others)), "")
        found[f"{glob.escape(folder)}*" if folder else glob.escape(name)] = None
    return tuple(found)


def _ref(loaded: Loaded, left_out: list[OmittedFile]) -> Ref | None:
    try:
        return Ref.parse(f"{loaded.url}#sha256={loaded.digest.hex}")
    except UsageError as error:
        left_out.append(OmittedFile(loaded.url.partition("?")[0], loaded.size, f"cannot be a need: {error.message}"))
        return None


def _times(seen: Observation) -> dict[str, float]:
    """Return when each path was first opened, in seconds after the start."""
    times: dict[str, float] = {}
    for opened in seen.opened:
        times[opened.path] = min(opened.at, times.get(opened.path, LATE))
    return times


def _variables_in_plain_use(seen: Observation) -> set[str]:
    """Return the cache variables whose folders contain files outside whisper's and torch hub's layouts."""
    paths = [
        *(one.path for one in seen.loaded if one.path),
        *(one.path for one in seen.made),
        *(member.path for one in seen.unpacked for member in one.members[:1]),
    ]
    return {
        name
        for name, cache in seen.caches.items()
        for path in paths
        if within(path, cache) is not None and special(path, seen.caches) is None
    }
