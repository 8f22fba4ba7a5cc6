"""Noted apps: note in the library which apps use it, and which versions their locks pin.

What reads locks is imported where it is used, because an app waits for the imports of its start.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from preheat.core.errors import PreheatError, UsageError
from preheat.core.ref import Ref
from preheat.library.library import Library
from preheat.recipes.recipe import Recipe, read_recipe

if TYPE_CHECKING:
    from preheat.library.app_notes import AppNote
    from preheat.recipes.lock_file import Lock


def noted_path(recipe: Path) -> Path:
    """Return the path under which a recipe is noted: with symlinks resolved, so that an app has one note."""
    return recipe.parent.resolve() / recipe.name


def note_app(recipe: Recipe, library: Library) -> None:
    """Note that an app uses the library, and the commits that its needs are pinned to.

    An app without a recipe of its own is not noted: what the built-in recipes pin is known.
    """
    if recipe.path is None or recipe.built_in or not library.writable:
        return
    refs = (ref for need in recipe.needs for ref in (need.ref, need.stored, *need.same))
    library.apps.write(recipe.name, noted_path(recipe.path), (str(ref) for ref in refs if ref.pinned))


def note_recipe(path: Path, library: Library) -> None:
    """Note the app of a recipe that was just written, with its lock; a recipe that cannot be read is not noted."""
    from preheat.recipes.lock_file import read_lock

    with suppress(PreheatError):
        recipe, lock = read_recipe(path), read_lock(path.with_suffix(".lock"))
        note_app(recipe if lock is None else lock.apply(recipe), library)


def apps_named(name: str, library: Library) -> "list[AppNote]":
    """Return the notes of the apps of this name, the one that was used last first."""
    return sorted((note for note in library.apps if note.name == name), key=lambda note: -note.used_at)


def app_not_model(words: str, library: Library) -> UsageError | None:
    """Return the error for the name or the recipe of an app where a model's name is expected; None for other words.

    Its hint is a command with the app's models that are in the library.
    """
    from preheat.recipes.builtin_recipes import built_in, is_built_in
    from preheat.recipes.recipe import names_recipe

    recipe = None
    with suppress(PreheatError, OSError):
        if is_built_in(words):
            recipe = built_in(words, Path.cwd())
        elif names_recipe(words):
            recipe = read_recipe(Path(words))
        else:
            noted = [note.recipe for note in apps_named(words, library) if note.here and note.own]
            recipe = read_recipe(noted[0]) if noted else None
    if recipe is None:
        return None
    known = [str(need.stored) for need in recipe.needs if library.find(need.stored) is not None]
    hint = f"its models in the library: preheat ls {' '.join(map(quote, dict.fromkeys(known)))}"
    if not known:
        hint = f"none of its models is in the library; to download them: preheat pull {recipe.typed}".rstrip()
    return UsageError(f"{words} is an app, not a model", hint=hint)


def pinned_by_apps(library: Library, recipes: Iterable[Path] = ()) -> Iterator[str]:
    """Yield the versions, as refs, that apps' locks name: the apps in the library's notes, and those of `recipes`.

    A lock counts as it was at the app's last use, and as it is now.
    """
    from preheat.recipes.lock_file import read_lock

    locks = [path.with_suffix(".lock") for path in recipes]
    for note in library.apps:
        yield from note.versions
        if note.here and note.own:  # another user's note may name any file
            locks.append(note.recipe.with_suffix(".lock"))
    for path in dict.fromkeys(locks):
        with suppress(PreheatError, OSError):
            lock = read_lock(path)
            yield from (str(ref) for ref in (() if lock is None else _pinned(lock)))


def _pinned(lock: "Lock") -> Iterator[Ref]:
    for pinned in lock.needs:
        need = pinned.pin
        yield from (ref for ref in (need.ref, need.stored, *need.same) if ref.pinned)
