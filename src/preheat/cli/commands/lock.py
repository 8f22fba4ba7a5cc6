"""The `preheat lock` command."""

import argparse

import msgspec

from preheat.api.locking import check_app_lock, lock_app, replay_locked
from preheat.cli.output.replay_facts import replay_facts
from preheat.cli.wiring import Wiring
from preheat.core.errors import CheckFailed, UsageError
from preheat.core.units import say_count, say_size
from preheat.recipes.lock_file import Lock, lock_path
from preheat.verbs.lock import Moved


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat lock`; return the exit status."""
    if options.replay:
        return _replay(options, wiring)
    if options.check:
        return _check(options, wiring)
    done = lock_app(options.app, wiring)
    lock, path = done.now, done.path
    size = sum(pinned.snapshot.size for pinned in lock.needs)
    files = sum(len(pinned.snapshot.files) for pinned in lock.needs)
    counted = f"{say_count(len(lock.needs), 'model')}, {say_count(files, 'file')}, {say_size(size)}"
    lines = [f"{path}: {counted}", *(_sentence(one) for one in done.moved)]
    wiring.console.done({"lock": str(path), "size": size, **_facts(lock, done.moved)}, "\n".join(lines))
    return 0


def _check(options: argparse.Namespace, wiring: Wiring) -> int:
    """Report changes of the recipe and upstream since the lock; write nothing. Raise CheckFailed if there are any."""
    found = check_app_lock(options.app, wiring)
    lines = [*found.stale, *(_sentence(one) for one in found.moved)]
    sentence = "\n".join(lines) or f"{found.path} is up to date"
    figures = {"lock": str(found.path), "stale": found.stale, **_facts(found.now, found.moved)}
    wiring.console.done(figures, sentence)
    if not found.up_to_date:
        raise CheckFailed(f"{found.path} is out of date", hint="to update it: preheat lock")
    return 0


def _replay(options: argparse.Namespace, wiring: Wiring) -> int:
    """Start the app from its lock and the library alone. Raise NotReplayed if it does not start."""
    if not options.check:
        raise UsageError("--replay is a check", hint="preheat lock --check --replay")
    recipe, verdict = replay_locked(options.app, wiring, overlay=True)
    path = lock_path(recipe)
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
