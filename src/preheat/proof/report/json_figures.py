"""JSON figures: the last line of `prove --json` as one type; docs/proof-schema.json is made from it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from preheat.proof.limits.disk_speed import Speed
from preheat.proof.limits.line_speed import Line
from preheat.proof.report.report import FIGURES, Imitated, MadeNeed, Report, StartFigures, spread
from preheat.proof.report.stages import Before, During, StartStage, stages_before, stages_during
from preheat.proof.start.timeline import Span, Timeline

SCHEMA: Final = 1

Seconds = tuple[float, ...]
ByCondition = Mapping[str, float | None]


class LimitFigures(msgspec.Struct, forbid_unknown_fields=True):
    """The limits of this machine and its line; `start_s` and `over_limit` by condition.

    `beaten`: the conditions of which a start took less than the limit that was computed, which is therefore left out.
    """

    line: Line | None
    speed: Speed | None
    interpreter_s: Seconds
    imports_s: Seconds
    imports_warm_s: Seconds
    start_s: ByCondition
    over_limit: ByCondition
    beaten: tuple[str, ...]


class StageFigures(msgspec.Struct, forbid_unknown_fields=True):
    """A stage of the typical start (the one nearest to the median), or of the pull before that start.

    `beaten`: the stage took less than its computed limit, which is therefore left out.
    """

    name: Before | During
    before_start: bool
    seconds: float
    limit_s: float | None
    share: float | None
    beaten: bool
    spans: tuple[Span, ...]


class ProofFigures(msgspec.Struct, tag_field="event", tag="done", forbid_unknown_fields=True):
    """Times are seconds, sizes bytes, rates bytes/s, shares fractions of 1. null: not measured."""

    schema: Literal[1]
    app: str
    machine: dict[str, Any]
    imitated: Imitated | None
    rounds: Annotated[int, msgspec.Meta(ge=1)]
    weights: int
    copies: float | None
    compared: Literal["first_s", "ready_s"]
    ratio: float | None
    bound: float | None
    reached: float | None
    overhead: float | None
    gpus: tuple[str, ...]
    environments: tuple[str, ...]
    environment_stayed: int
    made: tuple[MadeNeed, ...]
    rehearsed: bool
    limits: LimitFigures
    spread: dict[str, StartFigures]
    stages: dict[str, tuple[StageFigures, ...]]
    unwatched_s: Seconds
    unmade_s: tuple[float | None, ...]
    timelines: tuple[Timeline, ...]
    failed: tuple[str, ...]
    report: str
    cold: StartFigures | UnsetType = UNSET
    preloaded: StartFigures | UnsetType = UNSET
    warm: StartFigures | UnsetType = UNSET
    restart: StartFigures | UnsetType = UNSET
    thawed: StartFigures | UnsetType = UNSET


def figures(report: Report, failed: Sequence[str] = (), page: str = "") -> ProofFigures:
    """Return a report's medians by condition, their spread, stages and limits, and every timeline.

    `failed`: the reasons why the proof fails. `page`: the path of the HTML page, or "".
    """
    conditions, limits = report.conditions, report.limits
    return ProofFigures(
        schema=SCHEMA,
        app=report.app,
        machine=dict(report.machine),
        imitated=report.imitated,
        rounds=report.rounds,
        weights=report.weights,
        copies=_rounded(report.copies),
        compared=report.compared,
        ratio=_rounded(report.ratio),
        bound=_rounded(report.bound),
        reached=_rounded(report.reached),
        overhead=_rounded(report.overhead),
        gpus=report.gpus,
        environments=report.environments,
        environment_stayed=report.environment_stayed,
        made=report.made,
        rehearsed=report.rehearsed,
        limits=LimitFigures(
            line=limits.line,
            speed=limits.speed,
            interpreter_s=limits.interpreter,
            imports_s=limits.imports,
            imports_warm_s=limits.imports_warm,
            start_s={condition: _rounded(report.limit_s(condition)) for condition in conditions},
            over_limit={condition: _rounded(report.over_limit(condition)) for condition in conditions},
            beaten=tuple(condition for condition in conditions if report.is_beaten(condition)),
        ),
        spread={
            condition: StartFigures(*(_rounded(spread(report.taken(condition, name))) for name in FIGURES))
            for condition in conditions
        },
        stages={condition: _stages(report, condition) for condition in conditions},
        unwatched_s=report.unwatched,
        unmade_s=report.unmade,
        timelines=report.timelines,
        failed=tuple(failed),
        report=page,
        **{one: StartFigures(*(report.median(one, name) for name in FIGURES)) for one in conditions},
    )


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the last line of `prove --json`."""
    [whole], parts = msgspec.json.schema_components([ProofFigures], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The last line of preheat prove --json",
        **whole,
        "$defs": parts,
    }


def _stages(report: Report, condition: str) -> tuple[StageFigures, ...]:
    timeline = report.typical(condition)
    before, during = stages_before(report, timeline), stages_during(report, timeline)
    return tuple(_stage(one, before=one in before) for one in (*before, *during))


def _stage(stage: StartStage, *, before: bool) -> StageFigures:
    return StageFigures(
        stage.name, before, stage.seconds, _rounded(stage.limit_s), _rounded(stage.share), stage.beaten, stage.spans
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
