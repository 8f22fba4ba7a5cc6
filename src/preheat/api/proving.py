"""Proving: measure how much faster an app starts when it is preloaded."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from preheat.core.errors import UsageError
from preheat.guard.status.start_times import History
from preheat.proof.limits.line_speed import Line, measure_line
from preheat.proof.limits.machine import describe_machine
from preheat.proof.report.report import Imitated, Report
from preheat.proof.report.stages import stages_during
from preheat.proof.start.start_notes import StartNotes, StartParts, slowest
from preheat.proof.start.thaw import require_freezing
from preheat.proof.start.timeline import CONDITIONS, EVERYWHERE, PRELOADED, THAWED, WARM
from preheat.recipes.app_port import at_port
from preheat.recipes.recipe import FILE_NAME
from preheat.verbs.locked_needs import fitting
from preheat.verbs.placing.allowed_places import require_inside
from preheat.verbs.proving.imitated_hub import far_hub
from preheat.verbs.proving.proof_round import ProveOptions
from preheat.verbs.proving.prove import prove
from preheat.verbs.proving.start_folder import AppEnvironment
from preheat.verbs.pull import pull, resolve_policy
from preheat.verbs.pull_plan import plan_need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from preheat.api.session import Session
    from preheat.core.events import Listener
    from preheat.core.snapshot import Snapshot
    from preheat.library.library import Library
    from preheat.recipes.recipe import Need, Recipe

_MANY = 64  # connections for measuring the download rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Options of a proof; see docs/proof.md. Times are in seconds.

    `rounds`: how many starts to measure under each of the `conditions`. `observe_s`: how long after first use outbound
    attempts of offline starts are counted. `imitated`: rate and round trip of a simulated hub that serves the library
    in place of the real hubs.
    """

    rounds: int = 1
    conditions: tuple[str, ...] = EVERYWHERE
    ready_within_s: float = 1800.0
    observe_s: float = 30.0
    drop_caches: bool = False
    imitated: Imitated | None = None

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"the number of rounds must be at least 1, not {self.rounds}", hint="--runs 3")
        if not self.conditions or not set(self.conditions) <= set(CONDITIONS):
            raise UsageError(
                f"{','.join(self.conditions)!r} contains an unknown condition",
                hint=f"--conditions {','.join(CONDITIONS)}",
            )


def prove_app(recipe: Recipe, session: Session, proof: Proof) -> Report:
    """Start the app cold, preloaded, warm and after a crash, in each round, and report the times.

    All files that it creates are removed, even if it is interrupted. Raise CheckFailed for an invalid start, AppError
    if the app does not start, UsageError before anything is started. Files of the app at the places of its needs are
    moved aside for each start, and put back.
    """
    recipe = at_port(fitting(recipe, session.on_event), None)
    require_inside(recipe, session.permissions)
    if THAWED in proof.conditions:
        require_freezing(recipe, session.config.environ)
    session.library.prepare(0)
    with _hub(recipe, proof.imitated, session):
        report = prove(recipe, _terms(recipe, session, proof), session.view, session.on_event)
    path = recipe.path or recipe.folder / FILE_NAME
    StartNotes(session.config.state).write(recipe.name, path, recipe.folder, [*_start_parts(report)])
    return report


def _start_parts(report: Report) -> Iterator[StartParts]:
    """Yield the parts of a typical start of each condition in which the app starts as with `run`, for `doctor`."""
    for condition in report.conditions:
        typical = report.typical(condition)
        if condition in (PRELOADED, WARM) and typical.imports is not None:
            spent = {stage.name: stage.seconds for stage in stages_during(report, typical)}
            yield StartParts(
                condition,
                time.time(),
                typical.ready_s,
                spent.get("interpreter", 0.0),
                spent.get("imports", 0.0),
                spent.get("read", 0.0),
                0.0,
                slowest(typical.imports),
            )


def _terms(recipe: Recipe, session: Session, proof: Proof) -> ProveOptions:
    earlier = History(str(session.library.root / "starts" / recipe.name)).earlier_s

    def find(need: Need) -> Snapshot | None:
        patience = resolve_policy(session.policy)
        return plan_need(
            session.sources(need), session.library, session.on_event, session.selection(need), patience
        ).files

    def pull_need(need: Need, library: Library, on_event: Listener) -> int:
        before = session.transport.received
        pull(session.sources(need), library, session.policy, on_event, session.selection(need))
        return session.transport.received - before

    def line_of(need: Need, snapshot: Snapshot) -> Line:
        return measure_line(session.sources(need)[0].hub, snapshot, min(session.settings.connections, _MANY))

    endpoints = {"HF_ENDPOINT": session.endpoints["hf"][0], "MODELSCOPE_ENDPOINT": session.endpoints["ms"][0]}
    return ProveOptions(
        proof.rounds,
        AppEnvironment(
            session.config.environ,
            endpoints,
            proof.ready_within_s,
            {} if proof.imitated else session.own_tokens,
            proof.observe_s,
        ),
        session.library.root,
        session.set_aside,
        find,
        pull_need,
        line_of,
        proof.conditions,
        drop_caches=proof.drop_caches,
        imitated=proof.imitated,
        machine=describe_machine(session.library.root),
        permissions=session.permissions,
        start_s=median(earlier) if earlier else None,
    )


@contextlib.contextmanager
def _hub(recipe: Recipe, imitated: Imitated | None, session: Session) -> Iterator[None]:
    """Replace the session's endpoints with the imitated hub, if there is one."""
    if imitated is None:
        yield
        return
    with far_hub(recipe, session.library, imitated) as url:
        session.endpoints = dict.fromkeys(session.endpoints, (url,))
        yield
