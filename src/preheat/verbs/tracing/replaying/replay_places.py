"""Replay places: put a recipe's needs where a replayed app looks for them, from the library alone."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from preheat.core.cache_variables import CACHE_VARIABLES, lead_to_views
from preheat.core.errors import UsageError
from preheat.core.values.replace import replace
from preheat.disk.free_space import disk_needs, require_space
from preheat.library.library import Library
from preheat.recipes.offline_env import offline
from preheat.recipes.places import Places
from preheat.recipes.recipe import Need, Recipe
from preheat.verbs.locked_needs import all_required
from preheat.verbs.placing.allowed_places import Site
from preheat.verbs.placing.place import lay_out
from preheat.verbs.tracing.workbench import Ground
from preheat.views.links import COPY, SYMLINK
from preheat.views.placer import Placer
from preheat.views.view_protocol import Piece, PlacedFile, View

ViewOf = Callable[[str, tuple[str, ...]], View]

LINK_SYMLINK, LINK_HARDLINK, LINK_COPY = SYMLINK, "hardlink", COPY
# The kind of link that `run` may use is not known: a symlink is the one that apps bear least. Small files that people
# edit are copies in any case.
_WAYS = {"": (SYMLINK, COPY), LINK_SYMLINK: (SYMLINK,), LINK_HARDLINK: (COPY,), LINK_COPY: (COPY,)}
# These lead to folders of the user's home.
_LEADING_HOME = ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
# Tools that the app may be started by find their own files in HOME, unless these variables lead there.
_TOOLS = {"PYTHONUSERBASE": ".local", "PYENV_ROOT": ".pyenv"}
_SECOND_NAMES = ".preheat-second-names"


def new_user(environ: Mapping[str, str], ground: Ground, home: Path | None) -> dict[str, str]:
    """Return `environ` as that of a new user on `ground`, offline. `home` is the user's own."""
    kept = {name: value for name, value in environ.items() if name not in CACHE_VARIABLES and name not in _LEADING_HOME}
    tools = {name: str(home / own) for name, own in _TOOLS.items() if home is not None and (home / own).is_dir()}
    temporary = {} if ground.temporary is None else {"TMPDIR": str(ground.temporary)}
    return {**tools, **offline(kept), "HOME": str(ground.home), "PYTHONUNBUFFERED": "1", **temporary}


def place_for_replay(
    recipe: Recipe, ground: Ground, environ: Mapping[str, str], library: Library, view_of: ViewOf
) -> dict[str, str]:
    """Place the needs of `recipe`; return `environ` with the variables of the views and of the recipe.

    Raise NotPreloaded for a file that the library lacks, UsageError for a place that is not dropped after the replay,
    NoSpace if the disk has no room for copies, LibraryError for a file that cannot be placed.
    """
    own = {name: ground.here(value) for name, value in recipe.env.items()}
    command = tuple(map(ground.here, recipe.command))
    here = replace(recipe, folder=ground.folder, places=Places.of({**environ, **own}, ground.folder, command))
    sites = list(_sites(here, ground, library, view_of))
    laid = lay_out([site for _, site in sites], library)
    links = {id(site): need.link for need, site in sites}
    require_space(disk_needs([(site.at, _copied(pieces)) for site, pieces in laid if _copies(links[id(site)])]))
    for site, pieces in laid:
        Placer(library.held_location, site.view).lay(pieces)
        if links[id(site)] == LINK_HARDLINK:
            _name_twice(pieces, ground)
    views = {name: value for _, site in sites for name, value in site.view.environ(site.at).items()}
    return {**lead_to_views(environ, views), **own}


def _sites(recipe: Recipe, ground: Ground, library: Library, view_of: ViewOf) -> Iterable[tuple[Need, Site]]:
    for need, snapshot in all_required(recipe, library):
        at = recipe.place_of(need) if need.at else ground.home.parent / "views" / need.view
        if not ground.covers(at):
            raise UsageError(
                f"{need.ref} is placed at {at}, outside the folders that a replay can restore",
                hint="--no-replay, and try it on a machine that may have files there",
            )
        yield need, Site(snapshot, view_of(need.view, _WAYS[need.link]), at, need.to)


def _copies(link: str) -> bool:
    return _WAYS[link][0] == COPY


def _copied(pieces: Sequence[Piece]) -> int:
    return sum(piece.file.size for piece in pieces if isinstance(piece, PlacedFile))


def _name_twice(pieces: Sequence[Piece], ground: Ground) -> None:
    """Give each file a second name, as a hard link to a blob has, out of the app's sight.

    A link to the blob itself cannot be made through an overlay, and the app could change the blob by it.
    """
    for number, piece in enumerate(piece for piece in pieces if isinstance(piece, PlacedFile)):
        at = Path(os.path.realpath(piece.at))
        folder = max((one for one in ground.covered if at.is_relative_to(one)), key=len)
        second = Path(folder) / _SECOND_NAMES
        second.mkdir(exist_ok=True)
        os.link(at, second / f"{len(list(second.iterdir()))}-{number}")
