"""The rows of the traced programs are joined one by one, and a bench continues with those that are due."""

from pathlib import Path

from benchmarks.trace_rows import due, keep, known

TABLE = ("curl", "nltk", "timm")


def test_rows_are_joined_in_the_order_of_the_table(tmp_path: Path) -> None:
    results = tmp_path / "trace.json"
    for name, user in (("timm", "user"), ("curl", "root"), ("timm", "root"), ("gone", "root")):
        keep(name, user, {"date": "2026-11-30 10:00"}, (*TABLE, "gone"), results)
    keep("timm", "user", {"date": "2026-11-30 11:00"}, TABLE, results)
    assert list(known(results)) == ["curl", "timm"], "a program that is no longer judged has no row"
    assert {user: row["date"] for user, row in known(results)["timm"].items()} == {
        "user": "2026-11-30 11:00",
        "root": "2026-11-30 10:00",
    }


def test_due_rows_are_those_never_judged_then_the_oldest(tmp_path: Path) -> None:
    results = tmp_path / "trace.json"
    keep("curl", "root", {"date": "2026-11-30 12:00"}, TABLE, results)
    keep("nltk", "root", {"date": "2026-11-29 12:00"}, TABLE, results)
    rows = [(name, "root") for name in TABLE]
    assert due(rows, "", results) == [("timm", "root"), ("nltk", "root"), ("curl", "root")]
    assert due(rows, "2026-11-30", results) == [("timm", "root"), ("nltk", "root")]
