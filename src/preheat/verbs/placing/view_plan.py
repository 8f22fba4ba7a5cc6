"""View plan: the views that a pull will place, made before it downloads; nothing is changed."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from preheat.core.digest import Digest
from preheat.core.events import Adopted, Listener, Noted
from preheat.core.placement import THEIRS
from preheat.core.snapshot import File
from preheat.library.digest_check import with_known_digests
from preheat.library.library import Library
from preheat.verbs.placing.allowed_places import Permissions, Site, is_replaceable, with_real_folder
from preheat.verbs.placing.place import NOT_FREE, claimed_sites, lay_out, place_sites, require_free
from preheat.verbs.placing.placement_plan import Conflict, PlacementPlan
from preheat.verbs.upkeep.cached_files import is_copied, note_shared, take_file
from preheat.views.links import COPY, HARDLINK, REFLINK, likely_way
from preheat.views.names import renamed
from preheat.views.path_state import see
from preheat.views.placer import Placer, Untouched
from preheat.views.view_protocol import AppView, Piece, PlacedFile, SortedFile


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file of the user that has the bytes of `file`, so that it is not downloaded.

    `real` is its path without symlinks in its folder. `marked`: the library knows of it. `copied`: the bytes that the
    library will copy, 0 if it can probably be linked.
    """

    path: Path
    real: str
    file: File
    marked: bool
    copied: int


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """A view: its layout, its folder, the number of its files, and the bytes that will be copied into it."""

    kind: str
    at: Path
    files: int
    copied: int


@dataclass(frozen=True, slots=True)
class ViewsPlan:
    """The views of all models. `own`: the user's files at their paths that have the right bytes.

    `conflicts`: other files at their paths, which `permissions` keep or move aside.
    """

    sites: tuple[Site, ...]
    views: tuple[ViewPlan, ...]
    own: tuple[OwnFile, ...]
    conflicts: tuple[Conflict, ...]
    permissions: Permissions

    @property
    def copies(self) -> list[tuple[Path, int]]:
        """Return the folders of the views with bytes to copy, and how many."""
        return [(view.at, view.copied) for view in self.views if view.copied]

    @property
    def sorted_files(self) -> list[SortedFile]:
        """Return the model files that apps' views sort by what they are, with their kinds and places."""
        return [
            one
            for site in self.sites
            if isinstance(site.view, AppView)
            for one in site.view.sort(renamed(site.snapshot, site.to), site.at)
        ]

    @property
    def copied_in(self) -> int:
        """Return the bytes of the user's files that will be copied into the library."""
        return sum({one.file.digest: one.copied for one in self.own}.values())

    def require(self) -> None:
        """Raise Occupied if files are in the way, unless they may be kept or moved aside."""
        if self.permissions.replace:
            fixed = [one for one in self.conflicts if not is_replaceable(one.place, {}, self.sites)]
            require_free(fixed, NOT_FREE)
        elif not self.permissions.keep:
            require_free(self.conflicts)

    def take(self, library: Library, on_event: Listener) -> Collection[Digest]:
        """Add the user's files to the library if it lacks them; return the digests of those that were added.

        The files are hashed again while they are added. Small files, which users may edit, and files that cannot be
        linked are copied, which is cheaper than a download. Raise NoSpace if the disk is full.
        """
        ways: dict[Digest, str] = {}
        taken_from: list[Path] = []
        with claimed_sites(self.sites, library):
            for one in self.own:
                source = Path(os.path.realpath(one.path))
                if not library.has(one.file.digest) and (
                    how := take_file(source, one.real, one.file, library, on_event)
                ):
                    ways[one.file.digest] = how
                    taken_from.append(source)
        # Mark them as the user's, so that they are not hashed again.
        new = [one for one in self.own if not one.marked or one.file.digest in ways]
        looks = [(one.real, one.file.digest, see(one.path).look) for one in new]
        library.marks.note(THEIRS, [(real, digest, look) for real, digest, look in looks if look is not None])
        for site in self.sites:
            taken = {file.path: file for file in site.snapshot.files if file.digest in ways}.values()
            if taken:
                size, counts = sum(file.size for file in taken), Counter(ways[file.digest] for file in taken)
                on_event(Adopted(site.snapshot.ref, site.snapshot.commit, len(taken), size, dict(counts)))
        note_shared(taken_from, library, on_event)
        return ways.keys()

    def place(self, library: Library, on_event: Listener) -> dict[str, str]:
        """Place the views, and report the kinds of sorted files; return and raise as `place_sites` does."""
        for one in self.sorted_files:
            on_event(Noted(one.file.path, one.said))
        sites = [
            msgspec.structs.replace(site, snapshot=with_known_digests(library, site.snapshot)) for site in self.sites
        ]
        return place_sites(sites, library, on_event, self.permissions)


def plan_views(sites: Sequence[Site], library: Library, on_event: Listener, permissions: Permissions) -> ViewsPlan:
    """Inspect the folders of the sites, and hash the user's files that may have the right bytes.

    Raise UsageError if a path is outside its bounds, or two sites have different bytes for one path.
    """
    laid = lay_out(sites, library)
    survey = PlacementPlan(library, on_event)
    found = survey.look([one for one in laid if one[0].bounds])
    ways = {at: likely_way(at, library.root, (REFLINK, HARDLINK, COPY)) for at in {path.parent for path in found.same}}
    own = tuple(
        OwnFile(
            path,
            with_real_folder(path, found.real),
            file,
            survey.is_noted(path, file, see(path)),
            _copied(path, file, ways[path.parent], library),
        )
        for path, file in found.same.items()
    )
    kept = found.kept | {one.path for one in found.conflicts} if permissions.keep else found.kept
    left = Untouched(found.same.keys(), () if permissions.replace else kept)
    views = tuple(_view(site, pieces, left, library) for site, pieces in laid)
    return ViewsPlan(tuple(sites), views, own, tuple(found.conflicts), permissions)


def _copied(path: Path, file: File, way: str, library: Library) -> int:
    """Return the bytes to copy to take a file into the library."""
    return file.size if is_copied(path, file, way) and not library.has(file.digest) else 0


def _view(site: Site, pieces: Sequence[Piece], left: Untouched, library: Library) -> ViewPlan:
    placer = Placer(library.path, site.view)
    ways = {}
    files = copied = 0
    for piece in pieces:
        if not isinstance(piece, PlacedFile):
            continue
        files += 1
        some = placer.ways_of(piece.file)
        if some not in ways:
            ways[some] = likely_way(library.root, site.at, some)
        theirs = piece.at in left or (piece.pointer is not None and piece.pointer in left)
        if ways[some] == COPY and not theirs and not placer.stands(piece.file, piece.at):
            copied += piece.file.size
    return ViewPlan(site.view.kind, site.at, files, copied)
