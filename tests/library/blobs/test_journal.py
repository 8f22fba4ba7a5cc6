"""The journal: after kill -9 it forgets nothing; after a power cut it claims only what is on disk."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.library.blobs.journal import Journal
from preheat.library.blobs.ranges import ByteRange, merge

SIZE = 1000
Story = list[tuple[str, int, int]]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 900), st.integers(1, 100)),
        st.tuples(st.just("sync"), st.just(0), st.just(0)),
    ),
    max_size=20,
)


def played(folder: Path, story: Story) -> tuple[Path, list[ByteRange], list[ByteRange]]:
    """Apply operations to a journal; return it, the written ranges and the durable ones."""
    path = folder / "x.journal"
    path.unlink(missing_ok=True)
    journal = Journal.read(path, SIZE, "boot-1")
    written: list[ByteRange] = []
    durable: list[ByteRange] = []
    for kind, start, size in story:
        if kind == "write":
            written.append(ByteRange(start, start + size))
            journal.wrote(written[-1])
        else:
            journal.synced(journal.undurable())
            durable = list(written)
    journal.close()
    return path, merge(written), merge(durable)


@given(story=steps)
def test_within_a_boot_every_written_byte_is_remembered(tmp_path_factory: pytest.TempPathFactory, story: Story) -> None:
    path, written, _durable = played(tmp_path_factory.mktemp("j"), story)
    assert Journal.read(path, SIZE, "boot-1").ranges == written


@given(story=steps)
def test_after_a_reboot_only_durable_bytes_are_claimed(tmp_path_factory: pytest.TempPathFactory, story: Story) -> None:
    path, _written, durable = played(tmp_path_factory.mktemp("j"), story)
    assert Journal.read(path, SIZE, "boot-2").ranges == durable


@given(story=steps, cut=st.integers(0, 400))
def test_a_truncated_journal_claims_no_more_than_was_written(
    tmp_path_factory: pytest.TempPathFactory, story: Story, cut: int
) -> None:
    path, written, _durable = played(tmp_path_factory.mktemp("j"), story)
    if path.exists():
        path.write_bytes(path.read_bytes()[:cut])
    claimed = {at for start, stop in Journal.read(path, SIZE, "boot-1").ranges for at in range(start, stop)}
    assert claimed <= {at for start, stop in written for at in range(start, stop)}


def test_resuming_rewrites_the_journal_without_losing_entries(tmp_path: Path) -> None:
    path, _written, _durable = played(tmp_path, [("write", 0, 100), ("sync", 0, 0), ("write", 200, 50)])
    again = Journal.read(path, SIZE, "boot-1")
    again.wrote(ByteRange(500, 600))
    again.close()
    assert Journal.read(path, SIZE, "boot-1").ranges == [ByteRange(0, 100), ByteRange(200, 250), ByteRange(500, 600)]
    assert Journal.read(path, SIZE, "boot-2").ranges == [ByteRange(0, 100)]


def test_a_journal_of_another_size_or_with_garbage_starts_empty(tmp_path: Path) -> None:
    path, _written, _durable = played(tmp_path, [("write", 0, 100)])
    assert Journal.read(path, SIZE + 1, "boot-1").ranges == []
    path.write_bytes(b"\x00\xff rubbish\nw 0 10\n")
    assert Journal.read(path, SIZE, "boot-1").ranges == []
    path.write_text(f"preheat-journal 1 {SIZE} boot-1\nw 5 2\nw 0 99999\nw x y\nz 0 1\nw 0 7\n")
    assert Journal.read(path, SIZE, "boot-1").ranges == [ByteRange(0, 7)]
