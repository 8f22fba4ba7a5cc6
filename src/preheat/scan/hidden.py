"""Hidden pickles: find calls of dangerous functions at any offset of a file, in linear time.

Some programs read a pickle behind other data. In protocols 0 to 3 an import is spelled out in its opcode; protocol 2
and later start with a marker. What is not found: imports by strings alone, without a marker, names that are
computed, and packed or encrypted data.
"""

import io
import re
from typing import IO

from preheat.scan.opcodes import UNKNOWN, BrokenPickle, CutPickle, End, PickledCall, PickledName, events

_STEP = 8 << 20
_LONGEST = 256  # bytes of an import's opcode, and before it
_LONGEST_MODULE = 120
_WALKED = 4096  # bytes of a pickle that are read from its start
_MOST_EVENTS = 1_000_000
_FEW_EVENTS, _FEW_LINES = 20_000, 500_000  # about 1 s each
_NOISE = 4096  # bytes of noise for each look that is free; noise needs fewer
# The packages that picklescan's lists call dangerous; tests/scan/test_hidden.py compares.
_ROOTS = (
    b"__builtin__|_aix_support|_io|_operator|_osx_support|_pickle|_pyrepl|aiohttp|asyncio|bdb|builtins|cProfile|"
    b"cloudpickle|code|commands|ctypes|distutils|doctest|ensurepip|functools|httplib|idlelib|imaplib|lib2to3|logging|"
    b"nt|numpy|operator|os|pdb|pickle|pip|pkgutil|posix|profile|pty|pydoc|requests|runpy|shutil|socket|ssl|subprocess|"
    b"sys|test|timeit|torch|trace|types|urllib|uuid|venv|webbrowser"
)
# The second line of an import and the end of the first: quicker to find than an import, which starts with any letter.
_NAMES = re.compile(rb"\n[A-Za-z_][\w.]{0,99}(?=\n)")
_MODULE = re.compile(rb"[ci](?:" + _ROOTS + rb")(?:\.[\w.]{0,99})?\Z")
_ENDS = tuple(code + root for root in _ROOTS.split(b"|") for code in (b"c", b"i"))
_TAILS = frozenset(root[-2:] for root in _ROOTS.split(b"|"))  # to pass over the lines of a text quickly
_GLOBAL, _MARK = ord("c"), re.compile(rb"\(")
# A mark or a tuple, or one from the memo; not an argument that is a letter.
_ARGUMENTS = re.compile(rb"[()\x85-\x87]|\ng\d+\n|h[\0-\x1f]\Z|j...\0\Z", re.DOTALL)
_PROTOCOLS = re.compile(rb"\x80[\x02-\x05]")


class _TooMany(Exception):
    pass


class _ImportSearch:
    """The search of one file for the names that its pickles import and call."""

    def __init__(self, file: IO[bytes], stop: int, most_events: int) -> None:
        self._file, self._stop = file, stop
        self._events, self._most_events = 0, most_events
        self._looks_left = most_events + stop // _NOISE
        self.names: set[tuple[str, str]] = set()

    def look(self, at: int, *, word: bool = False, instance_of: str = "") -> None:
        """Add the names that a pickle at `at` imports, if it calls anything, or makes an instance of a module's class.

        A `word` may belong to a text, whose letters are opcodes by chance: then a call counts only with arguments.
        """
        names: set[tuple[str, str]] = set()
        called = False
        self._events -= 1  # the first one is free: noise has that many
        self._looks_left -= 1
        if self._looks_left < 0:
            raise _TooMany
        walked = 2 * _LONGEST if instance_of else _WALKED  # its import is at most `_LONGEST` bytes behind its mark
        try:
            for event in events(self._file, at, min(at + walked, self._stop), calls=True):
                self._events += 1
                if self._events > self._most_events:
                    raise _TooMany
                match event:
                    case PickledName(module, name, instance):
                        if instance_of and not (instance and module == instance_of):
                            break  # a mark nearer to the instance has its arguments
                        names.add((module, name))
                        called |= instance and not word
                    case PickledCall(behind):
                        called |= not word or self._has_arguments(at, behind)
                    case End():
                        break
        except CutPickle:
            called |= at + walked < self._stop  # its calls may be behind what was read
        except BrokenPickle:
            pass
        if called:
            self.names |= {one for one in names if UNKNOWN not in one}  # noise has such names

    def _has_arguments(self, start: int, stop: int) -> bool:
        start = max(start - 1, 0)  # with the mark of OBJ
        self._file.seek(start)
        return bool(_ARGUMENTS.search(self._file.read(stop - start)))


def hidden_names(
    file: IO[bytes], start: int = 0, stop: int | None = None, *, quickly: bool = False
) -> set[tuple[str, str]] | None:
    """Return the names that pickles anywhere between `start` and `stop` import and call; None if there are too many.

    The names may be harmless, and some bytes look like an import by chance: compare them with picklescan's lists.
    With `quickly`, return None for all that takes more than about 2 s of CPU time.
    """
    at, end = start, file.seek(0, io.SEEK_END) if stop is None else stop
    search = _ImportSearch(file, end, _FEW_EVENTS if quickly else _MOST_EVENTS)
    lines_left = _FEW_LINES if quickly else end
    before = b""
    try:
        while at < end:
            file.seek(at)
            step = file.read(min(_STEP, end - at))
            if not step:
                break
            data, base = before + step, at - len(before)
            for match in _NAMES.finditer(data):
                lines_left -= 1
                if lines_left < 0:
                    return None
                line = match.start()
                if (
                    data[max(line - 2, 0) : line] in _TAILS
                    or data.find(b".", max(line - _LONGEST_MODULE, 0), line) >= 0
                ):
                    _look_at_name(search, data, base, line)
            for match in _PROTOCOLS.finditer(data):
                search.look(base + match.start())
            at, before = at + len(step), data[-_LONGEST:]
    except _TooMany:
        return None
    return search.names


def _look_at_name(search: _ImportSearch, data: bytes, base: int, line: int) -> None:
    """Look at all imports whose first line ends at `line`: any `c` or `i` in its last word may be the opcode."""
    start = max(line - _LONGEST_MODULE, 0)
    start = max(data.rfind(b"\n", start, line) + 1, start)
    word = data[start:line]
    if not word.endswith(_ENDS) and b"." not in word:
        return
    while found := _MODULE.search(data, start, line):
        at = found.start()
        if data[at] == _GLOBAL:
            search.look(base + at, word=True)
        else:
            # INST calls with what is on the stack above a mark.
            for mark in _MARK.finditer(data, max(at - _LONGEST, 0), at - 1):
                search.look(base + mark.start(), instance_of=found[0][1:].decode())
        start = at + 1
