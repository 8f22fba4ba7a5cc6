"""TOML file: parse a file into typed values; each error has its line number."""

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from preheat.core.errors import UsageError, did_you_mean
from preheat.disk.regular_file import open_regular

_Words = TypeVar("_Words")
Where = tuple[str | int, ...]
LARGEST = 64 << 20  # bytes of a recipe or a lock: 30,000 files take 5 MB

_NUL = re.compile(rb"\\(?:u0000|U00000000|x00)")
_HINT = "to see the format: preheat recipes --form"
# The types in msgspec's messages.
_TYPES = {
    "str": "text in quotes",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list in brackets",
    "object": "a table",
    "datetime": "a date",
}

# Strings, not compiled patterns: only mistakes need them.
_NAME = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_NAMES = rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*"
_TABLE_OF_MANY = rf"[ \t]*\[\[[ \t]*({_NAMES})[ \t]*\]\]"
_TABLE = rf"[ \t]*\[[ \t]*({_NAMES})[ \t]*\]"
_KEY = rf"[ \t]*({_NAMES})[ \t]*="


class Misread(Exception):
    """A mistake in a document; `where` is its path of keys and indices, `hint` the beginning of the hint."""

    def __init__(self, message: str, where: Where, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint


def read_body(path: Path) -> bytes:
    """Return the content of a regular file. Raise OSError for anything else, without waiting for a FIFO or device."""
    with open_regular(path) as file:
        return file.read(LARGEST + 1)


def read_form(path: Path, body: bytes, form: type[_Words]) -> _Words:
    """Parse `body`, the content of `path`, as `form`. Raise UsageError with the file, line and mistake."""
    if len(body) > LARGEST:
        raise UsageError(f"{path} is larger than {LARGEST} bytes", hint="is it the right file?")
    if _NUL.search(body):
        raise UsageError(f"{path} has the character NUL in a value", hint="no path, word or variable can contain it")
    try:
        return msgspec.toml.decode(body, type=form)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        raise mistake(path, body, _in_plain_words(message, place.rstrip("`"), form)) from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply", hint=_HINT) from error
    except ValueError as error:
        # That for a number with too many digits has the reason only.
        found = re.fullmatch(r"(.*) \(at line (\d+), column \d+\)", str(error), re.DOTALL)
        words = f"{path}:{found[2]}: not valid TOML: {found[1].lower()}" if found else f"{path}: {error}"
        raise UsageError(words, hint=_HINT) from error


def mistake(path: Path, body: bytes, found: Misread) -> UsageError:
    """Return a UsageError for the mistake, with its file and line."""
    line = line_of(body.decode("utf-8", "replace"), found.where)
    return UsageError(f"{path}:{line}: {found.message}", hint=found.hint + _HINT)


def _in_plain_words(message: str, place: str, form: type) -> Misread:
    """Return the mistake that a message of msgspec describes, in the words of TOML."""
    where = _where(place)
    table = f"[{'.'.join(name for name in where if isinstance(name, str))}]" if where else "the file"
    if found := re.search(r"unknown field `(.*)`", message):
        known = _fields(form, where)
        hint = did_you_mean(found[1], known) or f"{table} has {', '.join(known)}; "
        return Misread(f"{table} has no field {found[1]!r}", (*where, found[1]), hint)
    if found := re.search(r"missing required field `(.*)`", message):
        return Misread(f"{table} needs the field {found[1]!r}", where)
    if found := re.fullmatch(r"Expected `(\w+)(?: \| null)?`, got `(\w+)`", message):
        field = next((name for name in reversed(where) if isinstance(name, str)), "it")
        field = f"each value in {field}" if place.endswith("]") else field
        return Misread(f"{field} must be {_TYPES.get(found[1], found[1])}, not {_TYPES.get(found[2], found[2])}", where)
    return Misread(message[:1].lower() + message[1:], where)


def _fields(form: type, where: Where) -> list[str]:
    """Return the names of the fields at `where`; empty if no table with fixed fields is there."""
    import msgspec.inspect as inspect  # only mistakes need it

    kind: object = inspect.type_info(form)
    for step in where:
        if isinstance(kind, inspect.UnionType):
            kind = next(one for one in kind.types if isinstance(one, inspect.StructType))
        if isinstance(kind, inspect.StructType):
            kind = next((field.type for field in kind.fields if field.encode_name == step), None)
        elif isinstance(kind, inspect.ListType | inspect.DictType):
            kind = kind.item_type if isinstance(kind, inspect.ListType) else kind.value_type
    if isinstance(kind, inspect.UnionType):
        kind = next((one for one in kind.types if isinstance(one, inspect.StructType)), None)
    return [field.encode_name for field in kind.fields] if isinstance(kind, inspect.StructType) else []


def line_of(text: str, where: Where) -> int:
    """Return the line (from 1) of `where`, or of the closest enclosing table or key that can be found."""
    best, best_depth = 1, 0
    table: Where = ()
    counts: dict[Where, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        place: Where
        if many := re.match(_TABLE_OF_MANY, line):
            names = _resolved(_parts(many[1]), counts)
            counts[names] = counts.get(names, -1) + 1
            place = table = (*names, counts[names])
        elif one := re.match(_TABLE, line):
            place = table = _resolved(_parts(one[1]), counts)
        elif key := re.match(_KEY, line):
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
