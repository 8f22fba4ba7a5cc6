"""Pull plan: what a pull downloads, takes over, and places, and what prevents it; made without changing anything."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from preheat.core.errors import HubError, IntegrityError, LibraryError, NoSize, NotFound
from preheat.core.events import Listener, Noted, OptionalMissing
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.disk.free_space import DiskNeed, disk_needs, require_space
from preheat.library.digest_check import lacking
from preheat.library.library import Library
from preheat.net.retry import HASTY, USUAL, RetryPolicy
from preheat.verbs.pull_sources import ALL_FILES, FileSelection, PullSource, checked, is_same, named, resolve

if TYPE_CHECKING:
    from preheat.library.adopt.known_caches import KnownCaches
    from preheat.recipes.recipe import Recipe
    from preheat.verbs.placing.allowed_places import Site
    from preheat.verbs.placing.view_plan import ViewsPlan
    from preheat.verbs.upkeep.cached_files import CachedFile


LateSites = Callable[[Snapshot], "Sequence[Site]"]


@dataclass(frozen=True, slots=True)
class Unpacking:
    """An archive to unpack: its kind, and its members as far as they are known; None before the first unpacking."""

    kind: str
    members: Snapshot | None


@dataclass(frozen=True, slots=True)
class NeedPlan:
    """What to download of one model: `wanted` are the requested files, `to_fetch` those to download, one per digest.

    `missing` is the number of bytes to receive, without those of interrupted downloads. `source` is the hub that
    resolved the model, and `listed` its snapshot; both are None if all files of a recorded commit are in the library,
    and no hub was queried. `rate` is the measured download rate in bytes per second, None if it was not measured.

    With `unpacking`, `wanted` is the archive, which is removed after its members were stored. `late` returns the views
    of members that are not known yet. `cached` are files in other programs' caches, which are taken instead of
    downloaded. The app can start without an `optional` model.
    """

    sources: tuple[PullSource, ...]
    selection: FileSelection
    wanted: Snapshot
    source: PullSource | None = None
    listed: Snapshot | None = None
    to_fetch: tuple[File, ...] = ()
    missing: int = 0
    rate: float | None = None
    unpacking: Unpacking | None = None
    late: LateSites | None = None
    cached: tuple["CachedFile", ...] = ()
    optional: bool = False

    @property
    def files(self) -> Snapshot | None:
        """Return the requested files; None if they are members of an archive that are not known yet."""
        return self.wanted if self.unpacking is None else self.unpacking.members

    @property
    def claims(self) -> tuple[Snapshot, ...]:
        """Return what no prune may remove until it is recorded."""
        members = self.unpacking.members if self.unpacking is not None else None
        return (self.wanted,) if members is None else (self.wanted, members)

    @property
    def ref(self) -> Ref:
        """Return the requested ref."""
        return self.sources[0].ref

    @property
    def commit(self) -> str:
        """Return the commit of the requested files."""
        return self.wanted.commit

    @property
    def size(self) -> int:
        """Return the size of all requested files in bytes; of an archive to unpack, and of its members if known."""
        return sum(one.size for one in self.claims)

    @property
    def names(self) -> dict[tuple[Ref, str], None]:
        """Return the refs of the model in all its hubs, each with its commit: the names of its folders in caches."""
        refs = dict.fromkeys((self.ref, *(source.ref for source in self.sources)))
        return dict.fromkeys((ref, self.commit if is_same(ref, self.ref) else ref.revision) for ref in refs)

    @property
    def local(self) -> int:
        """Return how many of the missing bytes are read on this machine, and not downloaded."""
        return self.missing if self.source is not None and self.source.local else 0

    @property
    def seconds(self) -> float | None:
        """Return the time for the missing bytes at the measured rate; None if it was not measured."""
        return self.missing / self.rate if self.rate else None


@dataclass(frozen=True, slots=True)
class PullPlan:
    """A pull of several models: what to download of each, the views to place, and the space needed on each disk.

    The first of `disks` is the library's; `writable`: this user can write to the library. `caches`: where to look for
    files of other programs, None for nowhere. Sizes are in bytes. Optional models come last;
    `left_out` are those that no hub has. `apps` are the recipes that the needs are from. `unavailable`: why files that
    the app's start made are on no hub; the others are pulled all the same.
    """

    needs: tuple[NeedPlan, ...]
    disks: tuple[DiskNeed, ...]
    views: "ViewsPlan | None" = None
    writable: bool = True
    caches: "KnownCaches | None" = None
    left_out: tuple[OptionalMissing, ...] = ()
    apps: tuple["Recipe", ...] = ()
    unavailable: tuple[HubError, ...] = ()

    def require_available(self) -> None:
        """Raise the hub's error if files that the app's start made are on no hub."""
        for error in self.unavailable:
            raise error

    @property
    def size(self) -> int:
        """Return the size of all requested files."""
        return sum(need.size for need in self.needs)

    @property
    def missing(self) -> int:
        """Return the bytes to download, or to copy from elsewhere on this machine: the total of the progress bar."""
        return sum(need.missing for need in self.needs)

    @property
    def local(self) -> int:
        """Return how many of the missing bytes are read on this machine, and not downloaded."""
        return sum(need.local for need in self.needs)

    @property
    def cached_files(self) -> tuple["CachedFile", ...]:
        """Return the files in other programs' caches, which are taken from there and not downloaded."""
        return tuple(one for need in self.needs for one in need.cached)

    @property
    def fits(self) -> bool:
        """Whether all disks have enough free space."""
        return all(disk.fits for disk in self.disks)

    @property
    def seconds(self) -> float | None:
        """Return the time for all missing bytes at the measured rates; None if nothing is missing or measured."""
        known = [need.seconds for need in self.needs if need.seconds is not None]
        return sum(known) if known else None

    def require(self) -> None:
        """Raise Occupied if files of the user prevent a view, NoSpace if a disk has too little free space.

        Raise LibraryError if files are missing, and the library is read-only.
        """
        if not self.writable and any(need.to_fetch or need.cached for need in self.needs):
            raise LibraryError(
                f"{self.disks[0].at} is read-only for this user", hint="choose another folder with --library"
            )
        if self.views is not None:
            self.views.require()
        require_space(self.disks)


