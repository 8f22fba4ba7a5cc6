"""JSON figures: a report for programs; its schema is docs/proof-schema.json."""

from preheat.proof.report.report import FIGURES, Report, spread
from preheat.proof.report.stages import StartStage, stages_before, stages_during

SCHEMA = 1


def figures(report: Report) -> dict[str, object]:
    """Return medians by condition, their spread, stages and limits, and every timeline."""
    conditions = report.conditions
    return {
        "schema": SCHEMA,
        "app": report.app,
        "machine": dict(report.machine),
        "imitated": report.imitated,
        "rounds": report.rounds,
        "weights": report.weights,
        "copies": _rounded(report.copies),
        "ratio": _rounded(report.ratio),
        "bound": _rounded(report.bound),
        "reached": _rounded(report.reached),
        "overhead": _rounded(report.overhead),
        "gpus": report.gpus,
        "limits": {
            "line": report.limits.line,
            "speed": report.limits.speed,
            "interpreter_s": report.limits.interpreter,
            "imports_s": report.limits.imports,
            "imports_warm_s": report.limits.imports_warm,
            "start_s": {condition: _rounded(report.limit_s(condition)) for condition in conditions},
            "over_limit": {condition: _rounded(report.over_limit(condition)) for condition in conditions},
        },
        **{condition: {name: report.median(condition, name) for name in FIGURES} for condition in conditions},
        "spread": {
            condition: {name: _rounded(spread(report.taken(condition, name))) for name in FIGURES}
            for condition in conditions
        },
        "stages": {condition: _stages(report, condition) for condition in conditions},
        "unwatched_s": report.unwatched,
        "timelines": report.timelines,
    }


def _stages(report: Report, condition: str) -> list[dict[str, object]]:
    timeline = report.typical(condition)
    before = [_stage(stage, before=True) for stage in stages_before(report, timeline)]
    return before + [_stage(stage, before=False) for stage in stages_during(report, timeline)]


def _stage(stage: StartStage, *, before: bool) -> dict[str, object]:
    return {
        "name": stage.name,
        "before_start": before,
        "seconds": _rounded(stage.seconds),
        "limit_s": _rounded(stage.limit_s),
        "share": _rounded(stage.share),
        "spans": stage.spans,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
