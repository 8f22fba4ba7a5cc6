"""Thresholds of `--fail-if`: a figure's name, a comparison and a value; docs/proof.md lists the names and units."""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from preheat.core.errors import CheckFailed, UsageError
from preheat.core.units import say_seconds, say_size
from preheat.proof.report.report import FIGURES, Report
from preheat.proof.start.timeline import CONDITIONS

WHOLE = ("ratio", "bound", "reached", "overhead", "copies", "weights")
_OF_CONDITIONS = (*FIGURES, "over_limit")
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_UNITS = {"": 1.0, "x": 1.0, "%": 0.01, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0} | {
    prefix + unit: size for prefix, size in (("k", 1e3), ("K", 1e3), ("M", 1e6), ("G", 1e9)) for unit in ("", "B")
}
_CRITERION = re.compile(
    r"(?P<name>[\w.]+)\s*(?P<comparison>[<>=!]=|[<>])\s*(?P<number>\d+(\.\d+)?)\s?(?P<unit>[A-Za-z%]*)"
)
_LARGE = 10_000  # figures of this size without a unit of time are bytes
_HINT = "--fail-if 'ratio < 10' --fail-if 'preloaded.outbound > 0'"


@dataclass(frozen=True, slots=True)
class Criterion:
    """A parsed threshold: the check fails if the comparison with `value` (seconds, bytes or a fraction) is true."""

    text: str
    name: str
    comparison: str
    value: float

    @property
    def condition(self) -> str:
        """Return the condition that the figure is of, or "" for a figure of the whole report."""
        return self.name.partition(".")[0] if "." in self.name else ""

    def words(self, report: Report) -> str:
        """Return a sentence that the threshold was reached, with the measured figure."""
        measured = figure(report, self.name)
        return f"{self.text} is true" if measured is None else f"{self.text} is true: it was {self._say(measured)}"

    def _say(self, value: float) -> str:
        if self.name.endswith("_s"):
            return say_seconds(value)
        return say_size(value) if value >= _LARGE else f"{value:.4g}"

    def holds(self, report: Report) -> bool:
        """Return whether the comparison is true of a report. Raise CheckFailed if the figure was not measured."""
        measured = figure(report, self.name)
        if measured is None:
            raise CheckFailed(
                f"{self.text!r} cannot be checked: {self.name} was not measured",
                hint="the figures above give the reason",
            )
        return _COMPARISONS[self.comparison](measured, self.value)


def figure(report: Report, name: str) -> float | None:
    """Return a figure by its name in thresholds, or None if it was not measured."""
    condition, dot, rest = name.partition(".")
    if dot:
        return report.over_limit(condition) if rest == "over_limit" else report.median(condition, rest)
    found: float | None = getattr(report, name)
    return found


def read_criterion(text: str, conditions: Sequence[str] = CONDITIONS) -> Criterion:
    """Parse `NAME OP VALUE`. Raise UsageError if it is invalid, or names a condition that is not in `conditions`."""
    found = _CRITERION.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} must be a figure's name, a comparison and a value", hint=_HINT)
    _check(found["name"], text, conditions)
    if found["unit"] not in _UNITS:
        raise UsageError(f"{text!r}: {found['unit']} is not a unit", hint="%, ms, s, m, h, kB, MB, GB")
    return Criterion(text, found["name"], found["comparison"], float(found["number"]) * _UNITS[found["unit"]])


def _check(name: str, text: str, conditions: Sequence[str]) -> None:
    condition, dot, rest = name.partition(".")
    if (not dot and name not in WHOLE) or (dot and (condition not in CONDITIONS or rest not in _OF_CONDITIONS)):
        raise UsageError(
            f"{text!r} contains {name}, which is not a figure",
            hint=f"{', '.join(WHOLE)}, or such as preloaded.ready_s: see docs/proof.md",
        )
    if dot and condition not in conditions:
        raise UsageError(f"{text!r} requires a {condition} start, but none is made", hint="add it to --conditions")
