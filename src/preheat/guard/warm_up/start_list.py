"""Start list: what a start reads outside of the library, in its order, by places instead of one machine's paths.

One line a file: `{PLACE}/PATH`, or `{PLACE}/PATH`, a tab and ranges of bytes, such as `0-4096 65536-131072`, without
the last byte. Anybody may have written the list: it is only ever used to read ahead, what is in none of the places is
skipped, and so is all that is no regular file.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Dict, Iterable, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from preheat.guard.warm_up.warmed_file import FileRange, looks_cached

MOST_LETTERS = 4 << 20
MOST_FILES = 50_000
MOST_RANGES = 64
_LOOKS = 64
_LINE = re.compile(r"\{([a-z-]+)\}/([^\t\0]{1,4096})(?:\t([0-9 -]{1,4096}))?")
_RANGE = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")
_QUOTES = "'''"  # they end the text in a lock
_UP = re.compile(r"(?:^|/)(?:\.{0,2})(?:/|$)")

Ranges = Sequence[Tuple[int, int]]


class StartList(NamedTuple):
    """The text of a list, and the folders of its places by their names."""

    text: str
    places: Mapping[str, str]

    def ranges(self) -> Iterator[FileRange]:
        """Yield the ranges of the files that are on this machine; none at all if those sampled are in the page cache.

        Costs about two milliseconds in that case.
        """
        lines = _lines(self.text)
        real = {name: os.path.realpath(folder) for name, folder in self.places.items()}
        plain = dict.fromkeys(real.values(), True)
        if not looks_cached(_in_places(lines[:: len(lines) // _LOOKS + 1], real, plain)):
            yield from _in_places(lines, real, plain)


def _in_places(lines: Iterable[str], real: Mapping[str, str], plain: Dict[str, bool]) -> Iterator[FileRange]:
    """Yield the ranges of lines; `plain` are the folders that are known to be folders below a place, or not to be."""
    for path, ranges in _located(lines, real):
        if _is_plain(path.rpartition("/")[0], plain):
            for start, stop in _ranges(ranges):
                yield FileRange(path, start, stop, follow=False)


def plain_ranges(text: str, places: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of a list with the paths of other folders, for `--warm`; nothing is looked up on this machine."""
    for path, ranges in _located(_lines(text), places):
        yield from (f"{path}\t{start}\t{stop}" if stop else path for start, stop in _ranges(ranges))


def _lines(text: str) -> List[str]:
    return text[:MOST_LETTERS].split("\n")[:MOST_FILES]


def _located(lines: Iterable[str], places: Mapping[str, str]) -> Iterator[Tuple[str, str | None]]:
    """Yield the path of each line that is in one of these folders, and the line's ranges as text."""
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is not None and found[1] in places and not _UP.search(found[2]):
            yield f"{places[found[1]]}/{found[2]}", found[3]


def _is_plain(folder: str, plain: Dict[str, bool]) -> bool:
    """Return whether no symlink is on the way from a place to a folder: it may lead anywhere."""
    known = plain.get(folder)
    if known is None:
        try:
            known = stat.S_ISDIR(os.lstat(folder).st_mode) and _is_plain(folder.rpartition("/")[0], plain)
        except (OSError, RecursionError):
            known = False
        plain[folder] = known
    return known


def _ranges(text: str | None) -> List[Tuple[int, int]]:
    if text is None:
        return [(0, 0)]
    found = (_RANGE.fullmatch(word) for word in text.split(" ", MOST_RANGES)[:MOST_RANGES])
    pairs = [(int(one[1]), int(one[2])) for one in found if one is not None]
    return [(start, stop) for start, stop in pairs if start < stop]


def list_text(files: Mapping[str, Ranges], places: Mapping[str, str]) -> str:
    """Return a list of files in their order, each with its ranges, or none for the whole file.

    Files outside of all places are left out, files with line breaks in their names, and the last ones if there are too
    many.
    """
    folders = sorted(
        (
            (spelled.rstrip("/"), name)
            for name, folder in places.items()
            for spelled in {folder, os.path.realpath(folder)}
        ),
        key=lambda item: -len(item[0]),
    )
    lines: Dict[str, None] = {}
    left = MOST_LETTERS
    for path, ranges in files.items():
        place = next(((folder, name) for folder, name in folders if path.startswith(f"{folder}/")), None)
        if place is None:
            continue
        line = f"{{{place[1]}}}{path[len(place[0]) :]}"
        if ranges:
            line += "\t" + " ".join(f"{start}-{stop}" for start, stop in ranges[:MOST_RANGES])
        if _LINE.fullmatch(line) is None or _QUOTES in line or not line.replace("\t", "").isprintable():
            continue
        left -= len(line) + 1
        if left < 0 or len(lines) >= MOST_FILES:
            break
        lines[line] = None
    return "".join(f"{line}\n" for line in lines)
