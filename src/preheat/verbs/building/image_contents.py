"""Image contents: lay out an app's needs as entries of an image, in the layouts that the app expects."""

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from preheat.core.digest import Digest
from preheat.core.errors import SOURCE, ImageError
from preheat.core.snapshot import File
from preheat.deploy.guard_zip import write_guard_zip
from preheat.library.library import Library
from preheat.oci.layers.layer import LayerEntry, blob_entry, file_entry, folder_entry
from preheat.oci.layers.layer_plan import Group
from preheat.oci.layers.view_entries import BLOBS, HOME, parents
from preheat.oci.model.content import opened
from preheat.oci.secrets.secret_names import secret_name
from preheat.oci.secrets.secret_search import secret_in, secret_in_text
from preheat.oci.secrets.text_parts import text_parts
from preheat.recipes.lock_file import Lock, Pinned
from preheat.recipes.lock_writer import lock_text
from preheat.recipes.offline_env import needs_hub
from preheat.recipes.places import DIR, split_place
from preheat.recipes.recipe import Need, Recipe
from preheat.verbs.building.image_start_list import START_LIST
from preheat.verbs.building.view_tree import ViewTree
from preheat.verbs.locked_needs import Required
from preheat.verbs.view import require_names
from preheat.views.names import renamed
from preheat.views.view_protocol import View

GUARD, LOCK, HUB = f"{HOME}/guard.pyz", f"{HOME}/preheat.lock", f"{HOME}/hub.json"


@dataclass(frozen=True, slots=True)
class ImageContents:
    """The views' entries, a group per need; all their folders; the environment variables that point to the views."""

    groups: tuple[Group, ...]
    folders: tuple[str, ...]
    environ: Mapping[str, str]

    @property
    def files(self) -> tuple[str, ...]:
        """Return the paths of all entries except folders."""
        return tuple(sorted({entry.path for group in self.groups for entry in group.entries}))

    def locator(self) -> Callable[[Digest], str]:
        """Return a function that returns a blob's path in the image, "" if it has none; of two, the one of no view."""
        entries = [entry for group in self.groups for entry in group.entries]
        found = {entry.digest: f"/{entry.path}" for entry in entries if entry.digest is not None}
        found |= {
            entry.digest: f"/{entry.path}"
            for entry in entries
            if entry.digest is not None and entry.path.startswith(f"{BLOBS}/")
        }
        return lambda digest: found.get(digest, "")


def lay_out(recipe: Recipe, required: Required, library: Library, view_of: Callable[[str], View]) -> ImageContents:
    """Return the views of the needs as image entries.

    `recipe.folder` is the app's folder in the image. Needs without `at` are placed below `/opt/preheat/views`.
    """
    tree = ViewTree(library.location)
    folders: set[str] = set()
    environ: dict[str, str] = {}
    for need, snapshot in required:
        view = view_of(need.view)
        require_names(view, need.to)
        at = _at(need, recipe)
        recorded = library.find(snapshot.ref.at(snapshot.commit))
        whole = recorded is not None and len(recorded.files) == len(snapshot.files)
        pieces = list(view.layout(renamed(snapshot, need.to), Path("/", at), whole=whole))
        tree.lay(pieces, str(need.ref), whole=need.link in ("hardlink", "copy"))
        folders |= {at, *parents(at)}
        environ |= view.environ(Path("/", at))
    groups: dict[str, list[LayerEntry]] = {str(need.ref): [] for need, _ in required}
    for entry, name in tree.entries():
        groups[name].append(entry)
        folders.update(parents(entry.path))
    laid = tuple(Group(name, tuple(entries)) for name, entries in groups.items())
    return ImageContents(laid, tuple(sorted(folders)), environ)


