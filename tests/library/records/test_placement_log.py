"""PlacementLog: marks of files outside the library are read as they were written, whatever else the logs contain."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import git_sha1, sha256
from preheat.core.placement import BEGUN, KEPT, OURS, THEIRS, StatFields
from preheat.library.records.placement_log import PlacementLog

DIGEST, OTHER = sha256("a" * 64), git_sha1("b" * 40)
LOOK = StatFields(12, 5000, 1_700_000_000_123_456_789, 1_700_000_001_000_000_000)


def test_the_newest_mark_of_all_logs_comes_first(tmp_path: Path) -> None:
    for state, digest in ((OURS, DIGEST), (KEPT, OTHER), (THEIRS, DIGEST)):
        PlacementLog(tmp_path).note(state, [("/app/gpt.pth", digest, LOOK)])
    found = PlacementLog(tmp_path).below(["/app"])
    assert [(mark.state, mark.digest, mark.look) for mark in found["/app/gpt.pth"]] == [
        (THEIRS, DIGEST, LOOK),
        (KEPT, OTHER, LOOK),
        (OURS, DIGEST, LOOK),
    ]


def test_only_marks_below_the_requested_folders_are_read(tmp_path: Path) -> None:
    marks = PlacementLog(tmp_path)
    marks.begin([(path, DIGEST) for path in ("/app/a", "/app/deep/b", "/app2/c", "/other/d")])
    assert sorted(marks.below(["/app"])) == ["/app/a", "/app/deep/b"]
    assert sorted(marks.below(["/app2/", "/other"])) == ["/app2/c", "/other/d"]
    assert sorted(marks.below(["/"])) == ["/app/a", "/app/deep/b", "/app2/c", "/other/d"]
    assert {mark.state for mark in marks.below(["/app"])["/app/a"]} == {BEGUN}


@given(name=st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_any_file_name_is_read_back(name: bytes, tmp_path_factory: object) -> None:
    assert hasattr(tmp_path_factory, "mktemp")
    marks = PlacementLog(tmp_path_factory.mktemp("marks"))
    path = "/app/" + name.decode("utf-8", "surrogateescape")
    marks.note(OURS, [(path, DIGEST, LOOK)])
    assert list(marks.below(["/app"])) == [path]


def test_a_truncated_or_invalid_log_is_read_as_far_as_it_is_valid(tmp_path: Path) -> None:
    PlacementLog(tmp_path).note(OURS, [("/app/a", DIGEST, LOOK), ("/app/b", DIGEST, LOOK)])
    (log,) = tmp_path.glob("*.log")
    body = log.read_bytes()
    for size in range(len(body)):
        log.write_bytes(body[:size])
        assert set(PlacementLog(tmp_path).below(["/app"])) <= {"/app/a", "/app/b"}
    log.write_bytes(body + b"ours nonsense 1 2 3 4 5 /app/c\nours\n\xff\xfe /app/d\n")
    assert set(PlacementLog(tmp_path).below(["/app"])) == {"/app/a", "/app/b"}
    log.write_bytes(b"something else\n" + body)
    assert PlacementLog(tmp_path).below(["/app"]) == {}


def test_the_second_folder_is_used_if_the_first_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "library").write_text("no folder")
    marks = PlacementLog(tmp_path / "library", tmp_path / "state")
    marks.note(OURS, [("/app/a", DIGEST, LOOK)])
    assert list(PlacementLog(tmp_path / "library", tmp_path / "state").below(["/app"])) == ["/app/a"]
    PlacementLog(tmp_path / "library").note(OURS, [("/app/b", DIGEST, LOOK)])


def test_processes_of_a_machine_append_to_one_log_even_after_a_kill_within_a_line(tmp_path: Path) -> None:
    PlacementLog(tmp_path).note(OURS, [("/app/a", DIGEST, LOOK)])
    (log,) = tmp_path.glob("*.log")
    log.write_bytes(log.read_bytes() + b"ours sha2")
    PlacementLog(tmp_path).note(OURS, [("/app/b", DIGEST, LOOK)])
    assert list(tmp_path.iterdir()) == [log]
    assert set(PlacementLog(tmp_path).below(["/app"])) == {"/app/a", "/app/b"}


@pytest.mark.parametrize("logs", [70, 1])
def test_many_logs_or_old_lines_are_merged_into_one_equivalent_log(tmp_path: Path, logs: int) -> None:
    (tmp_path / "a").touch()
    marks = PlacementLog(tmp_path / "placed")
    for number in range(70 if logs > 1 else 1100):
        marks.note(OURS, [(f"{tmp_path}/a", DIGEST, StatFields(number))])
        if logs > 1:  # as other machines would
            (log,) = (tmp_path / "placed").glob("*-*.log")
            log.rename(log.with_name(f"{number}.log"))
            marks = PlacementLog(tmp_path / "placed")
    (last,) = marks.below([str(tmp_path)])[f"{tmp_path}/a"][:1]
    marks.tidy()
    assert len(list((tmp_path / "placed").iterdir())) == 1
    (mark,) = marks.below([str(tmp_path)])[f"{tmp_path}/a"]
    assert mark == last
