"""Prove: start an app cold, preloaded, warm and after a crash, in each round, and report the gain."""

import contextlib
import os
from collections.abc import Callable

from preheat.core.errors import HubError, UsageError
from preheat.core.events import Listener, ProofPlanned
from preheat.core.ref import MADE
from preheat.core.values.replace import replace
from preheat.disk.free_space import disk_needs, require_space
from preheat.guard.model.tail import Tail
from preheat.guard.probes.probes import parse_probe
from preheat.proof.conditions.scratch_folder import sweep
from preheat.proof.limits.line_speed import Line
from preheat.proof.report.report import MadeNeed, Report
from preheat.proof.start.gpu import Gpus
from preheat.proof.start.trial import read_first
from preheat.recipes.optional_needs import UnlessOptional
from preheat.recipes.recipe import Recipe
from preheat.verbs.proving.heartbeat import Heartbeat, likely_least_most
from preheat.verbs.proving.placed_files import Known, tell_put_back
from preheat.verbs.proving.proof_plan import ProofClock, ProofPlan
from preheat.verbs.proving.proof_round import ProofResults, ProveOptions, Round, StepWatch
from preheat.verbs.proving.timed_starts import Starts
from preheat.views.view_protocol import View


def prove(recipe: Recipe, terms: ProveOptions, view_of: Callable[[str], View], on_event: Listener) -> Report:
    """Start the app under each condition in each round, and return the report. Raise CheckFailed for invalid starts.

    Before every cold and preloaded start, the app's virtual environment and the weights are evicted from the page
    cache, because one condition must not profit from files that another one has read. Raise HubError for needs that no
    hub has, and NoSpace, before anything is started.
    """
    _check(recipe, terms)
    watch = StepWatch(ProofClock(ProofPlan(terms.rounds, terms.conditions, 1)))
    with Heartbeat(recipe.name, watch.left, on_event) as heartbeat:
        return _proved(recipe, terms, view_of, on_event, watch, heartbeat)


def _proved(
    recipe: Recipe,
    terms: ProveOptions,
    view_of: Callable[[str], View],
    on_event: Listener,
    watch: StepWatch,
    heartbeat: Heartbeat,
) -> Report:
    sweep(terms.workplace)
    tell_put_back(terms.journals, on_event)
    heartbeat.now("resolving its needs")
    recipe, known = _known(recipe, terms, on_event)
    listed = [one for one in known if not one[0].unpack and one[0].ref.hub != MADE]
    results = ProofResults()
    heartbeat.now("measuring the line")
    with contextlib.suppress(HubError):
        line = terms.line(*max(listed, key=lambda one: one[1].size)) if listed else None
        results.limits = replace(results.limits, line=line)
    clock = watch.clock = ProofClock(_plan(terms, known, results.limits.line))
    require_space(disk_needs([(terms.workplace, clock.plan.space)]))
    counts = clock.plan.starts, clock.plan.downloads, clock.plan.size
    on_event(ProofPlanned(*counts, *likely_least_most(clock.left())))
    with Gpus() as gpus:
        starts = Starts(
            recipe, terms.surroundings, view_of, on_event, gpus, terms.permissions, known, doing=heartbeat.now
        )
        for round_ in range(1, terms.rounds + 1):
            Round(round_, starts, terms, results, watch, heartbeat, on_event).run()
        names = gpus.names
    return Report(
        timelines=tuple(results.timelines),
        weights=results.weights,
        app=recipe.name,
        limits=results.limits,
        unwatched=tuple(results.unwatched),
        unmade=tuple(results.unmade),
        copies=results.copies,
        imitated=terms.imitated,
        machine=terms.machine,
        gpus=names,
        environments=tuple(map(str, starts.eviction.always(starts.environments))),
        environment_stayed=starts.eviction.stayed,
        made=tuple(MadeNeed(str(need.ref), len(one.files), one.size) for need, one in known if need.ref.hub == MADE),
        rehearsed=clock.plan.rehearses,
    )


def _known(recipe: Recipe, terms: ProveOptions, on_event: Listener) -> tuple[Recipe, Known]:
    """Resolve the needs. Return the recipe without optional ones that no hub has, and the needs with known files."""
    needs, known = [], []
    for need in recipe.needs:
        with UnlessOptional(need, on_event):
            snapshot = terms.find(need)
            needs.append(need)
            known += [(need, snapshot)] if snapshot is not None else []
    return replace(recipe, needs=tuple(needs)), known


def _plan(terms: ProveOptions, known: Known, line: Line | None) -> ProofPlan:
    size = sum({file.digest: file.size for _, one in known for file in one.files}.values())
    one, many = (line.one, line.many) if line is not None else (None, None)
    makes, observe_s = any(need.ref.hub == MADE for need, _ in known), terms.surroundings.observe_s
    load = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    return ProofPlan(terms.rounds, terms.conditions, size, terms.start_s, one, many, observe_s, makes, load=load)


def _check(recipe: Recipe, terms: ProveOptions) -> None:
    """Raise UsageError for a recipe that cannot be proved, before any start."""
    if not recipe.command or not recipe.ready:
        raise UsageError(f"{recipe.name} has no start command or no ready probe", hint="set command and ready in [app]")
    if not recipe.needs:
        raise UsageError(f"{recipe.name} has no needs to preload", hint="add [[needs]] to its preheat.toml")
    try:
        parse_probe(recipe.ready, Tail(), env={**terms.surroundings.environ, **recipe.env}, cwd=str(recipe.folder))
    except ValueError as error:
        raise UsageError(str(error), hint="correct ready in [app]") from error
    if recipe.first:
        read_first(recipe.first)
