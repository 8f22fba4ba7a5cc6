"""Mapped pages: the parts of mapped files that a process used."""

import mmap
import subprocess
import sys
from pathlib import Path

from preheat.guard.warm_up.mapped_pages import joined, mapped_pages

CODE = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
mapped.madvise(mmap.MADV_RANDOM)
for at in (0, 16 << 20): mapped[at]
print("used", flush=True)
input()
"""


def test_only_the_used_parts_of_a_mapped_file_are_found(tmp_path: Path) -> None:
    path = tmp_path / "library.so"
    path.write_bytes(b"x" * (32 << 20))
    words = [sys.executable, "-I", "-S", "-c", CODE, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"used\n"
        found = mapped_pages([process.pid, 1 << 30], [str(tmp_path)])
        assert mapped_pages([process.pid], [str(tmp_path / "other")]) == {}
        process.communicate(b"\n")
    [(name, ranges)] = found.items()
    assert name == str(path)
    # The kernel maps what is cached around a page that is used, up to two megabytes where pages are that large.
    assert all(any(start <= at < stop for start, stop in ranges) for at in (0, 16 << 20))
    assert sum(stop - start for start, stop in ranges) <= 8 << 20


def test_a_process_that_has_ended_has_no_pages() -> None:
    assert mapped_pages([1 << 30], ["/"]) == {}


def test_close_ranges_are_joined_and_far_ones_are_not() -> None:
    page, far = mmap.PAGESIZE, 1 << 20
    assert joined([(far, far + page), (0, page), (page * 2, page * 3)]) == [(0, page * 3), (far, far + page)]


def test_a_file_has_a_bounded_number_of_ranges() -> None:
    ranges = joined([(at << 20, (at << 20) + 4096) for at in range(10_000)])
    assert len(ranges) <= 64
    assert (ranges[0][0], ranges[-1][1]) == (0, (9_999 << 20) + 4096)
