"""View: place an app's needs in the folders where it looks for them."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.core.errors import UsageError
from preheat.core.events import Listener
from preheat.core.ref import MODELSCOPE
from preheat.core.snapshot import Snapshot
from preheat.core.values.replace import replace
from preheat.disk.free_space import disk_needs, require_space
from preheat.library.library import Library
from preheat.recipes.recipe import Recipe
from preheat.verbs.locked_needs import Required, as_requested, rehash_modified, require
from preheat.verbs.placing.allowed_places import NO_PERMISSION, Permissions, Site, bounds, free_of
from preheat.verbs.placing.place import place_sites
from preheat.views.links import BORNE
from preheat.views.view_protocol import View

if TYPE_CHECKING:
    from preheat.verbs.placing.view_plan import ViewsPlan


def place_needs(
    recipe: Recipe,
    library: Library,
    view_of: Callable[[str], View],
    on_event: Listener,
    root: Path | None = None,
    permissions: Permissions = NO_PERMISSION,
) -> dict[str, str]:
    """Place every need of `recipe` from the library; return the environment variables that point to the views.

    A need without `at` is placed below `root`, by default `library.views` and the app's name. Raise NotPreloaded or
    IntegrityError as `require` does, and Occupied or UsageError as `place_sites` does, before anything is placed.
    """
    required = require(recipe, library, on_event)
    return place_sites(sites_of(recipe, required, library, view_of, permissions, root), library, on_event, permissions)


def sites_of(
    recipe: Recipe,
    required: Required,
    library: Library,
    view_of: Callable[[str], View],
    permissions: Permissions,
    root: Path | None = None,
) -> list[Site]:
    """Return the sites of a recipe's needs, in the order of placement; see `place_needs`."""
    # Pinned commits come first: if the recipe also needs a branch of the same model, the branch wins.
    named = sorted(((need, as_requested(need, one)) for need, one in required), key=lambda one: not one[1].ref.pinned)
    inside = bounds(recipe.folder, permissions)
    own = root or library.views / recipe.name
    sites = []
    for need, snapshot in named:
        view = _linked(view_of(need.view), need.link)
        require_names(view, need.to)
        if need.at:
            sites.append(Site(snapshot, view, recipe.place_of(need), need.to, inside, free_of(recipe, need)))
        else:
            sites.append(Site(snapshot, view, own / need.view, need.to))
    return sites


def _linked(view: View, word: str) -> View:
    """Return the view with the kind of link that the app requires, unless the user chose one; `word` may be empty."""
    if word and len(view.ways) > 1:
        view.ways = BORNE[word]
    return view


def require_placeable(plan: "ViewsPlan") -> None:
    """Raise Occupied if files are in the way of the views, NoSpace if a disk has no room for their copies."""
    plan.require()
    require_space(disk_needs(plan.copies))


def carry_out_views(plan: "ViewsPlan", library: Library, on_event: Listener) -> dict[str, str]:
    """Place the views of a plan; return the environment variables that point to them.

    Blobs that look modified are hashed again first. Raise NotPreloaded if the library lacks a file, Occupied or NoSpace
    before anything is changed.
    """
    require_placeable(plan)
    rehash_modified(library, [site.snapshot for site in plan.sites], on_event)
    plan.take(library, on_event)
    return plan.place(library, on_event)


def site_at(snapshot: Snapshot, library: Library, view: View, at: Path, permissions: Permissions) -> Site:
    """Return a site at a folder that the user chose; files there are protected, except in the library's views."""
    own = at.is_relative_to(library.views)
    return Site(snapshot, view, at, bounds=() if own else bounds(at, permissions))


def require_names(view: View, to: Mapping[str, str]) -> None:
    """Raise UsageError if `to` renames files and the layout `view` does not support that."""
    if to and not view.renames:
        raise UsageError(f"files in a {view.kind} view cannot be renamed", hint="remove `to`")


def place_all(
    snapshots: Iterable[Snapshot], name: str, library: Library, view_of: Callable[[str], View], on_event: Listener
) -> dict[str, str]:
    """Place snapshots for an app without a recipe below `views/NAME`, each in its hub's cache layout."""
    environ: dict[str, str] = {}
    for snapshot in snapshots:
        # New ModelScope clients can also read the old layout.
        kind = "modelscope-old" if snapshot.ref.hub == MODELSCOPE else "hf-cache"
        environ |= place_sites([Site(snapshot, view_of(kind), library.views / name / kind)], library, on_event)
    return environ


def all_snapshots(library: Library) -> Iterable[Snapshot]:
    """Yield each snapshot in the library, with its downloaded files only, once for each branch or tag that names it.

    Snapshots without a branch or tag come first, under their commit: of two with the same path, the later one stays.
    """
    known = []
    for snapshot in library.snapshots():
        missing = {file.digest for file in library.missing(snapshot)}
        here = tuple(file for file in snapshot.files if file.digest not in missing)
        names = [name for name, commit in library.revisions(snapshot.ref).items() if commit == snapshot.commit]
        if here:
            known.append((replace(snapshot, files=here), names))
    for snapshot, names in sorted(known, key=lambda one: bool(one[1])):
        for name in names or [snapshot.commit]:
            yield replace(snapshot, ref=snapshot.ref.at(name))
