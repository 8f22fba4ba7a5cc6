"""Place: lay out views, and never replace a file that preheat did not place."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import LibraryError, Occupied
from preheat.core.events import Listener, MovedAside, Placed, Read, Reading
from preheat.core.placement import KEPT, OURS, THEIRS, StatFields
from preheat.core.snapshot import File, Snapshot
from preheat.core.units import say_count
from preheat.disk.filesystem import ignores_case
from preheat.disk.free_space import existing
from preheat.disk.regular_file import why
from preheat.library.library import Library
from preheat.verbs.placing.allowed_places import (
    NO_PERMISSION,
    Permissions,
    Site,
    is_replaceable,
    places_of,
    require_one_each,
    with_real_folder,
    without_overridden,
)
from preheat.verbs.placing.placement_plan import Conflict, Found, PlacementPlan, digest_of, is_pointer
from preheat.verbs.placing.unchanged_views import UnchangedViews
from preheat.views.letter_case import one_name, same_but_for_case
from preheat.views.links import COPY, HARDLINK, OnCopied, likely_way, require_possible, silent
from preheat.views.path_state import see
from preheat.views.placer import Placer, Untouched, read_note
from preheat.views.view_protocol import Piece, PlacedFile, PriorNote, ViewNote

_SUFFIX = "before-preheat"
_WORTH_SHOWING = 100_000_000  # bytes to copy, which takes about a second on a slow disk
_HINT = f"--replace moves them aside first (NAME.{_SUFFIX}); --keep leaves them and places the rest"
NOT_FREE = "--replace moves files aside in the app's folder, and in those that --allow-place names"


def place_sites(
    sites: Sequence[Site], library: Library, on_event: Listener, permissions: Permissions = NO_PERMISSION
) -> dict[str, str]:
    """Place the snapshots in order; return the environment variables that point clients to the views.

    All paths are checked before anything is changed. Raise UsageError if a path leads out of its bounds, or two sites
    have different bytes for one path; Occupied, with all conflicting files that preheat did not place, unless
    `permissions` keep them or move them aside; LibraryError if a view cannot be placed.
    """
    # Claim the blobs before checking for them, so that a concurrent prune cannot remove them.
    with claimed_sites(sites, library):
        for site in sites:
            library.require_files(site.snapshot, f"preheat pull {site.snapshot.ref}")
        unchanged = UnchangedViews(sites, library)
        if unchanged.are_in_place():
            for site in sites:
                on_event(Placed(site.snapshot.ref, site.view.kind, str(site.at), {}, 0))
            return _environ(sites)
        laid = lay_out(sites, library)
        placing = _Placing(library, on_event, permissions)
        placing.look([one for one in laid if one[0].bounds])
        new = [(site, placing.to_place(site, pieces)) for site, pieces in laid]
        with (
            placing.claiming(),
            library.linking(_hard_linked(new)),
        ):
            placing.announce(new)
            for (site, pieces), (_, some) in zip(laid, new, strict=True):
                placing.lay(site, pieces, some)
        unchanged.note(pieces for _, pieces in laid)
    return _environ(sites)


def _environ(sites: Sequence[Site]) -> dict[str, str]:
    return {name: value for site in sites for name, value in site.view.environ(site.at).items()}


def _hard_linked(new: Sequence[tuple[Site, Sequence[Piece]]]) -> list[File]:
    """List the files of which a site may get a hard link."""
    pieces = [piece for site, pieces in new if HARDLINK in site.view.ways for piece in pieces]
    return [piece.file for piece in pieces if isinstance(piece, PlacedFile)]


@contextlib.contextmanager
def claimed_sites(sites: Sequence[Site], library: Library) -> Iterator[None]:
    """Protect the blobs of the sites from prune, and register the sites' folders: one claim for each folder."""
    wanted: dict[Path | None, list[Snapshot]] = {}
    for site in sites:
        wanted.setdefault(None if _inside(site, library) else site.at, []).append(site.snapshot)
    with contextlib.ExitStack() as until:
        for at, snapshots in wanted.items():
            until.enter_context(library.wanted(*snapshots, at=at))
        yield


def _inside(site: Site, library: Library) -> bool:
    """Return whether a site is in the library's `views` folder, which prune always searches."""
    return site.at.is_relative_to(library.root / "views")


