"""Pickles: list the names that a pickle imports, and look them up in picklescan's lists."""

import io
import logging
import re
from collections.abc import Iterable
from typing import IO

from preheat.scan.findings import ScanFindings
from preheat.scan.opcodes import BrokenPickle, CutPickle, End, Extension, Held, Marker, PickledCall, PickledName, events

_DEEPEST = 4
_LONGEST_TEXT = 64 << 20
# Loaders of these suffixes read one pickle and nothing behind it; the others have tensors there.
_WHOLE = frozenset((".pkl", ".pickle", ".joblib", ".dill"))
# The first pickle of torch's format before version 1.6: torch/serialization.py, MAGIC_NUMBER.
_TORCH = re.compile(rb"\x80[\x02-\x05](?:\x95.{8})?\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)
# Names from picklescan's SafetyLevel.
_DANGEROUS, _SUSPICIOUS = "Dangerous", "Suspicious"
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.]*")


def is_pickle(file: IO[bytes], start: int = 0, stop: int | None = None, most: int | None = None) -> bool:
    """Return whether bytes start like a pickle: with a protocol marker, or opcodes that import and call something.

    Protocols 0 and 1 have no magic bytes, so the opcodes are read until they are invalid. The first letters of a text
    may happen to be opcodes. So an import counts only if it names a module and a name. Opcodes that are still valid
    after `most` bytes count as a pickle.
    """
    size = file.seek(0, io.SEEK_END)
    stop = size if stop is None else stop
    limit = stop if most is None else min(start + most, stop)
    file.seek(start)
    head = file.read(2) if start + 2 <= stop else b""
    if len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5:
        return True
    named = False
    try:
        for event in events(file, start, limit, calls=True):
            match event:
                case Marker():
                    return True
                case PickledName(module, name, _, True) if not (_is_identifier(module) and _is_identifier(name)):
                    return False
                case PickledName(_, _, True):
                    return True
                case PickledCall():
                    return True
                case End() if named:
                    return True
                case PickledName() | Extension():
                    named = True
    except CutPickle:
        return limit < stop
    except BrokenPickle:
        return False
    return named or limit < stop


def look_into_pickle(file: IO[bytes], suffix: str, findings: ScanFindings, *, announced: bool) -> int:
    """Add the names that a pickle imports to `findings`; return the offset behind the last whole pickle.

    `announced`: the file's first bytes or its name mark the file as a pickle. If it is not announced and cannot be
    parsed up to a STOP opcode, add only dangerous names. The reason is that the file may be a text: a word list that
    starts with "cat" and "foo" parses as the import of `at.foo`.
    """
    start = file.tell()
    head = file.read(64)
    closer = ScanFindings()
    names, end, broken = _names(file, start, None, closer, 0)
    dangerous, suspicious = judged(names)
    findings.dangerous |= dangerous
    if not announced and not end:
        return end
    findings.suspicious |= suspicious | closer.suspicious
    findings.unread |= closer.unread
    of_torch = end and _TORCH.match(head)
    if broken and not of_torch and (names or head[:1] == b"\x80" or suffix in _WHOLE):
        findings.unread.add("the scanner could not read the whole file")
    return end


def judged(names: Iterable[tuple[str, str]]) -> tuple[set[str], set[str]]:
    """Return which names picklescan's lists call dangerous, and which they do not know."""
    # From the extra `scan`: this module must be importable without it.
    from picklescan.scanner import scan_pickle_bytes  # type: ignore[import-untyped] # it has no types

    logging.getLogger("picklescan").setLevel(logging.CRITICAL)
    imports = b"".join(_text(module) + _text(name) + b"\x93" for module, name in sorted(names))
    found = scan_pickle_bytes(io.BytesIO(b"\x80\x04" + imports + b"."), "the file").globals
    said: dict[str, set[str]] = {_DANGEROUS: set(), _SUSPICIOUS: set()}
    for one in found:
        said.setdefault(one.safety.name, set()).add(f"{one.module}.{one.name}")
    return said[_DANGEROUS], said[_SUSPICIOUS]


def _names(
    file: IO[bytes], start: int, stop: int | None, findings: ScanFindings, depth: int
) -> tuple[set[tuple[str, str]], int, bool]:
    """Return the imported names, the offset behind the last whole pickle (0 if none is), and whether bytes follow it.

    Add to `findings` what picklescan does not check: registered extensions, and pickles in the strings of a pickle.
    """
    names: set[tuple[str, str]] = set()
    end = 0
    try:
        for event in events(file, start, stop):
            match event:
                case PickledName(module, name):
                    names.add((module, name))
                case Extension(number):
                    findings.suspicious.add(f"copyreg extension {number}")
                case Held() if depth < _DEEPEST:
                    _look_into_string(file, event, findings, depth + 1)
                case End(at):
                    end = at
    except BrokenPickle:
        return names, end, True
    return names, end, False


def _look_into_string(file: IO[bytes], string: Held, findings: ScanFindings, depth: int) -> None:
    start, stop = string.start, string.start + string.size
    if string.content is not None:
        file, start, stop = io.BytesIO(string.content), 0, len(string.content)
    elif string.text:
        if string.size > _LONGEST_TEXT:
            findings.unread.add(f"a text in it is longer than {_LONGEST_TEXT >> 20} MiB")
            return
        file.seek(start)
        content = file.read(string.size).decode("utf-8", "ignore").encode("latin1", "ignore")
        file, start, stop = io.BytesIO(content), 0, len(content)
    if is_pickle(file, start, stop):
        names, _, _ = _names(file, start, stop, findings, depth)
        findings.suspicious |= {f"{module}.{name} (in a string)" for module, name in names}


def _is_identifier(name: str) -> bool:
    return bool(_IDENTIFIER.fullmatch(name))


def _text(name: str) -> bytes:
    encoded = name.encode("utf-8", "replace")
    return b"X" + len(encoded).to_bytes(4, "little") + encoded
