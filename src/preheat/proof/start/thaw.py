"""Thaw: time an app that is restored from a memory snapshot instead of started."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.core.errors import AppError, UsageError
from preheat.guard.memory_snapshot.criu import CannotFreeze, Criu, why_not
from preheat.guard.memory_snapshot.freeze import Freezable, freeze
from preheat.guard.memory_snapshot.intact import Unusable
from preheat.guard.memory_snapshot.restore import Restorable
from preheat.guard.memory_snapshot.saved_memory import read_saved
from preheat.guard.process.process import CannotRestore
from preheat.proof.start.trial import Instruments, TimedStart, await_ready, measured, read_first, running, use_once

if TYPE_CHECKING:
    from preheat.guard.model.app import App
    from preheat.recipes.recipe import Recipe

UNCOUNTED = "the filter that counts network calls cannot be restored"
_WITHOUT = "leave out thawed in --conditions"


def require_freezing(recipe: Recipe, environ: Mapping[str, str]) -> None:
    """Raise UsageError if no memory snapshot of this app can be made on this machine."""
    reason = recipe.why_not_saved
    if not reason and recipe.ready.startswith("line:"):
        reason = "a restored app does not print its ready line again"
    reason = reason or why_not(environ)
    if reason:
        raise UsageError(f"a thawed start cannot be measured: {reason}", hint=_WITHOUT)


@dataclass(frozen=True, slots=True)
class Thaw:
    """The program and the folder for a memory snapshot; `code` are the folders with the app's code and packages.

    `evict` is called between saving and restoring.
    """

    criu: Criu
    folder: Path
    code: Sequence[str]
    evict: Callable[[], object]

    @classmethod
    def of(cls, environ: Mapping[str, str], folder: Path, code: Sequence[str], evict: Callable[[], object]) -> Thaw:
        """Find CRIU by these variables; return a Thaw that uses it. Raise AppError if it is missing."""
        try:
            return cls(Criu.find(environ), folder, code, evict)
        except CannotFreeze as error:
            raise AppError(str(error), hint=_WITHOUT) from error

    def start(self, app: App, first: str, ready_within_s: float, instruments: Instruments | None = None) -> TimedStart:
        """Start `app`, save its memory when it is ready and was used, and stop it; then time how long a restore takes.

        The time includes the verification of the snapshot. Raise AppError if the app does not start, cannot be saved or
        cannot be restored.
        """
        app = app._replace(freezable=True)
        with running(app, None) as (process, began):
            await_ready(app, process, began + ready_within_s)
            if first:
                use_once(read_first(first), app, ready_within_s, process)
            frozen = Freezable(process.pid, process.warden, 0, time.monotonic() - began, process.pipes, self.code)
            try:
                freeze(frozen, self.criu, str(self.folder / "saved"), "", lambda: False)
            except CannotFreeze as error:
                raise AppError(f"the app's memory could not be saved: {error}", hint=_WITHOUT) from error
        os.sync()  # pages that are not yet on disk cannot be evicted
        self.evict()
        try:
            with running(app, None, self._find) as (process, began):
                return measured(app, first, ready_within_s, instruments, process, began)
        except CannotRestore as error:
            raise AppError(f"the app's memory snapshot: {error}", hint=_WITHOUT) from error

    def _find(self) -> Restorable | None:
        try:
            saved = read_saved(str(self.folder / "saved"), "")
        except Unusable as error:
            raise AppError(f"the app's memory snapshot: {error}", hint=_WITHOUT) from error
        return None if saved is None else Restorable(saved, self.criu)
