"""Schema: the JSON Schema of the last line of `prove --json`; docs/proof-schema.json is made from it."""

from typing import Any

import msgspec

from preheat.proof.limits.disk_speed import Speed
from preheat.proof.limits.line_speed import Line
from preheat.proof.report.json_figures import SCHEMA
from preheat.proof.report.report import FIGURES, Imitated
from preheat.proof.report.stages import BEFORE, DURING
from preheat.proof.start.timeline import CONDITIONS, Span, Timeline

_NUMBER = {"type": "number"}
_MAYBE = {"type": ["number", "null"]}
_TEXT = {"type": "string"}


def schema() -> dict[str, Any]:
    """Return the JSON Schema."""
    _, parts = msgspec.json.schema_components((Timeline, Span, Line, Speed, Imitated), ref_template="#/$defs/{name}")
    figures = dict.fromkeys(FIGURES, _MAYBE)
    of_condition = _object(figures)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The last line of preheat prove --json",
        "description": "Times are seconds, sizes bytes, rates bytes/s, shares fractions of 1. null: not measured.",
        **_object(
            {
                "event": {"const": "done"},
                "schema": {"const": SCHEMA},
                "app": _TEXT,
                "machine": {"type": "object"},
                "imitated": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Imitated"}]},
                "rounds": {"type": "integer", "minimum": 1},
                "weights": _NUMBER,
                **dict.fromkeys(("copies", "ratio", "bound", "reached", "overhead"), _MAYBE),
                "gpus": _array(_TEXT),
                "limits": _limits(),
                "spread": {"type": "object", "additionalProperties": of_condition},
                "stages": {"type": "object", "additionalProperties": _array(_stage())},
                "unwatched_s": _array(_NUMBER),
                "timelines": _array({"$ref": "#/$defs/Timeline"}),
                "failed": _array(_TEXT),
                "report": _TEXT,
            },
            optional=dict.fromkeys(CONDITIONS, of_condition),
        ),
        "$defs": parts,
    }


def _limits() -> dict[str, Any]:
    each = {"type": "object", "additionalProperties": _MAYBE}
    return _object(
        {
            "line": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Line"}]},
            "speed": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Speed"}]},
            **dict.fromkeys(("interpreter_s", "imports_s", "imports_warm_s"), _array(_NUMBER)),
            "start_s": each,
            "over_limit": each,
        }
    )


def _stage() -> dict[str, Any]:
    return _object(
        {
            "name": {"enum": [*BEFORE, *DURING]},
            "before_start": {"type": "boolean"},
            "seconds": _NUMBER,
            "limit_s": _MAYBE,
            "share": _MAYBE,
            "spans": _array({"$ref": "#/$defs/Span"}),
        }
    )


def _object(needed: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    members = {**needed, **(optional or {})}
    return {"type": "object", "required": list(needed), "properties": members, "additionalProperties": False}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}