def plan_need(
    sources: Sequence[PullSource],
    library: Library,
    on_event: Listener,
    selection: FileSelection = ALL_FILES,
    patience: RetryPolicy = USUAL,
) -> NeedPlan:
    """Resolve a model without downloading it. No hub is asked if all files of a pinned commit are in the library.

    If the library has the files that another program's cache had of the commit, and no hub lists more, those are all.
    Raise HubError, IntegrityError, or AccessDenied if the files are gated for this token.
    """
    ref, several = sources[0].ref, tuple(sources)
    here = _here(ref.members(selection.unpack) if selection.unpack else ref, library, selection)
    if here is not None:
        if here.unlisted is None:
            return NeedPlan(several, selection, here)
        patience = HASTY  # the library is another source
    if selection.unpack:
        return _plan_unpacking(several, on_event, selection, patience)
    try:
        source, listed = resolve(sources, on_event, patience, lambda listed: checked(listed, ref, selection, library))
    except NoSize:
        if selection.known is None:
            raise
        source, listed = sources[0], replace(selection.known, ref=ref)
    except HubError as error:
        if here is None:
            raise
        on_event(Noted(str(ref), f"has the files of an adopted cache; the hub's list is unknown: {error.message}"))
        return NeedPlan(several, selection, here)
    return NeedPlan(several, selection, selection.of(named(listed, ref)), source, listed)


def _plan_unpacking(
    sources: tuple[PullSource, ...], on_event: Listener, selection: FileSelection, patience: RetryPolicy
) -> NeedPlan:
    """Plan to download an archive and to unpack it; or only its members, from a library or mirror that has them.

    Members are accepted only with the digests of a lock, because the archive's digest does not prove them.
    """
    holders = tuple(one for one in sources if one.ref.hub == selection.unpack)
    if selection.known is not None and holders:
        with contextlib.suppress(HubError, IntegrityError):
            source, listed = resolve(holders, on_event, patience, selection.held)
            return NeedPlan(holders, selection, selection.of(listed), source, listed)
    servers = tuple(one for one in sources if one not in holders)
    source = servers[0]
    try:
        source, listed = resolve(servers, on_event, patience)
    except NoSize:
        if selection.archive_size is None:
            raise
        ref = source.ref
        listed = Snapshot(ref, ref.revision, (File(ref.file_name, selection.archive_size, ref.digest),))
    return NeedPlan(servers, selection, listed, source, listed, unpacking=Unpacking(selection.unpack, selection.known))


def plan_pull(
    needs: Iterable[NeedPlan],
    library: Library,
    views: "ViewsPlan | None" = None,
    caches: "KnownCaches | None" = None,
    *,
    add_names: bool = False,
) -> PullPlan:
    """Compare resolved models and their views with the library, caches and the disks' free space; return the plan.

    A file that several models share is downloaded for the first of them only. `add_names`: give blobs that the library
    has under another digest this name too (see `with_known_digests`); otherwise nothing is changed.
    """
    coming = {own.file.digest for own in views.own} if views is not None else set()
    planned, room = [], 0 if views is None else views.copied_in
    for need in needs:
        # Without a source, all files are in the library.
        missing = lacking(library, need.wanted, add_names=add_names) if need.source is not None else ()
        files = tuple(file for file in missing if file.digest not in coming)
        coming |= {file.digest for file in files}
        cached = _cached(need, files, caches, library)
        if cached:
            elsewhere = {one.file.digest for one in cached}
            files = tuple(file for file in files if file.digest not in elsewhere)
            room += sum(one.copied for one in cached)
        size = sum(file.size - library.progress(file) for file in files)
        planned.append(replace(need, to_fetch=files, missing=size, cached=cached))
        room += sum(max(file.size - library.partial_size(file), 0) for file in files) + _to_unpack(need, library)
    disks = disk_needs([(library.root, room), *(views.copies if views is not None else ())])
    return PullPlan(tuple(planned), disks, views, library.writable, caches)


def _cached(
    need: NeedPlan, files: Sequence[File], caches: "KnownCaches | None", library: Library
) -> tuple["CachedFile", ...]:
    if caches is None or not files:
        return ()
    from preheat.verbs.upkeep.cached_files import find_cached  # imported here: most pulls do not need it

    return find_cached(files, need.names, caches, library)


def _to_unpack(need: NeedPlan, library: Library) -> int:
    """Return the bytes that the members of an archive need; as many as the archive, if they are not known yet."""
    if need.unpacking is None:
        return 0
    members = need.unpacking.members
    return need.wanted.size if members is None else sum(file.size for file in library.missing(members))


def _here(ref: Ref, library: Library, selection: FileSelection) -> Snapshot | None:
    """Return the requested files of a recorded commit, None if any is missing. A commit never changes.

    Its `unlisted` is empty if the commit may have more files, of which nothing is known.
    """
    known = library.find(ref) if ref.pinned else None
    if known is None:
        return None
    try:
        wanted = selection.of(known)
    except (NotFound, IntegrityError):
        return None  # the hub may have more files than the record
    return None if wanted.unlisted or lacking(library, wanted, add_names=False) else wanted
