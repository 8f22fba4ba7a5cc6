"""Criteria: what `--fail-if` says, as a small language over a report's figures; its words are in docs/proof.md.

criterion = all { "or" all } ;  all = test { "and" test } ;  test = value comparison value ;
value = [ number "*" ] name | number [ unit ] ;  comparison = "<" | "<=" | ">" | ">=" | "==" | "!="
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from preheat.errors import CheckFailed, UsageError
from preheat.proof.report import FIGURES, Report
from preheat.proof.timeline import CONDITIONS

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
_UNITS = {
    "": 1.0,
    "x": 1.0,
    "×": 1.0,
    "%": 0.01,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "K": 1e3,
    "M": 1e6,
    "G": 1e9,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
}
_WORD = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)(?:\s?(?P<sign_unit>[%×])|(?P<unit>[A-Za-z]+))?"
    r"|(?P<name>[a-z_]+(?:\.[a-z_]+)?)|(?P<sign>[<>=!]=|[<>*]))"
)


@dataclass(frozen=True, slots=True)
class Value:
    """A number, or a figure's name and what it is multiplied with."""

    factor: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class Test:
    """Two values compared."""

    left: Value
    comparison: str
    right: Value


@dataclass(frozen=True, slots=True)
class Criterion:
    """What was typed, and its tests: true when all of one of the lists are."""

    text: str
    either: tuple[tuple[Test, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """List the figures that it asks for."""
        tests = (test for tests in self.either for test in tests)
        return tuple(value.name for test in tests for value in (test.left, test.right) if value.name)

    def holds(self, report: Report) -> bool:
        """Whether it is true of a report. Raise CheckFailed when a figure it asks for was not taken."""
        return any(all(self._true(test, report) for test in tests) for tests in self.either)

    def _true(self, test: Test, report: Report) -> bool:
        left, right = (self._worth(value, report) for value in (test.left, test.right))
        return _COMPARISONS[test.comparison](left, right)

    def _worth(self, value: Value, report: Report) -> float:
        if not value.name:
            return value.factor
        worth = figure(report, value.name)
        if worth is None:
            raise CheckFailed(
                f"{self.text!r} cannot be judged: {value.name} was not measured",
                hint="preheat prove says why, beside it",
            )
        return value.factor * worth


def figure(report: Report, name: str) -> float | None:
    """Look up a figure by the name that criteria use."""
    condition, dot, rest = name.partition(".")
    if dot:
        return report.over_limit(condition) if rest == "over_limit" else report.median(condition, rest)
    found: float | None = getattr(report, name)
    return found


def read_criterion(text: str, conditions: Sequence[str] = CONDITIONS) -> Criterion:
    """Read one. Raise UsageError in clear words, also for a condition that will not be tried."""
    words = _Words(text)
    either = [[_test(words)]]
    while words.left:
        word = words.take("name")
        if word == "and":
            either[-1].append(_test(words))
        elif word == "or":
            either.append([_test(words)])
        else:
            raise words.wrong("and, or, or its end")
    criterion = Criterion(text, tuple(map(tuple, either)))
    for name in criterion.names:
        _check(name, text, conditions)
    return criterion


def _check(name: str, text: str, conditions: Sequence[str]) -> None:
    condition, dot, rest = name.partition(".")
    if (not dot and name not in WHOLE) or (dot and (condition not in CONDITIONS or rest not in _OF_CONDITIONS)):
        raise UsageError(
            f"{text!r} asks for {name}, which is no figure",
            hint=f"{', '.join(WHOLE)}, or preloaded.ready_s: all are in docs/proof.md",
        )
    if dot and condition not in conditions:
        raise UsageError(f"{text!r} asks for a {condition} start, and none is made", hint="name it in --conditions")


def _test(words: "_Words") -> Test:
    left = _value(words)
    return Test(left, words.take("sign"), _value(words))


def _value(words: "_Words") -> Value:
    number = words.maybe("number")
    if number is None:
        return Value(1.0, words.take("name"))
    if words.maybe_sign("*"):
        return Value(number, words.take("name"))
    return Value(number)


class _Words:
    """The words of a criterion that are left to read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def left(self) -> str:
        return self._text[self._at :].strip()

    def take(self, kind: str) -> str:
        found = _WORD.match(self._text, self._at)
        word = found[kind] if found else None
        if found is None or word is None or (kind == "sign" and word == "*"):
            raise self.wrong({"name": "a figure's name", "sign": "a comparison"}[kind])
        self._at = found.end()
        return word

    def maybe(self, kind: str) -> float | None:
        found = _WORD.match(self._text, self._at)
        if found is None or found[kind] is None:
            return None
        unit = found["unit"] or found["sign_unit"] or ""
        if unit not in _UNITS:
            raise UsageError(f"{self._text!r}: {unit} is not a unit", hint="%, ms, s, m, h, K, M, G")
        self._at = found.end()
        return float(found[kind]) * _UNITS[unit]

    def maybe_sign(self, sign: str) -> bool:
        found = _WORD.match(self._text, self._at)
        if found is None or found["sign"] != sign:
            return False
        self._at = found.end()
        return True

    def wrong(self, wanted: str) -> UsageError:
        rest = self.left or "its end"
        return UsageError(f"{self._text!r} is not a criterion: {wanted} is wanted before {rest!r}", hint=_EXAMPLE)


_EXAMPLE = "--fail-if 'ratio < 10 or preloaded.outbound > 0'"
