"""Packing: the models and apps in the library that a user names, to be carried to other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from preheat.api.naming.named_app import is_noted_app, similar_app
from preheat.api.naming.similar_models import recorded_hint
from preheat.core.errors import NotPreloaded, UsageError
from preheat.core.ref import Ref
from preheat.core.values.replace import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from preheat.api.session import Session
    from preheat.core.snapshot import File, Snapshot


App = TypeVar("App")


def pack(
    what: Sequence[str], session: Session, make: Callable[[str, bytes, bytes], App]
) -> tuple[tuple[Snapshot, ...], tuple[App, ...]]:
    """Return the models that are named, with those of the apps, each version once, and the apps.

    `make` is called with the name of each app, and the texts of its preheat.toml and its lock.

    Raise NotPreloaded for files that are not in the library, UsageError for two apps with one name.
    """
    models: list[Snapshot] = []
    apps: dict[str, App] = {}
    for words in (_with_path(words, session) for words in what):
        if session.names_app(words):
            name, recipe, lock, theirs = _app(words, session)
            if name in apps:
                raise UsageError(f"two recipes are named {name}", hint="carry each of them separately")
            apps[name] = make(name, recipe, lock)
            models += theirs
        else:
            models.append(_model(words, session))
    return _joined(models), tuple(apps.values())


def _model(words: str, session: Session) -> Snapshot:
    """Return a model of the library. Raise NotPreloaded, with the names that `words` are most like, of apps too."""
    ref = Ref.parse(words)
    try:
        return session.library.require(ref)
    except NotPreloaded as error:
        named = recorded_hint(ref, session) or ("" if "/" in words else similar_app(words, session))
        error.hint = named + error.hint
        raise


def _with_path(words: str, session: Session) -> str:
    """Return the path of the recipe of an app that is named as it was noted; other words, and a model's, unchanged."""
    if session.names_app(words) or not is_noted_app(words, session) or session.library.find(Ref.parse(words)):
        return words
    return str(session.unlocked_recipe(words).path)


def _app(words: str, session: Session) -> tuple[str, bytes, bytes, list[Snapshot]]:
    """Return an app's name, its recipe, a lock for it, and its models."""
    from preheat.recipes.builtin_recipes import is_built_in, text_of
    from preheat.recipes.lock_file import Lock, Pinned, lock_path
    from preheat.recipes.lock_writer import lock_text
    from preheat.verbs.locked_needs import all_required, report_missing

    recipe, unlocked = session.recipe(words), session.unlocked_recipe(words)
    required = all_required(recipe, session.library)
    report_missing(recipe, session.library, session.on_event, required)
    path = lock_path(unlocked)
    if is_built_in(words):
        text = text_of(words).encode()
    else:
        assert unlocked.path is not None, "an app that is not built in was read from a file"
        text = unlocked.path.read_bytes()
    if path.is_file() and not is_built_in(words):
        lock = path.read_bytes()
    else:
        found = {need.stored: snapshot for need, snapshot in required}
        pins = [
            Pinned(old, found[new.stored], depends=new.depends)
            for old, new in zip(unlocked.needs, recipe.needs, strict=True)
            if new.stored in found
        ]
        lock = lock_text(Lock(tuple(pins)), unlocked.folder).encode()
    return recipe.name, text, lock, [snapshot for _, snapshot in required]


def _joined(models: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """Return each version once, with the files of all needs of it, which may each need other files."""
    files: dict[tuple[Ref, str], dict[str, File]] = {}
    for model in models:
        files.setdefault((model.ref, model.commit), {}).update((file.path, file) for file in model.files)
    each = {(model.ref, model.commit): model for model in models}
    return tuple(replace(each[key], files=tuple(some.values()), unlisted=None) for key, some in files.items())
