"""Limits: no measured figure is better than a limit that a report states."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.translations import ENGLISH, catalogue
from preheat.proof.limits.disk_speed import Speed
from preheat.proof.limits.line_speed import Line
from preheat.proof.report.json_figures import figures
from preheat.proof.report.report import Report
from preheat.proof.report.stages import stages_before, stages_during
from preheat.proof.report.table import table
from preheat.proof.report.wording import Wording
from preheat.proof.start.timeline import COLD, PRELOADED, WARM, Span
from tests.proof.made import made

SECONDS, RATES = st.floats(0.01, 50), st.floats(1e4, 1e10)


@given(
    ready=st.lists(SECONDS, min_size=1, max_size=3),
    imports=st.lists(SECONDS, min_size=1, max_size=3),
    disk=RATES,
    line=RATES,
    reads=st.tuples(SECONDS, st.integers(0, 20_000_000)),
    download=SECONDS,
)
def test_no_figure_is_better_than_a_stated_limit(
    ready: list[float],
    imports: list[float],
    disk: float,
    line: float,
    reads: tuple[float, int],
    download: float,
) -> None:
    report = _measured(made(ready), imports, disk, line, reads, download)
    for condition in report.conditions:
        limit, over = report.limit_s(condition), report.over_limit(condition)
        assert limit is None or all(taken >= limit for taken in report.taken(condition, "ready_s"))
        assert over is None or over >= 1
        timeline = report.typical(condition)
        for stage in (*stages_before(report, timeline), *stages_during(report, timeline)):
            assert stage.share is None or stage.share <= 1
    assert report.reached is None or report.reached <= 1
    assert report.bound is None or report.ratio is None or report.ratio <= report.bound


def _measured(
    report: Report, imports: list[float], disk: float, line: float, reads: tuple[float, int], download: float
) -> Report:
    seconds, size = reads
    reading = replace(report.typical(PRELOADED).reading, spans=(Span(0.1, 0.1 + seconds),), size=size, until_ready=size)
    return replace(
        report,
        timelines=tuple(
            replace(one, reading=reading)
            if one.condition == PRELOADED
            else replace(one, downloading=(Span(0.0, download),))
            if one.condition == COLD
            else one
            for one in report.timelines
        ),
        limits=replace(
            report.limits,
            line=Line(line, line, 64, 0.04),
            speed=Speed(disk, 5e9, 1e9),
            imports=tuple(imports),
            imports_warm=tuple(imports),
        ),
    )


def test_a_limit_that_was_beaten_is_said_to_be_none_and_not_printed() -> None:
    report = made()
    slow_alone = replace(report, limits=replace(report.limits, speed=Speed(1e6, 5e9, 1e9)))
    assert slow_alone.is_beaten(PRELOADED)
    assert not slow_alone.is_beaten(WARM)
    assert (slow_alone.bound, slow_alone.reached, slow_alone.over_limit(PRELOADED)) == (None, None, None)
    said = list(Wording(slow_alone, catalogue(ENGLISH)).remarks())
    assert not any("at most" in one or "preloaded start takes" in one for one in said)
    assert any("A preloaded start was faster than" in one and "no limit, and none is stated" in one for one in said)
    assert "faster than measured alone (9.00 s): no limit" in table(slow_alone)
    found = figures(slow_alone)
    assert found.limits.beaten == (PRELOADED,)
    assert found.limits.start_s[PRELOADED] is None
    assert [stage.name for stage in found.stages[PRELOADED] if stage.beaten] == ["read"]


def test_imports_that_a_start_did_faster_than_they_were_measured_alone_are_the_limit() -> None:
    report = made()
    slow_alone = replace(report, limits=replace(report.limits, imports=(1.8,), imports_warm=(1.5,)))
    # A start took 0.1 s for Python and 1.0 s for its imports, 1.8 s is no limit of anything then.
    assert slow_alone.limit_s(PRELOADED) == pytest.approx(1.1 + 0.01)
    assert slow_alone.limit_s(WARM) == pytest.approx(1.1)
    assert slow_alone.bound == pytest.approx(10.5 / (1.1 + 0.01 + 0.4))
    [stage] = [one for one in stages_during(slow_alone, slow_alone.typical(PRELOADED)) if one.name == "imports"]
    assert (stage.beaten, stage.share) == (False, 1.0)


def test_imports_from_the_page_cache_are_no_limit_of_those_from_disk() -> None:
    report = made()
    imports = report.typical(WARM).imports
    assert imports is not None
    quick = replace(imports, spans=(Span(0.1, 0.4),))
    starts = tuple(replace(one, imports=quick) if one.condition == WARM else one for one in report.timelines)
    held = replace(report, timelines=starts)
    assert held.limit_s(WARM) == pytest.approx(0.4)
    assert held.limit_s(PRELOADED) == report.limit_s(PRELOADED)


def test_a_start_that_was_the_fastest_of_three_beats_the_limit_of_all() -> None:
    report = made((2.0, 0.5, 2.1))
    assert report.is_beaten(PRELOADED)
    assert report.limit_s(PRELOADED) is None


def test_bytes_that_are_read_after_a_start_is_ready_are_no_part_of_its_limit() -> None:
    report = made()
    lazy = replace(report.typical(PRELOADED), reading=replace(report.typical(PRELOADED).reading, until_ready=0))
    assert report.least_s(PRELOADED) == pytest.approx(0.91)
    assert replace(report, timelines=(lazy,)).least_s(PRELOADED) == 0.9


def test_the_best_rate_of_the_line_is_that_of_the_pull_if_it_was_faster() -> None:
    report = made()
    [stage] = [one for one in stages_before(report, report.typical(PRELOADED)) if one.name == "pull"]
    assert stage.limit_s == pytest.approx(9_000_000 / 2e7)
    slow_line = replace(report, limits=replace(report.limits, line=Line(1e6, 2e6, 64, 0.04)))
    assert slow_line.line_rate == pytest.approx(9_001_000 / 0.8)
    [stage] = [one for one in stages_before(slow_line, slow_line.typical(PRELOADED)) if one.name == "pull"]
    assert stage.share is not None
    assert 0.99 < stage.share <= 1


def test_python_that_stayed_in_the_page_cache_is_a_warning_and_not_said_to_be_read_from_disk() -> None:
    report = replace(made([1.0]), environments=("/venv",))
    assert "is read from disk too: /venv." in table(report)
    held = replace(report, environment_stayed=374_000_000)
    text = table(held)
    assert "is read from disk too" not in text
    assert "Warning: 374.0 MB of the app's Python stayed in the page cache" in text
    assert figures(held).environment_stayed == 374_000_000
    assert "374.0 MB 留在页缓存里" in "".join(Wording(held, catalogue("zh")).remarks())


def test_a_start_faster_than_its_limit_may_also_be_due_to_a_busy_machine() -> None:
    report = _measured(made([0.5]), [40.0], 1e9, 1e9, (1.0, 1000), 1.0)
    assert "or the machine was busier when these were measured alone" in table(report)
