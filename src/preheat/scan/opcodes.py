"""Opcodes: read the opcodes of a pickle that import, call or store a name, and skip all others, in linear time.

`pickletools.genops` takes microseconds for each opcode: a file of small numbers took 2.7 s for each megabyte. Sources
of the format: pickletools, and Modules/_pickle.c for which opcodes leave the stack as it is.
"""

import codecs
import io
import pickletools
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import IO

_STEP = 1 << 20
_LONGEST_LINE = 16 << 20
_LONGEST_NAME = 4096
# A string that may hold a pickle: longer than 10 bytes, and, if it is text, with the marker of protocol 2 or later.
_SHORTEST, _MARKED = 11, "\x80".encode()
PROTO, FRAME, STOP = 0x80, 0x95, 0x2E
_CALLS = frozenset(b"Rob\x81\x92")
_EXTENSIONS = {0x82: 1, 0x83: 2, 0x84: 4}
_PUTS, _GETS = {0x70: 0, 0x71: 1, 0x72: 4}, {0x67: 0, 0x68: 1, 0x6A: 4}
_MEMOIZE, _STACK_GLOBAL, _GLOBAL, _INST, _UNICODE = 0x94, 0x93, 0x63, 0x69, 0x56
_LINES = frozenset(b"ciILFSVP")
# Strings with their length before them: how many bytes it has, and their encoding, if they can be a name.
_STRINGS = {
    0x55: (1, "latin1"), 0x54: (4, "latin1"), 0x8C: (1, "utf-8"), 0x58: (4, "utf-8"), 0x8D: (8, "utf-8"),
    0x43: (1, ""), 0x42: (4, ""), 0x8E: (8, ""), 0x96: (8, ""),
}  # fmt: skip
_LONGS = {0x8A: 1, 0x8B: 4}
_SPECIAL = frozenset((PROTO, FRAME, STOP, _MEMOIZE, _STACK_GLOBAL, _GLOBAL, _INST)) | _CALLS
_SPECIAL |= _EXTENSIONS.keys() | _PUTS.keys() | _GETS.keys() | _STRINGS.keys() | _LONGS.keys()
_HIGHEST = 5


def _widths(skipped: frozenset[int] = frozenset()) -> bytes:
    widths = bytearray(256)
    for opcode in pickletools.opcodes:
        size = 0 if opcode.arg is None else opcode.arg.n
        if (ord(opcode.code) not in _SPECIAL or ord(opcode.code) in skipped) and size >= 0:
            widths[ord(opcode.code)] = 1 + size
    return bytes(widths)


_LONGEST_ARGUMENT = 9  # bytes of an opcode and its argument, without strings
_WIDTHS = _widths()  # of opcodes that are skipped with their argument; 0 for all others
_QUIET = _widths(_CALLS)  # the same, with calls skipped


class BrokenPickle(ValueError):
    """The bytes are no pickle."""


class CutPickle(BrokenPickle):
    """The bytes end before the pickle does."""


@dataclass(frozen=True, slots=True)
class PickledName:
    """An imported name: `called` if the opcode calls it too (INST), `spelled` if the opcode itself contains it."""

    module: str
    name: str
    called: bool = False
    spelled: bool = True


@dataclass(frozen=True, slots=True)
class PickledCall:
    """A call of something on the stack; `at` is the offset of its opcode."""

    at: int


@dataclass(frozen=True, slots=True)
class Extension:
    """An import by its number in copyreg's registry."""

    number: int


@dataclass(frozen=True, slots=True)
class Held:
    """A string that may hold a pickle: `size` bytes at `start`, or its `content`, if it is written with escapes.

    `text` means that it is Unicode text, UTF-8 in the file.
    """

    start: int
    size: int
    text: bool
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Marker:
    """A marker of protocol 2 or later."""


@dataclass(frozen=True, slots=True)
class End:
    """The end of a pickle; `at` is the offset behind it."""

    at: int


Event = PickledName | PickledCall | Extension | Held | Marker | End
UNKNOWN = "unknown"  # a name that is computed when the pickle is loaded


def events(file: IO[bytes], start: int = 0, stop: int | None = None, *, calls: bool = False) -> Iterator[Event]:
    """Yield what the pickles at `start`, one behind the other, name and hold, until `stop` or the file's end.

    `calls`: yield calls too, once something has been named. Raise BrokenPickle where the bytes are no pickle.
    """
    walk = _Walk(file, file.seek(0, io.SEEK_END) if stop is None else stop, calls=calls)
    at = start
    while at < walk.stop:
        at = yield from walk.one(at)


