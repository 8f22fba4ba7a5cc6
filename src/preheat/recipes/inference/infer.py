"""Infer: derive a recipe from one observed start, and list the files that it omits, with reasons."""

import glob
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.core.ref import Ref
from preheat.core.values.replace import replace
from preheat.recipes.inference.hub_uses import LATE, Use, hub_uses
from preheat.recipes.inference.made_needs import made_needs
from preheat.recipes.inference.observation import Observation, Opened
from preheat.recipes.inference.omitted import OmittedFile
from preheat.recipes.inference.portable_places import PortablePlaces
from preheat.recipes.inference.url_uses import unpacked_needs, url_uses
from preheat.recipes.lock_file import Lock, Pinned
from preheat.recipes.recipe import Need, Recipe


@dataclass(frozen=True, slots=True)
class Inferred:
    """A recipe with its needs in the order in which the app reads them, its lock, and the omitted files."""

    recipe: Recipe
    lock: Lock
    left_out: tuple[OmittedFile, ...]


def infer(seen: Observation, *, keep_unread: bool = False) -> Inferred:
    """Return a recipe and its lock. Large files that were downloaded or written but never opened are omitted.

    With `keep_unread`, or if opens by native code could not be observed, none is omitted for that.
    """
    left_out: list[OmittedFile] = []
    keep = keep_unread or not seen.sees_native
    places = PortablePlaces.of(seen)
    uses = [*hub_uses(seen, left_out, keep=keep), *url_uses(seen, left_out, keep=keep)]
    groups: dict[tuple[Ref, str, str, str], list[Use]] = {}
    for use in sorted(uses, key=lambda use: use.when):
        key = (use.snapshot.ref, use.snapshot.commit, use.place.view, places.at(use.place))
        groups.setdefault(key, []).append(use)
    timed = [(group[0].when, _pinned(where, group)) for (_, _, _, where), group in groups.items()]
    timed += unpacked_needs(seen, places, left_out, keep=keep)
    taken = {use.path for use in uses} | {member.path for one in seen.unpacked for member in one.members}
    timed += made_needs(seen, places, taken, left_out, keep=keep)
    pinned = tuple(one for _, one in sorted(timed, key=lambda item: item[0]))
    recipe = Recipe(
        name=seen.name,
        folder=Path(seen.folder),
        command=tuple(places.word(word) for word in seen.command),
        ready=places.word(seen.ready),
        first=places.word(seen.first),
        env=dict(seen.env),
        needs=tuple(one.need for one in pinned),
    )
    return Inferred(
        recipe, Lock(pinned, seen.start_list), tuple(sorted(left_out, key=lambda one: (-one.size, one.what)))
    )


def also_opened(seen: Observation, paths: Collection[str]) -> Observation:
    """Return the observation, as if the start had at its end opened those of its files that `paths` has.

    `paths` are in the form of `Places.shorten`, which is the same in another start.
    """
    places = PortablePlaces.of(seen)
    files = {one.path: one.size for one in (*seen.made, *seen.put)}
    files |= {one.path: one.size for one in seen.loaded}
    files |= {member.path: member.size for one in seen.unpacked for member in one.members}
    late = (Opened(path, LATE, size) for path, size in files.items() if places.shorten(path) in paths)
    return replace(seen, opened=(*seen.opened, *late))


def _pinned(where: str, uses: Sequence[Use]) -> Pinned:
    """Return one need for files of one folder, in the order of their opens, which the warm-up uses."""
    snapshot, view = uses[0].snapshot, uses[0].place.view
    files = {use.file.path: use.file for use in uses}
    to = {use.file.path: use.place.name for use in uses if use.place.name and use.place.name != use.file.path}
    # A URL is one file, and needs no pattern.
    patterns = () if snapshot.ref.hub == "url" else tuple(glob.escape(path) for path in files)
    need = Need(snapshot.ref, patterns, view, where, to=to)
    ordered = tuple(sorted(files.values(), key=lambda file: file.path))
    return Pinned(need, replace(snapshot, files=ordered))
