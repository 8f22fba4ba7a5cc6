"""TOML file: parse a file into typed values; each error has its line number."""

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from preheat.core.errors import UsageError
from preheat.disk.regular_file import open_regular

_Words = TypeVar("_Words")
Where = tuple[str | int, ...]
LARGEST = 64 << 20  # bytes of a recipe or a lock: 30,000 files take 5 MB

_NAME = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_NAMES = rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*"
_TABLE_OF_MANY = re.compile(rf"[ \t]*\[\[[ \t]*({_NAMES})[ \t]*\]\]")
_TABLE = re.compile(rf"[ \t]*\[[ \t]*({_NAMES})[ \t]*\]")
_KEY = re.compile(rf"[ \t]*({_NAMES})[ \t]*=")


class Misread(Exception):
    """A mistake in a document; `where` is its path of keys and indices."""

    def __init__(self, message: str, where: Where) -> None:
        super().__init__(message)
        self.message = message
        self.where = where


def read_body(path: Path) -> bytes:
    """Return the content of a regular file. Raise OSError for anything else, without waiting for a FIFO or device."""
    with open_regular(path) as file:
        return file.read(LARGEST + 1)


def read_form(path: Path, body: bytes, form: type[_Words]) -> _Words:
    """Parse `body`, the content of `path`, as `form`. Raise UsageError with the file, line and mistake."""
    if len(body) > LARGEST:
        raise UsageError(f"{path} is larger than {LARGEST} bytes", hint="is it the right file?")
    try:
        return msgspec.toml.decode(body, type=form)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        where = _where(place.rstrip("`"))
        if unknown := re.search(r"unknown field `(.*)`", message):
            where = (*where, unknown[1])
        raise mistake(path, body, Misread(message, where)) from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply", hint="see docs/recipes.md for the format") from error
    except ValueError as error:
        # The TOML parser's message has the line; that for a number with too many digits has the reason only.
        raise UsageError(f"{path}: {error}", hint="see docs/recipes.md for the format") from error


def mistake(path: Path, body: bytes, found: Misread) -> UsageError:
    """Return a UsageError for the mistake, with its file and line."""
    line = line_of(body.decode("utf-8", "replace"), found.where)
    return UsageError(f"{path}:{line}: {found.message}", hint="see docs/recipes.md for the format")


def line_of(text: str, where: Where) -> int:
    """Return the line (from 1) of `where`, or of the closest enclosing table or key that can be found."""
    best, best_depth = 1, 0
    table: Where = ()
    counts: dict[Where, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        place: Where
        if many := _TABLE_OF_MANY.match(line):
            names = _resolved(_parts(many[1]), counts)
            counts[names] = counts.get(names, -1) + 1
            place = table = (*names, counts[names])
        elif one := _TABLE.match(line):
            place = table = _resolved(_parts(one[1]), counts)
        elif key := _KEY.match(line):
            place = (*table, *_parts(key[1]))
        else:
            continue
        depth = _common(place, where)
        # Of equal depths, keep the first line: it is that of `where` itself, not of a place inside it.
        if depth > best_depth:
            best, best_depth = number, depth
    return best


def _resolved(names: Where, counts: dict[Where, int]) -> Where:
    """Add the indices of arrays of tables to a path: `needs.to` after the second `[[needs]]` is `needs[1].to`."""
    place: Where = ()
    for name in names[:-1]:
        place = (*place, name)
        if place in counts:
            place = (*place, counts[place])
    return (*place, names[-1])


def _common(place: Where, where: Where) -> int:
    depth = 0
    for one, other in zip(place, where, strict=False):
        if one != other:
            break
        depth += 1
    return depth


def _parts(names: str) -> Where:
    return tuple(name[1:-1] if name[0] in "\"'" else name for name in re.findall(_NAME, names))


def _where(place: str) -> Where:
    """Parse the path in msgspec's messages: `$.needs[0].to[...]`."""
    steps = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", place)
    return tuple(int(index) if index else name for name, index in steps)
