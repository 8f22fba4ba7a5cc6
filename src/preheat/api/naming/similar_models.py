"""Similar models: the names that are most like the name of a repository that its hub does not have."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from preheat.core.errors import AccessDenied, NotFound, NotPreloaded, PreheatError
from preheat.core.values.replace import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from preheat.api.session import Session
    from preheat.core.ref import Ref

_MOST = 3  # names in a hint
_ALIKE = 0.75  # as difflib measures it; `whisper` and `whisper-tiny` are less alike
# A hub's search only helps with a mistake, so nobody has to wait for it.
_SEARCH_S, _EACH_S, _LARGEST = 4.0, 2.0, 1 << 20


@contextlib.contextmanager
def naming_similar(session: Session) -> Iterator[None]:
    """Add the most similar names to the hint of an error about a repository that a hub does not have.

    They are from the library, the recipes and the hub itself, which is asked only then, and for four seconds at most.
    """
    try:
        yield
    except (NotFound, AccessDenied) as error:
        if error.repository:
            error.hint = _hint(error.repository, session) + error.hint
        raise


@contextlib.contextmanager
def naming_recorded(wanted: Ref, session: Session) -> Iterator[None]:
    """Add the most similar names in the library to the hint of an error about a model that it lacks; ask no hub."""
    try:
        yield
    except NotPreloaded as error:
        error.hint = recorded_hint(wanted, session) + error.hint
        raise


def recorded_hint(wanted: Ref, session: Session) -> str:
    """Return the beginning of a hint with the most similar names in the library; empty if none is similar."""
    question = _question(wanted, _recorded(session))
    return f"{question}if not: " if question else ""


def _hint(repository: str, session: Session) -> str:
    """Return the beginning of a hint; empty if no name is similar, or if the hub has the repository after all."""
    from shlex import quote

    from preheat.core.ref import Ref

    try:
        wanted = Ref.parse(repository)
    except PreheatError:
        return ""  # a file of it
    app = _app(wanted.repo, session)
    if app:
        return f"to pull the app of that name: preheat pull {quote(app)}; "
    local = [*_recorded(session), *_needed()]
    listed = _listed(wanted, session)
    return _question(wanted, listed, local)


def _question(wanted: Ref, there: Sequence[Ref], others: Iterable[Ref] = ()) -> str:
    """Return a question with the names that are most like a repository's.

    Empty if there is none, or if the repository is `there`: then it is a revision or a token that is missing.
    """
    if wanted.repo in {one.repo for one in there}:
        return ""
    names = similar(wanted, [*there, *others])
    return f"did you mean {' or '.join(map(str, names))}? " if names else ""


def similar(wanted: Ref, known: Iterable[Ref]) -> list[Ref]:
    """Return the names that are most like a repository's, at most three, the most similar first.

    A model of the same name of another owner is similar. `known`: the names of the same hub count first.
    """
    from difflib import get_close_matches

    others = sorted(known, key=lambda one: one.hub != wanted.hub)
    whole = {one.repo.lower(): one for one in reversed(others) if one.kind == wanted.kind and one.repo != wanted.repo}
    typed, tails = wanted.repo.lower(), dict[str, "Ref"]()
    for name, one in reversed(whole.items()):
        tails.setdefault(name.rpartition("/")[2], one)
    found = [whole[name] for name in get_close_matches(typed, whole, _MOST, _ALIKE)]
    same = tails.get(typed.rpartition("/")[2])
    if same is not None:
        found.insert(0, same) if "/" not in typed else found.append(same)
    elif "/" not in typed:
        found += [tails[name] for name in get_close_matches(typed, tails, _MOST, _ALIKE)]
    return list(dict.fromkeys(one.at(one.branch) for one in found))[:_MOST]


def _app(name: str, session: Session) -> str:
    """Return the path of the recipe of the app that this user has used under a name; empty if there is none."""
    from preheat.verbs.upkeep.noted_apps import apps_named

    if "/" in name:
        return ""
    with contextlib.suppress(PreheatError, OSError):
        own = [note.recipe for note in apps_named(name, session.library) if note.here and note.own]
        return str(own[0]) if own else ""
    return ""


def _recorded(session: Session) -> list[Ref]:
    try:
        return [record.ref for record in session.library.records.listed()]
    except (PreheatError, OSError):
        return []


def _needed() -> list[Ref]:
    """Return the models of the built-in recipes, and of the recipe in this folder."""
    from pathlib import Path

    from preheat.recipes.builtin_recipes import built_in, names
    from preheat.recipes.recipe import FILE_NAME, read_recipe

    recipes = [built_in(name, Path.cwd()) for name in names()]
    with contextlib.suppress(PreheatError):
        recipes.append(read_recipe(Path(FILE_NAME)))
    return [ref for recipe in recipes for need in recipe.needs for ref in (need.ref, *need.same)]


def _listed(wanted: Ref, session: Session) -> list[Ref]:
    """Return the names that the hub lists for similar ones; none if it does not answer in time."""
    import threading

    found: list[Ref] = []
    search = threading.Thread(target=_search, args=(wanted, session, found), name="search", daemon=True)
    search.start()
    search.join(_SEARCH_S)
    return list(found)


def _search(wanted: Ref, session: Session, found: list[Ref]) -> None:
    """Ask the hub's endpoints in order, until one lists names that are similar; add all names to `found`."""
    from preheat.hubs.search.name_search import read_names, search_paths
    from preheat.net.http import Transport

    limits = {"connect_s": _EACH_S, "read_s": _EACH_S, "document_s": _EACH_S, "largest_document": _LARGEST}
    transport = Transport(replace(session.network_settings(1), **limits))  # type: ignore[arg-type]  # all are numbers
    for endpoint in session.endpoints.get(wanted.hub, ()):
        token = session.token(wanted.hub, endpoint)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        for path in search_paths(wanted):
            try:
                answer = transport.get(f"{endpoint.rstrip('/')}{path}", headers)
            except PreheatError:
                break  # this endpoint has no search, or no time for it
            if answer.status != 200:
                break
            found += read_names(answer.body, wanted)
            if wanted.repo in {one.repo for one in found} or similar(wanted, found):
                return
