"""Mapped pages: which parts of the files that processes have mapped were needed so far, by proc(5)'s pagemap."""

from __future__ import annotations

import os
from array import array
from contextlib import suppress
from typing import Dict, Iterable, Iterator, List, Tuple

from preheat.guard.kernel.process_tree import MappedPart, mapped_parts
from preheat.guard.warm_up.start_list import MOST_RANGES

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PRESENT = (1 << 63) | (1 << 62)  # Documentation/admin-guide/mm/pagemap.rst: present, or swapped
# One read of a disk is cheaper than two with a gap of this size between them.
_GAP = 128 * 1024
_NO_FILES = ("/dev/", "/memfd:", "/SYSV", "/anon_hugepage")
_LONGEST = 1 << 32  # bytes of a mapping: longer ones are weights, or only reserved

Range = Tuple[int, int]


def mapped_pages(pids: Iterable[int], folders: Iterable[str]) -> Dict[str, List[Range]]:
    """Return the byte ranges of mapped files below `folders` that are in the processes' memory.

    The files that were mapped first come first. Needs no privilege for processes of the same user. Neighbouring
    ranges are joined; each file has 64 at most.
    """
    inside = tuple(f"{folder.rstrip('/')}/" for folder in folders)
    pages: Dict[str, List[Range]] = {}
    for pid in pids:
        with suppress(OSError, ValueError), open("/proc/%d/pagemap" % pid, "rb", buffering=0) as pagemap:
            # The kernel maps downwards: the file that was mapped first has the highest address.
            for part in reversed(list(mapped_parts(pid))):
                if part.path.startswith(inside) and not part.path.startswith(_NO_FILES):
                    pages.setdefault(part.path, []).extend(_present(pagemap.fileno(), part))
    return {path: joined(ranges) for path, ranges in pages.items() if ranges}


def joined(ranges: Iterable[Range]) -> List[Range]:
    """Return ranges in ascending order, those joined that are close; with larger gaps, until they are at most 64."""
    ordered, gap = sorted(ranges), _GAP
    while True:
        merged: List[Range] = []
        for start, stop in ordered:
            if merged and start - merged[-1][1] <= gap:
                merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
            else:
                merged.append((start, stop))
        if len(merged) <= MOST_RANGES:
            return merged
        ordered, gap = merged, gap * 2


def _present(pagemap: int, part: MappedPart) -> Iterator[Range]:
    """Yield the file's ranges that a mapping has in memory."""
    _, begin, end, offset = part
    if end - begin > _LONGEST:
        return
    entries = array("Q")
    entries.frombytes(os.pread(pagemap, (end - begin) // _PAGE * 8, begin // _PAGE * 8))
    first = -1
    for number, entry in enumerate(entries):
        if entry & _PRESENT and first < 0:
            first = number
        elif not entry & _PRESENT and first >= 0:
            yield offset + first * _PAGE, offset + number * _PAGE
            first = -1
    if first >= 0:
        yield offset + first * _PAGE, offset + len(entries) * _PAGE
