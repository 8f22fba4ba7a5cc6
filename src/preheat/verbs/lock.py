"""Lock: pin a recipe's needs to commits, sizes and digests, or report which have changed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from preheat.core.errors import HubError, UsageError
from preheat.core.events import Listener, Noted
from preheat.core.ref import MADE, Ref
from preheat.core.snapshot import Snapshot
from preheat.core.values.replace import replace
from preheat.disk.temporary_file import tidy, write_whole
from preheat.net.retry import USUAL, RetryPolicy
from preheat.recipes.lock_file import Archive, Lock, Pinned
from preheat.recipes.lock_writer import lock_text
from preheat.recipes.optional_needs import UnlessOptional
from preheat.recipes.recipe import Need, Recipe
from preheat.verbs.pull_sources import PullSource, resolve

SourcesOf = Callable[[Need], Sequence[PullSource]]


@dataclass(frozen=True, slots=True)
class Moved:
    """A need whose files have changed: `was` and `now` are commits, the other fields are paths."""

    ref: Ref
    was: str
    now: str
    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]


def pin(
    recipe: Recipe,
    sources_of: SourcesOf,
    on_event: Listener,
    patience: RetryPolicy = USUAL,
    before: Lock | None = None,
) -> Lock:
    """Resolve each need to its current commit, without downloading any file. Raise HubError if one cannot be resolved.

    A need that is already locked keeps its digests: raise IntegrityError if a hub returns different ones. What no hub
    can list is taken from the library, else from the lock `before`: members of archives, and what an app's start made.
    An optional need that no hub has keeps its earlier pin, else it is left out, with an event.
    """
    before, pins = before or Lock(()), []
    for need in recipe.needs:
        pinned = earlier = before.find(need)
        with UnlessOptional(need, on_event):
            pinned = _pinned(need, sources_of(need), on_event, patience, earlier)
        if pinned is not None:
            pins.append(pinned)
    return Lock(tuple(pins), before.start_list)


def keep_lock(path: Path, lock: Lock) -> None:
    """Write a lock beside its recipe, atomically. Raise UsageError if it cannot be written."""
    try:
        tidy(path)
        write_whole(path, lock_text(lock, path.absolute().parent).encode())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="check its folder's owner and disk") from (
            error
        )


def moved(before: Lock, now: Lock) -> tuple[Moved, ...]:
    """Compare two locks of one recipe; return the needs whose commit or files changed."""
    found = []
    for new in now.needs:
        old = before.find(new.need)
        if old is not None and (one := _difference(old, new)) is not None:
            found.append(one)
    return tuple(found)


def _pinned(
    need: Need, sources: Sequence[PullSource], on_event: Listener, patience: RetryPolicy, before: Pinned | None
) -> Pinned:
    if need.unpack:
        return _pinned_archive(need, sources, on_event, patience, before)
    if need.ref.hub == MADE:
        return _pinned_made(need, sources, on_event, patience, before)
    locked = need.locked  # set for built-in recipes, which come with a lock
    source, listed = resolve(
        sources, on_event, patience, lambda listed: listed if locked is None else listed.held_to(locked)
    )
    if source.ref.hub != need.ref.hub:
        # The commit belongs to the alias repository; the need's own hub does not know it.
        on_event(Noted(str(need.ref), f"pinned with the files of {source.ref}, because its own hub did not respond"))
    wanted = listed.only(need.files)
    return Pinned(need, replace(wanted, ref=need.ref))


def _pinned_archive(
    need: Need, sources: Sequence[PullSource], on_event: Listener, patience: RetryPolicy, before: Pinned | None
) -> Pinned:
    """Pin the members that the library or the lock knows; else only the archive, whose digest stands for them."""
    kept = next((one for one in sources if one.ref == need.stored), None)
    members = None if kept is None else kept.hub.resolve(kept.ref).only(need.files)
    if before is not None and before.archive is not None and (members is None or not before.partly):
        return before if members is None else msgspec.structs.replace(before, snapshot=members)
    told = resolve([one for one in sources if one is not kept], on_event, patience)[1]
    archive = Archive(told.size, need.ref.digest)
    if members is None:
        on_event(Noted(str(need.ref), "the lock has its digest, and those of its members after the next pull and lock"))
        return Pinned(need, Snapshot(need.stored, told.commit, ()), partly=True, archive=archive)
    return Pinned(need, members, archive=archive)


def _pinned_made(
    need: Need, sources: Sequence[PullSource], on_event: Listener, patience: RetryPolicy, before: Pinned | None
) -> Pinned:
    """Pin the version in the library or on a mirror; else keep the earlier one."""
    try:
        told = resolve(sources, on_event, patience)[1]
    except HubError:
        if before is None:
            raise
        on_event(Noted(str(need.ref), "pinned as before: neither the library nor a mirror has it"))
        return before
    depends = need.depends or (before.depends if before is not None else None)
    return Pinned(need, replace(told.only(need.files), ref=need.ref), depends=depends)


def _difference(old: Pinned, new: Pinned) -> Moved | None:
    if new.partly and new.need.unpack and old.snapshot.commit == new.snapshot.commit:
        return None  # the archive is the same, and so are its members
    was, now = _digests(old.snapshot), _digests(new.snapshot)
    changed = tuple(sorted(path for path in was.keys() & now.keys() if was[path] != now[path]))
    added, removed = tuple(sorted(now.keys() - was.keys())), tuple(sorted(was.keys() - now.keys()))
    if not changed and not added and not removed and old.snapshot.commit == new.snapshot.commit:
        return None
    return Moved(new.need.ref, old.snapshot.commit, new.snapshot.commit, changed, added, removed)


def _digests(snapshot: Snapshot) -> dict[str, tuple[int, str]]:
    return {file.path: (file.size, str(file.digest)) for file in snapshot.files}