def lay_out(sites: Sequence[Site], library: Library) -> list[tuple[Site, tuple[Piece, ...]]]:
    """Return the pieces of each site.

    Raise UsageError if two sites have different bytes for the same path, LibraryError if a site's folder cannot have
    the links that its view requires.
    """
    for site in sites:
        require_possible(library.root, site.at, site.view.ways)
    laid = without_overridden([(site, site.pieces(library)) for site in sites])
    require_one_each(laid)
    _require_own_names(laid)
    return laid


def _require_own_names(laid: Sequence[tuple[Site, Sequence[Piece]]]) -> None:
    """Raise LibraryError if two files would be one in a folder that ignores case."""
    for site, pieces in laid:
        placed = ((piece.pointer or piece.at, piece.file) for piece in pieces if isinstance(piece, PlacedFile))
        pair = next(same_but_for_case(placed), None)
        if pair is not None and ignores_case(existing(site.at)):
            raise one_name(*pair)


def require_free(conflicts: Sequence[Conflict], hint: str = _HINT) -> None:
    """Raise Occupied with all conflicts, if there are any."""
    if not conflicts:
        return
    whys = {str(one.place): one.why for one in conflicts}
    lines = "".join(f"\n  {path} ({why})" for path, why in whys.items())
    what = say_count(len(whys), "file")
    raise Occupied(
        f"the view cannot be placed: {what} that preheat did not place would be replaced:{lines}",
        hint=hint,
        paths=tuple(whys),
    )


