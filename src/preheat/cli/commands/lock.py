"""The `preheat lock` command."""

import argparse
from shlex import quote

import msgspec

from preheat.cli.output.replay_facts import replay_facts
from preheat.cli.wiring import Wiring
from preheat.core.errors import CheckFailed, UsageError
from preheat.core.units import say_count, say_size
from preheat.recipes.builtin_recipes import is_built_in, shipped_lock
from preheat.recipes.lock_file import Lock, lock_path, read_lock
from preheat.recipes.recipe import Recipe
from preheat.verbs.lock import Moved, keep_lock, moved, pin


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat lock`; return the exit status."""
    recipe = wiring.unlocked_recipe(options.app)
    path = lock_path(recipe)
    before = read_lock(path)
    if options.app and is_built_in(options.app):
        recipe = shipped_lock(options.app, recipe.folder).apply(recipe)
    if options.replay:
        return _replay(recipe, before, options, wiring)
    if options.check:
        return _check(recipe, before, options, wiring)
    lock = pin(recipe, wiring.sources, wiring.console, wiring.patience, before)
    keep_lock(path, lock)
    changes = moved(before, lock) if before is not None else ()
    size = sum(pinned.snapshot.size for pinned in lock.needs)
    files = sum(len(pinned.snapshot.files) for pinned in lock.needs)
    counted = f"{say_count(len(lock.needs), 'model')}, {say_count(files, 'file')}, {say_size(size)}"
    lines = [f"{path}: {counted}", *(_sentence(one) for one in changes)]
    wiring.console.done({"lock": str(path), "size": size, **_facts(lock, changes)}, "\n".join(lines))
    return 0


def _check(recipe: Recipe, before: Lock | None, options: argparse.Namespace, wiring: Wiring) -> int:
    """Report changes of the recipe and upstream since the lock; write nothing. Raise CheckFailed if there are any."""
    again = f"preheat lock {quote(options.app)}" if options.app else "preheat lock"
    path = lock_path(recipe)
    if before is None:
        raise CheckFailed(f"{recipe.name} has no lock at {path}", hint=again)
    now = pin(recipe, wiring.sources, wiring.console, wiring.patience, before)
    changes, stale = moved(before, now), before.stale(recipe)
    lines = [*stale, *(_sentence(one) for one in changes)]
    sentence = "\n".join(lines) or f"{path} is up to date"
    wiring.console.done({"lock": str(path), "stale": stale, **_facts(now, changes)}, sentence)
    if lines:
        raise CheckFailed(f"{path} is out of date", hint=f"{again} updates it")
    return 0


def _replay(recipe: Recipe, before: Lock | None, options: argparse.Namespace, wiring: Wiring) -> int:
    """Start the app from its lock and the library alone. Raise NotReplayed if it does not start."""
    if not options.check:
        raise UsageError("--replay is a check", hint="preheat lock --check --replay")
    path = lock_path(recipe)
    if before is None:
        raise CheckFailed(f"{recipe.name} has no lock at {path}", hint="preheat lock")
    if stale := before.stale(recipe):
        raise CheckFailed(f"{path} is stale: {'; '.join(stale)}", hint="preheat lock updates it")
    from preheat.api.tracing import replay_app

    verdict = replay_app(before.apply(recipe), wiring, overlay=True)
    said = verdict.verified if verdict.replayed.passed else f"{recipe.path}: {verdict.verified}"
    wiring.console.done({"lock": str(path), "verified": verdict.verified, "replay": replay_facts(verdict)}, said)
    verdict.require(recipe.path or path)
    return 0


def _facts(lock: Lock, changes: tuple[Moved, ...]) -> dict[str, object]:
    return {
        "needs": [{"ref": str(one.need.ref), "commit": one.snapshot.commit} for one in lock.needs],
        "moved": [msgspec.to_builtins(one) | {"ref": str(one.ref)} for one in changes],
    }


def _sentence(one: Moved) -> str:
    where = f"{one.was[:12]} → {one.now[:12]}" if one.was != one.now else one.now[:12]
    parts = [f"{word} {', '.join(paths)}" for word, paths in _parts(one) if paths]
    return f"{one.ref}: {where}: {'; '.join(parts) or 'the files needed are the same'}"


def _parts(one: Moved) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("changed", one.changed), ("added", one.added), ("removed", one.removed)
