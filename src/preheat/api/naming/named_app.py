"""Named app: find the recipe of an app by the name that was noted at its last use."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from preheat.core.errors import PreheatError, UsageError, did_you_mean
from preheat.core.events import Noted
from preheat.recipes.builtin_recipes import names
from preheat.recipes.recipe import read_recipe

if TYPE_CHECKING:
    from preheat.api.session import Session
    from preheat.core.ref import Ref
    from preheat.library.app_notes import AppNote
    from preheat.recipes.recipe import Recipe


def named_app(words: str, session: Session, error: UsageError) -> Recipe:
    """Read the recipe of an app that this user has used before, which `words` name, without applying its lock.

    Raise UsageError if there is no such app: `error`, of the words as a path, or a better one.
    """
    if words.endswith(".toml") or os.path.exists(words):  # noqa: PTH110 - also of a name that is too long
        raise error
    noted = _noted(words, session)
    if noted is None:
        raise _no_app(words, session, error) from None
    session.on_event(Noted(words, f"the app in {noted}"))
    return read_recipe(noted)


def is_noted_app(words: str, session: Session) -> bool:
    """Return whether `words` are the name of an app that was used before, on this machine and by this user."""
    return any(note.here and note.own for note in _notes(words, session))


def similar_app(words: str, session: Session) -> str:
    """Return the beginning of a hint that names the app that `words` are most like; empty if there is none."""
    return did_you_mean(words, [*names(), *_noted_names(session)])


def _noted(words: str, session: Session) -> Path | None:
    """Return the path of the recipe of an app of this name; None if none was noted.

    Raise UsageError if several have this name, or if none of them can be trusted as the one that this user means:
    whoever can write to a shared library can note any recipe, whose command would be started.
    """
    notes = _notes(words, session)
    own = [note.recipe for note in notes if note.here and note.own]
    if len(own) > 1:
        paths = ", ".join(quote(str(path)) for path in own)
        raise UsageError(f"{len(own)} apps are named {words}", hint=f"type the path of one of them: {paths}")
    if own:
        return own[0]
    for note in notes:
        if note.here:
            hint = f"if you trust it, type its path: {quote(str(note.recipe))}"
            raise UsageError(f"the app {words} was noted by another user", hint=hint)
        hint = "copy the app's folder to this machine, and type the path of its preheat.toml"
        raise UsageError(f"the app {words} is on another machine, at {note.recipe}", hint=hint)
    return None


def _notes(words: str, session: Session) -> list[AppNote]:
    from preheat.verbs.upkeep.noted_apps import apps_named

    try:
        return apps_named(words, session.library)
    except (PreheatError, OSError):
        return []  # there is no library


def _no_app(words: str, session: Session, error: UsageError) -> UsageError:
    """Return the error for words that name no app: they may be a model's name, or like an app's."""
    ref = _model(words)
    if ref is not None and _is_recorded(ref, session):
        hint = f"to start a program with it: preheat run -- CMD; its files: preheat show {ref}"
        return UsageError(f"{words} is a model in the library, not an app", hint=hint)
    if ref is not None and "/" in words and not Path(words).parent.is_dir():
        hint = f"to download it: preheat pull {ref}; to start a program with it then: preheat run -- CMD"
        return UsageError(f"{words} is a model's name, not an app", hint=hint)
    if "/" not in words:
        error.hint = similar_app(words, session) + error.hint
    return error


def _model(words: str) -> Ref | None:
    from preheat.core.ref import Ref

    try:
        return Ref.parse(words)
    except UsageError:
        return None


def _is_recorded(ref: Ref, session: Session) -> bool:
    try:
        return session.library.find(ref) is not None
    except (PreheatError, OSError):
        return False


def _noted_names(session: Session) -> list[str]:
    try:
        return [note.name for note in session.library.apps if note.here and note.own]
    except (PreheatError, OSError):
        return []
