"""Properties of spans and stages, the pure parts of a timeline."""

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from preheat.proof.report.stages import stages_before, stages_during
from preheat.proof.start.timeline import COLD, PRELOADED, Imports, Span, merged, until
from tests.proof.made import made

TIMES = st.floats(0, 20, allow_nan=False)
SPANS = st.lists(st.tuples(TIMES, TIMES).map(lambda pair: Span(min(pair), max(pair))), max_size=8)


@given(SPANS)
def test_merged_spans_are_sorted_disjoint_and_cover_the_same_time(spans: list[Span]) -> None:
    joined = merged(spans)
    assert all(one.stop < other.start for one, other in itertools.pairwise(joined))
    for span in spans:
        if span.seconds:
            assert any(one.start <= span.start and span.stop <= one.stop for one in joined)
    assert {edge for one in joined for edge in (one.start, one.stop)} <= {
        edge for one in spans for edge in (one.start, one.stop)
    }


@given(SPANS, TIMES)
def test_cutting_spans_removes_the_later_time(spans: list[Span], stop: float) -> None:
    cut = until(merged(spans), stop)
    assert all(span.stop <= stop for span in cut)
    assert sum(span.seconds for span in cut) <= sum(span.seconds for span in merged(spans)) + 1e-9


@given(SPANS, SPANS, st.floats(0.1, 20))
def test_the_stages_of_a_start_cover_all_of_its_time(imports: list[Span], loads: list[Span], ready_s: float) -> None:
    report = made()
    timeline = replace(
        report.typical(COLD),
        ready_s=ready_s,
        first_s=None,
        imports=Imports(0.05, until(merged(imports), ready_s), (), 0),
        downloading=until(merged(loads), ready_s),
    )
    covered = merged(span for stage in stages_during(report, timeline) for span in stage.spans)
    assert abs(sum(span.seconds for span in covered) - ready_s) < 1e-6
    assert covered[0].start == 0.0


def test_stages_have_their_minimum_time() -> None:
    report = made()
    during = {stage.name: stage for stage in stages_during(report, report.typical(PRELOADED))}
    assert list(during) == ["interpreter", "imports", "read", "rest", "first-use"]
    assert during["interpreter"].limit_s == 0.1
    assert during["imports"].limit_s == 0.8
    assert during["read"].limit_s == 0.01
    assert during["rest"].share is None
    before = {stage.name: stage for stage in stages_before(report, report.typical(PRELOADED))}
    assert list(before) == ["resolve", "pull", "verify", "place"]
    assert before["pull"].limit_s == 9_000_000 / 2e7
    assert stages_before(report, report.typical(COLD)) == []