def plain(required: Required, library: Library, top: str) -> ImageContents:
    """Return the needs as plain files below `top` (may be empty), for images that are mounted as a volume."""
    groups, folders = [], set()
    alone = len(required) == 1
    for need, snapshot in required:
        at = posixpath.join(top, _below(need) or ("" if alone else snapshot.ref.repo.rpartition("/")[2]))
        named = renamed(snapshot, need.to)
        entries = tuple(_plain(file, posixpath.join(at, file.path), library) for file in named.files)
        folders |= {folder for entry in entries for folder in parents(entry.path)}
        groups.append(Group(str(need.ref), entries))
    return ImageContents(tuple(groups), tuple(sorted(folders)), {})


def refuse_secrets(required: Required, library: Library, texts: Iterable[str], tokens: Sequence[str]) -> None:
    """Search file names, the contents of files except tensors, and `texts` for secrets.

    Raise ImageError, which names the place of the secret but does not contain it.
    """
    clean: set[Digest] = set()
    for _, snapshot in required:
        for file in snapshot.files:
            if secret_name(file.path):
                raise _secret(f"{snapshot.ref} contains {file.path}, a file for secrets")
            if file.digest not in clean:
                with opened(library.location(file.digest)) as blob:
                    what = next(filter(None, (secret_in(part, tokens) for part in text_parts(blob))), "")
                if what:
                    raise _secret(f"{file.path} of {snapshot.ref} contains {what}")
                clean.add(file.digest)
    for text in texts:
        if what := secret_in_text(text.encode(), tokens):
            raise _secret(f"the recipe contains {what}")


def lock_of(required: Required, folder: Path) -> str:
    """Return the text of the image's lock: each need with its commit, and every file with size and digest."""
    return lock_text(Lock(tuple(Pinned(need, snapshot) for need, snapshot in required)), folder)


def guard_file() -> bytes:
    """Return the guard as one file, the same for every Python."""
    with TemporaryDirectory(prefix="preheat-") as aside:
        path = Path(aside) / "guard.pyz"
        write_guard_zip(path, plain=True)
        return path.read_bytes()


def guard_options(recipe: Recipe, ready: str) -> tuple[str, ...]:
    """Return the guard's options for the probe `ready`, and for the files of `own_group`."""
    probe = ("--ready", ready) if ready else ()
    warm = ("--warm", f"/{START_LIST}") if recipe.start_list else ()
    hub = ("--hub", f"/{HUB}") if needs_hub(recipe) else ()
    return (*probe, *warm, *hub)


def own_group(guard: bytes, lock: str, folders: Iterable[str], start_list: bytes = b"", hub: str = "") -> Group:
    """Return the group of folders, lock, guard, start list and hub's answers; the last three may be empty."""
    entries = [file_entry(LOCK, lock.encode())]
    if guard:
        entries.append(file_entry(GUARD, guard, executable=True))
    if guard and start_list:
        entries.append(file_entry(START_LIST, start_list))
    if hub:
        entries.append(file_entry(HUB, hub.encode()))
    return Group("folders, lock and guard" if guard else "folders and lock", (*entries, *map(folder_entry, folders)))


def _plain(file: File, path: str, library: Library) -> LayerEntry:
    return blob_entry(path, file.size, file.digest, library.location(file.digest))


def _below(need: Need) -> str:
    """Return a need's folder in an image that is mounted as a volume: a place is a folder with its name."""
    name, below = split_place(need.at)
    return below.strip("/") if name == DIR else posixpath.join(name, below.strip("/"))


def _at(need: Need, recipe: Recipe) -> str:
    at = posixpath.normpath(posixpath.join("/", str(recipe.place_of(need)) if need.at else f"{HOME}/views/{need.view}"))
    if at == "/":
        raise ImageError(
            f"{need.ref} cannot be placed in the image's root folder", hint="set `at` in the recipe, or --dir DIR"
        )
    return at.lstrip("/")


def _secret(message: str) -> ImageError:
    return ImageError(
        f"{message}, which everyone who pulls the image could read", hint="exclude it: files = […]", end=SOURCE
    )