class _Placing:
    """Places several sites; checks those outside the library before it changes anything."""

    def __init__(self, library: Library, on_event: Listener, permissions: Permissions) -> None:
        self._library, self._on_event, self._permissions = library, on_event, permissions
        self._survey = PlacementPlan(library, on_event)
        self._found = Found()
        self._folders: dict[str, list[Path]] = {}  # see Placer
        self._on_copied: OnCopied = silent
        self._linked: dict[Path, set[Digest]] = {}  # by site folder: blobs that symlinks there lead to

    def look(self, laid: Sequence[tuple[Site, tuple[Piece, ...]]]) -> None:
        """Inspect all sites; keep conflicting files or move them aside. Raise Occupied if neither is permitted."""
        found = self._found = self._survey.look(laid)
        if self._permissions.relink:
            found.same.clear()
        if self._permissions.replace:
            sites = [site for site, _ in laid]
            require_free([one for one in found.conflicts if not is_replaceable(one.place, found.real, sites)], NOT_FREE)
            replaced = dict.fromkeys(conflict.place for conflict in found.conflicts)
            kept = (path for path in found.kept if is_replaceable(path, found.real, sites))
            replaced |= dict.fromkeys(path for path in kept if os.path.lexists(path))
            for place in replaced:
                self._on_event(MovedAside(str(place), str(_move_aside(place))))
            found.kept = {path for path in found.kept if not is_replaceable(path, found.real, sites)}
        elif self._permissions.keep:
            found.kept |= {conflict.path for conflict in found.conflicts}
            looks = [(conflict, see(conflict.path).look or StatFields()) for conflict in found.conflicts]
            self._library.marks.note(KEPT, [(self._real(one.path), one.digest, look) for one, look in looks])
        else:
            require_free(found.conflicts)

    def to_place(self, site: Site, pieces: Sequence[Piece]) -> list[Piece]:
        """Return the pieces of a site that have to be placed: those that are not in place and not kept."""
        placer = Placer(self._library.location, site.view)
        is_settled = self._is_settled if site.bounds else _is_settled_here
        return [piece for piece in pieces if not is_settled(piece, placer)]

    def announce(self, new: Sequence[tuple[Site, Sequence[Piece]]]) -> None:
        """Emit how many bytes will probably be copied, if that takes long enough to be shown."""
        sizes = []
        for site, pieces in new:
            placer, ways = Placer(self._library.location, site.view), dict[tuple[str, ...], str]()
            for piece in pieces:
                if isinstance(piece, PlacedFile) and piece.at not in self._left:
                    some = placer.ways_of(piece.file)
                    if some not in ways:
                        ways[some] = likely_way(self._library.root, site.at, some)
                    sizes += [piece.file.size] if ways[some] == COPY else []
        if sum(sizes) >= _WORTH_SHOWING:
            self._on_event(Reading("copy into the views", len(sizes), sum(sizes)))
            self._on_copied = lambda size: self._on_event(Read(size))

    def lay(self, site: Site, pieces: Sequence[Piece], new: Sequence[Piece]) -> None:
        """Place the `new` pieces of a site, and mark the files that preheat placed. Raise LibraryError on failure."""
        placer = Placer(self._library.held_location, site.view, self._folders, self._on_copied)
        try:
            if site.bounds:
                self._library.marks.begin(self._begun(new))
                placer.lay(new, self._left, lambda at: self._survey.is_ours(at, read_note(at)))
                self._note(pieces, new, placer.written)
            else:
                placer.lay(new)
        except OSError as error:
            raise LibraryError(
                f"a view cannot be placed at {site.at}: {why(error)}",
                hint="choose another folder, or check its disk and owner",
            ) from error
        placement = placer.placement()
        if not _inside(site, self._library) and (placement.has_symlinks or any(map(self._leads, pieces))):
            self._linked.setdefault(site.at, set()).update(file.digest for file in site.snapshot.files)
        spots = (path for piece in pieces if isinstance(piece, PlacedFile) for path in places_of(piece))
        kept, ref, kind = sum(path in self._found.kept for path in spots), site.snapshot.ref, site.view.kind
        self._on_event(Placed(ref, kind, str(site.at), placement.links, placement.copied, kept))

    @contextlib.contextmanager
    def claiming(self) -> Iterator[None]:
        """Claim the blobs of the views that contain symlinks to them when the block ends, once for each folder."""
        try:
            yield
        finally:
            for at, digests in self._linked.items():
                self._library.claims.placed(at, digests)

    @property
    def _left(self) -> Untouched:
        return Untouched(self._found.same.keys(), self._found.kept)

    def _is_settled(self, piece: Piece, placer: Placer) -> bool:
        """Return whether a piece needs no change; notes always have to be read."""
        if not isinstance(piece, PlacedFile):
            return False
        left, pointer = self._left, piece.pointer
        if pointer is not None and pointer in left:
            return True
        if pointer is not None and not is_pointer(self._found.current_states[pointer], piece):
            return False
        return piece.at in left or placer.stands(piece.file, piece.at)

    def _leads(self, piece: Piece) -> bool:
        """Return whether a piece was already in place as a symlink to a blob."""
        current = self._found.current_states.get(piece.at)
        return current is not None and current.blob is not None

    def _begun(self, pieces: Sequence[Piece]) -> Iterator[tuple[str, Digest]]:
        """Yield the path and digest of each file that will be placed."""
        left = self._left
        for piece in pieces:
            if isinstance(piece, PlacedFile) and piece.at not in left:
                yield self._real(piece.at), piece.file.digest
            elif isinstance(piece, ViewNote) and piece.at not in left and piece.of not in left.kept:
                there = read_note(piece.at)
                body = piece.settle(PriorNote(there, self._survey.is_ours(piece.at, there), left.same))
                if body is not None and body != there:
                    yield self._real(piece.at), digest_of(body)

    def _note(self, pieces: Sequence[Piece], new: Sequence[Piece], written: Sequence[Path]) -> None:
        """Mark the placed files as preheat's, and the existing files with the right bytes as the user's."""
        marks: dict[str, list[tuple[str, Digest, StatFields]]] = {OURS: [], THEIRS: []}
        left, laid = self._left, {piece.at for piece in new}
        for piece in pieces:
            if not isinstance(piece, PlacedFile):
                continue
            for path in places_of(piece):
                before = self._found.current_states.get(path)
                current = see(path) if before is None or piece.at in laid else before
                if current.look is None or path in left.kept or is_pointer(current, piece):
                    continue
                if not self._survey.is_noted(path, piece.file, current):
                    marks[THEIRS if path in left else OURS].append((self._real(path), piece.file.digest, current.look))
        for path in written:
            marks[OURS].append((self._real(path), digest_of(path.read_bytes()), StatFields.of(path.stat())))
        for state, files in marks.items():
            self._library.marks.note(state, files)

    def _real(self, path: Path) -> str:
        return with_real_folder(path, self._found.real)


def _is_settled_here(piece: Piece, placer: Placer) -> bool:
    """Return whether a piece needs no change in a folder of preheat's own."""
    return isinstance(piece, PlacedFile) and placer.settled(piece)


def _move_aside(path: Path) -> Path:
    """Rename the file at `path` to a free name in the same folder; return that. Raise LibraryError if it fails."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.{_SUFFIX}{'' if number == 1 else f'.{number}'}")):
        number += 1
    try:
        return path.rename(aside)
    except OSError as error:
        raise LibraryError(
            f"{path} cannot be moved aside: {why(error)}",
            hint="check the owner of its folder, or move it by hand",
        ) from error
