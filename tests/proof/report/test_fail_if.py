"""Thresholds: valid and invalid ones, and their results."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import CheckFailed, UsageError
from preheat.proof.report.fail_if import WHOLE, figure, read_criterion
from preheat.proof.report.report import FIGURES
from tests.proof.made import made


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("ratio<10", True),
        ("ratio >= 4.199", True),
        ("ratio < 4x", False),
        ("preloaded.ready_s > 1s", True),
        ("preloaded.ready_s <= 2000ms", True),
        (" cold.fetched == 9M ", True),
        ("cold.fetched == 9 MB", True),
        ("preloaded.outbound != 0", False),
        ("overhead > 2%", True),
        ("reached < 50 %", False),
    ],
)
def test_a_threshold_is_evaluated(text: str, true: bool) -> None:
    assert read_criterion(text).holds(made()) is true


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a figure's name"),
        ("ratio", "a comparison and a value"),
        ("ratio <", "a comparison and a value"),
        ("10 > ratio", "a comparison and a value"),
        ("ratio < 10 or ratio > 20", "a comparison and a value"),
        ("ratio < bound", "a comparison and a value"),
        ("ratio < 10; import os", "a comparison and a value"),
        ("ratio < -1", "a comparison and a value"),
        ("speed < 10", "contains speed, which is not a figure"),
        ("hot.ready_s < 10", "which is not a figure"),
        ("cold.speed < 10", "which is not a figure"),
        ("ratio < 10parsecs", "parsecs is not a unit"),
        ("__class__ == 1", "which is not a figure"),
    ],
)
def test_an_invalid_threshold_is_rejected_before_anything_is_started(text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_criterion(text)
    assert said in raised.value.message
    assert raised.value.hint


def test_a_condition_without_starts_is_rejected() -> None:
    with pytest.raises(UsageError, match="a warm start, but none is made"):
        read_criterion("warm.ready_s < 1", ("cold", "preloaded"))


def test_a_figure_that_was_not_measured_fails_the_check() -> None:
    with pytest.raises(CheckFailed, match=r"preloaded\.video_memory was not measured"):
        read_criterion("preloaded.video_memory > 1G").holds(made())


def test_every_documented_name_is_a_figure() -> None:
    report = made()
    for name in (*WHOLE, *(f"{condition}.{one}" for condition in ("cold", "preloaded") for one in FIGURES)):
        assert read_criterion(f"{name} < 1").name == name
        figure(report, name)


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_rejected_with_a_message(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert read_criterion(text).name
