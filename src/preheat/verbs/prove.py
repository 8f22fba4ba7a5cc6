"""Prove: start an app cold and preloaded, in turns, and say what was gained."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from preheat.errors import AppError, CheckFailed, UsageError
from preheat.events import Listener, TrialStarted
from preheat.guard.app import App
from preheat.guard.network import Witness
from preheat.guard.probes import parse_probe
from preheat.guard.tail import Tail
from preheat.library.library import Library
from preheat.proof.eviction import evict
from preheat.proof.report import Report
from preheat.proof.timeline import COLD, PRELOADED, Timeline
from preheat.proof.trial import read_first, start_once
from preheat.recipes.offline import offline, online
from preheat.recipes.recipe import Recipe
from preheat.verbs.run import network_seen, witness_for
from preheat.verbs.view import place_needs
from preheat.views.view import View

_CACHES = frozenset(("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"))


@dataclass(frozen=True, slots=True)
class Terms:
    """How to prove: how many rounds, how long to wait for the app, in which surroundings.

    `workplace` is a folder for the proof's own libraries and caches, all removed after; `pull` pulls the recipe's
    needs into a library and returns how many bytes came over the network for it, answers of the API included.
    """

    rounds: int
    ready_within_s: float
    environ: Mapping[str, str]
    endpoint: str
    workplace: Path
    pull: Callable[[Library], int]


def prove(recipe: Recipe, terms: Terms, view_of: Callable[[str], View], on_event: Listener) -> Report:
    """Start the app under each condition in each round; raise CheckFailed when a cold start fetched nothing.

    Before every start the app's virtual environment and the weights are put out of the page cache, so that neither
    condition inherits what the other has read.
    """
    _check(recipe, terms)
    timelines = []
    weights = 0
    for round_ in range(1, terms.rounds + 1):
        on_event(TrialStarted(COLD, round_, terms.rounds))
        timelines.append(_cold(recipe, terms))
        on_event(TrialStarted(PRELOADED, round_, terms.rounds))
        timeline, weights = _preloaded(recipe, terms, view_of, on_event)
        timelines.append(timeline)
    for timeline in timelines:
        if timeline.condition == COLD and not timeline.fetched:
            raise CheckFailed(
                "the cold start fetched nothing, so this would prove nothing",
                hint="does the app keep its models somewhere else than in HF_HOME?",
            )
    return Report(tuple(timelines), weights)


def _check(recipe: Recipe, terms: Terms) -> None:
    """Raise UsageError for a recipe that cannot be proved, before an hour is spent on it."""
    if not recipe.command or not recipe.ready:
        raise UsageError(
            f"{recipe.name} does not say how it starts and when it is ready", hint="command, ready in [app]"
        )
    if not recipe.needs:
        raise UsageError(f"{recipe.name} needs nothing that could be preloaded", hint="[[needs]] in its preheat.toml")
    try:
        parse_probe(recipe.ready, Tail(), env={**terms.environ, **recipe.env}, cwd=str(recipe.folder))
    except ValueError as error:
        raise UsageError(str(error), hint="ready in [app]") from error
    if recipe.first:
        read_first(recipe.first)


def _cold(recipe: Recipe, terms: Terms) -> Timeline:
    """As in a new container: nothing here, everything from the hub as given."""
    with _fresh(terms.workplace) as folder:
        environ = online(terms.environ, without=_CACHES) | {"HF_HOME": str(folder), "HF_ENDPOINT": terms.endpoint}
        timeline = _start(COLD, recipe, environ | recipe.env, terms, folder)
        fetched = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        return replace(timeline, fetched=fetched)


def _preloaded(
    recipe: Recipe, terms: Terms, view_of: Callable[[str], View], on_event: Listener
) -> tuple[Timeline, int]:
    """Pulled into a new library, switched offline. Return the weights' size too."""
    with _fresh(terms.workplace) as folder:
        library = Library(folder / "library")
        began = time.monotonic()
        received = terms.pull(library)
        pull_s = time.monotonic() - began
        views = place_needs(recipe, library, view_of, on_event)
        environ = {name: value for name, value in offline(terms.environ).items() if name not in _CACHES}
        environ |= {"HF_HOME": str(folder / "home"), "HF_ENDPOINT": terms.endpoint, **views}
        timeline = _start(PRELOADED, recipe, environ | recipe.env, terms, folder)
        weights = sum(library.require(need.ref, need.files).size for need in recipe.needs)
        return replace(timeline, fetched=received, pull_s=pull_s), weights


def _start(condition: str, recipe: Recipe, environ: Mapping[str, str], terms: Terms, weights: Path) -> Timeline:
    app = App(recipe.command, dict(environ), str(recipe.folder), recipe.ready)
    witness, uncounted = _witness(app)
    evict([weights, *_interpreter(recipe)])
    started = start_once(app, recipe.first, terms.ready_within_s, witness)
    timeline = Timeline(condition, started.ready_s, started.first_s, started.peak_rss, 0, None, 0, uncounted=uncounted)
    if witness is None:
        return timeline
    witness.close()
    seen = network_seen(witness)
    if seen.blind_spots:
        return replace(timeline, uncounted="; ".join(seen.blind_spots))
    return replace(timeline, outbound=seen.outbound, lookups=seen.lookups, places=seen.places)


def _witness(app: App) -> tuple[Witness | None, str]:
    try:
        return witness_for(app), ""
    except AppError as error:
        return None, error.message


def _interpreter(recipe: Recipe) -> list[Path]:
    """Find the virtual environment that the command's program lies in, if it does."""
    home = Path(recipe.command[0]).parent.parent
    return [home] if (home / "pyvenv.cfg").is_file() else []


@contextlib.contextmanager
def _fresh(workplace: Path) -> Iterator[Path]:
    """Make a new folder, and remove it after."""
    folder = Path(tempfile.mkdtemp(prefix="proof-", dir=workplace))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
