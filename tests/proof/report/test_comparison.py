"""Comparison: a worse figure is flagged; noise is not."""

import json
from pathlib import Path

import msgspec
import pytest

from preheat.core.errors import UsageError
from preheat.proof.report.comparison import OlderReport, compare, read_older
from preheat.proof.report.json_figures import figures
from preheat.proof.report.report import Report
from tests.proof.made import made


def kept(report: Report, folder: Path) -> OlderReport:
    """Write a report as `--json` does, and read it back."""
    lines = [{"event": "trial-started", "condition": "cold"}, figures(report)]
    path = folder / "old.json"
    path.write_bytes(b"\n".join(msgspec.json.encode(line) for line in lines))
    return read_older(path)


def test_the_same_figures_are_not_worse(tmp_path: Path) -> None:
    older = kept(made((2.0, 2.1)), tmp_path)
    assert not [change for change in compare(older, made((2.0, 2.1))) if change.worse]


def test_a_slower_start_is_flagged_and_a_faster_one_is_not(tmp_path: Path) -> None:
    older = kept(made((2.0, 2.02, 1.98)), tmp_path)
    worse = [change for change in compare(older, made((2.6, 2.62, 2.58))) if change.worse]
    assert {(change.condition, change.figure) for change in worse} == {
        ("preloaded", "ready_s"),
        ("preloaded", "first_s"),
    }
    assert worse[0].part == pytest.approx(0.3, abs=0.01)
    assert not [change for change in compare(older, made((1.5, 1.5, 1.5))) if change.worse]


def test_a_change_within_the_measured_noise_is_tolerated(tmp_path: Path) -> None:
    noisy = kept(made((1.4, 2.0, 2.6)), tmp_path)
    assert not [change for change in compare(noisy, made((2.5, 2.5, 2.5))) if change.worse]


def test_one_more_request_is_not_noise(tmp_path: Path) -> None:
    report = made()
    document = msgspec.to_builtins(figures(report))
    document["preloaded"]["outbound"] = -1
    (tmp_path / "old.json").write_text(json.dumps(document))
    older = read_older(tmp_path / "old.json")
    assert [change.figure for change in compare(older, report) if change.worse] == ["outbound"]


def test_reports_of_another_app_or_hub_are_not_compared(tmp_path: Path) -> None:
    older = kept(made(), tmp_path)
    with pytest.raises(UsageError, match="about talk, not sing"):
        compare(older, made(app="sing"))
    with pytest.raises(UsageError, match="imitated"):
        compare(OlderReport(older.app, None, older.medians, older.spreads), made())


@pytest.mark.parametrize("text", ["", "not json", "[1, 2]", '{"event": "done"}', '{"schema": 1, "timelines": []}'])
def test_an_invalid_report_is_rejected(tmp_path: Path, text: str) -> None:
    (tmp_path / "old.json").write_text(text)
    with pytest.raises(UsageError) as raised:
        read_older(tmp_path / "old.json")
    assert "prove --json" in raised.value.hint
    with pytest.raises(UsageError, match="cannot be read"):
        read_older(tmp_path / "none.json")