class _Walk:
    """The opcodes of a file up to `stop`. `data` are the file's bytes from `base` on."""

    def __init__(self, file: IO[bytes], stop: int, *, calls: bool) -> None:
        self.stop = stop
        self._file = file
        self._calls = calls
        self._widths = _QUIET
        self._base, self._data = 0, b""

    def _load(self, at: int, size: int = 1) -> None:
        """Make the bytes from `at` on available, at least `size`; raise CutPickle if there are fewer."""
        if at + size > self.stop:
            raise CutPickle("it is cut off")
        self._file.seek(at)
        self._base, self._data = at, self._file.read(min(max(_STEP, size), self.stop - at))
        if len(self._data) < size:
            raise CutPickle("it is cut off")

    def one(self, at: int) -> Generator[Event, None, int]:
        """Yield the events of the pickle at `at`, and return the offset behind it."""
        memo: dict[int, str | None] = {}
        before: str | None = None  # the last two values of the stack, if they are strings
        last: str | None = None
        if not self._base <= at < self._base + len(self._data):
            self._load(at)
        data, index, widths = self._data, at - self._base, self._widths
        while True:
            if index + _LONGEST_ARGUMENT >= len(data):
                if self._base + index >= self.stop:
                    raise CutPickle("it is cut off")
                if self._base + len(data) < self.stop:
                    self._load(self._base + index)
                    data, index = self._data, 0
            code = data[index]
            if width := widths[code]:
                before, last = last, None
                index += width
                end = len(data) - _LONGEST_ARGUMENT
                while index < end and (width := widths[data[index]]):
                    index += width
                continue
            index += 1
            if code == _MEMOIZE:
                memo[len(memo)] = last
            elif code in _STRINGS:
                width, encoding = _STRINGS[code]
                size = int.from_bytes(self._argument(index, width), "little")
                index += width
                inside = self._base + index
                if inside + size > self.stop:
                    raise CutPickle("it is cut off")
                short = data[index : index + size] if size <= _LONGEST_NAME else b""
                if len(short) < size <= _LONGEST_NAME:
                    self._load(inside, size)
                    data, index, short = self._data, 0, self._data[:size]
                if size >= _SHORTEST and (encoding != "utf-8" or data[index : index + 2] == _MARKED):
                    yield Held(inside, size, text=encoding == "utf-8")
                before, last = last, _decoded(short, encoding) if encoding and short else None
                index += size
            elif code in _PUTS:
                key, index = self._key(index, _PUTS[code])
                memo[key] = last
            elif code in _GETS:
                key, index = self._key(index, _GETS[code])
                before, last = last, memo.get(key)
            elif code == STOP:
                yield End(self._base + index)
                return self._base + index
            elif code == _STACK_GLOBAL:
                yield PickledName(before or UNKNOWN, last or UNKNOWN, spelled=False)
                before, last, widths = None, None, self._named()
            elif code in _EXTENSIONS:
                yield Extension(int.from_bytes(self._argument(index, _EXTENSIONS[code]), "little"))
                index += _EXTENSIONS[code]
                before, last, widths = last, None, self._named()
            elif code in _LONGS:
                index += _LONGS[code] + int.from_bytes(self._argument(index, _LONGS[code]), "little")
                before, last = last, None
            elif code == PROTO:
                if self._argument(index, 1)[0] > _HIGHEST:
                    raise BrokenPickle("its protocol is unknown")
                yield Marker()
                index += 1
            elif code == FRAME:
                index += len(self._argument(index, 8))
            elif code in _CALLS:
                yield PickledCall(self._base + index - 1)
                before, last = None, None
            elif code in _LINES:
                start = self._base + index
                line, index = self._line(index)
                if code in (_GLOBAL, _INST):
                    name, index = self._line(index)
                    yield PickledName(_decoded(line, "utf-8"), _decoded(name, "utf-8"), called=code == _INST)
                    before, last, widths = last, None, self._named()
                else:
                    value, content = _value(code, line)
                    if content:
                        yield Held(start, len(line), text=code == _UNICODE, content=content)
                    before, last = last, value
            else:
                raise BrokenPickle("it has an unknown opcode")
            data = self._data

    def _named(self) -> bytes:
        """Return the widths to go on with, now that something is named."""
        if self._calls:
            self._widths = _WIDTHS
        return self._widths

    def _argument(self, index: int, size: int) -> bytes:
        found = self._data[index : index + size]
        if len(found) < size:
            raise CutPickle("it is cut off")
        return found

    def _key(self, index: int, width: int) -> tuple[int, int]:
        if width:
            return int.from_bytes(self._argument(index, width), "little"), index + width
        line, index = self._line(index)
        return _integer(line), index

    def _line(self, index: int) -> tuple[bytes, int]:
        """Return the line at `index` of the data without its end, and the index behind it, perhaps in other data."""
        end = self._data.find(b"\n", index)
        if end < 0:
            at = self._base + index
            self._load(at, min(_LONGEST_LINE, self.stop - at))
            index, end = 0, self._data.find(b"\n")
            if end < 0:
                raise CutPickle("a line has no end")
        return self._data[index:end], end + 1


def _value(code: int, line: bytes) -> tuple[str | None, bytes]:
    """Return the value of a line, if it is a string, and the bytes of a pickle that it may hold."""
    try:
        match code:
            case 0x53:  # S
                if len(line) < 2 or line[0] not in b"'\"" or line[-1] != line[0]:
                    raise BrokenPickle("a string has no quotes")
                content = codecs.escape_decode(line[1:-1])[0]
                return content[:_LONGEST_NAME].decode("latin1"), content if len(content) >= _SHORTEST else b""
            case 0x56:  # V
                text = line.decode("raw-unicode-escape")
                return text[:_LONGEST_NAME], text.encode("latin1", "ignore") if text[:1] == "\x80" else b""
            case 0x46:  # F
                float(line)
            case 0x49 | 0x4C:  # I, L
                int(line.removesuffix(b"L") if code == 0x4C else line)
    except ValueError as error:
        raise BrokenPickle("a value is invalid") from error
    return None, b""


def _integer(line: bytes) -> int:
    try:
        return int(line)
    except ValueError as error:
        raise BrokenPickle("a number is invalid") from error


def _decoded(name: bytes, encoding: str) -> str:
    try:
        return name.decode(encoding, "surrogatepass")
    except ValueError as error:
        raise BrokenPickle("a name is invalid") from error
