"""Pickles: list the names that a pickle imports, and look them up in picklescan's lists."""

import contextlib
import io
import logging
import pickletools
import re
from typing import IO, Any

from preheat.scan.findings import ScanFindings
from preheat.scan.kinds import is_pickle

_TEXT = frozenset(("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"))
_DEEPEST = 4
# Names from picklescan's SafetyLevel.
_DANGEROUS, _SUSPICIOUS = "Dangerous", "Suspicious"
_UNREAD = re.compile(r"Invalid file|could not parse .*\.(pkl|pickle|joblib|dill) as pickle")
_EXTENSIONS = frozenset(("EXT1", "EXT2", "EXT4"))
_DATA = frozenset(("BINBYTES", "BINBYTES8", "SHORT_BINBYTES", "BYTEARRAY8", "BINSTRING", "SHORT_BINSTRING"))


class _Warnings(logging.Handler):
    """Collect picklescan's warnings. Only the warnings report what picklescan could not read."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Store a warning."""
        self.words.append(record.getMessage())


def look_into_pickle(file: IO[bytes], suffix: str, findings: ScanFindings, *, announced: bool) -> None:
    """Add the names that a pickle calls to `findings`.

    `announced`: the file's first bytes or its name mark the file as a pickle. If it is not announced and cannot be
    parsed up to a STOP opcode, add only dangerous names. The reason is that the file may be a text: a word list that
    starts with "cat" and "foo" parses as the import of `at.foo`.
    """
    # From the extra `scan`: this module must be importable without it.
    from picklescan.scanner import scan_bytes, scan_pickle_bytes  # type: ignore[import-untyped] # it has no types

    start = file.tell()
    magic = file.read(1) == b"\x80"
    file.seek(start)
    warnings = _Warnings()
    log = logging.getLogger("picklescan")
    log.addHandler(warnings)
    log.propagate = False
    try:
        # With one of torch's suffixes, picklescan expects torch's sequence of pickles, with tensors behind it.
        result = scan_bytes(file, f"the file{suffix}", suffix or None)
        if not result.globals:
            # The file's name must not hide its content: scan it again as a plain pickle.
            file.seek(start)
            plain = scan_pickle_bytes(file, "the file")
            result = plain if plain.globals else result
    finally:
        log.removeHandler(warnings)
    file.seek(start)
    if not announced and (result.scan_err or not _parses(file)):
        findings.dangerous |= {_name(one) for one in result.globals if one.safety.name == _DANGEROUS}
        return
    _sort(result.globals, findings)
    file.seek(start)
    _look_closer(file, findings)
    unread = any(_UNREAD.search(words) for words in warnings.words)
    broken = magic and any("could not parse" in words for words in warnings.words)
    if result.scan_err or unread or broken:
        findings.unread.add("the scanner could not read the whole file")


def _sort(found: Any, findings: ScanFindings) -> None:
    for one in found:
        if one.safety.name == _DANGEROUS:
            findings.dangerous.add(_name(one))
        elif one.safety.name == _SUSPICIOUS:
            findings.suspicious.add(_name(one))


def _name(one: Any) -> str:
    return f"{one.module}.{one.name}"


def _parses(file: IO[bytes]) -> bool:
    try:
        return any(opcode.name == "STOP" for opcode, _, _ in pickletools.genops(file))
    except Exception:  # noqa: BLE001 - pickletools raises many types of errors for invalid bytes
        return False


def _look_closer(file: IO[bytes], findings: ScanFindings, depth: int = 0) -> None:
    """Add findings that picklescan does not check: registered extensions, and pickles in the strings of a pickle."""
    from picklescan.scanner import scan_pickle_bytes

    # The loop ends with pickletools' error at the end of the file, or at bytes that are no pickle.
    with contextlib.suppress(Exception):  # picklescan has already reported the unreadable part
        while True:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name in _EXTENSIONS:
                    findings.suspicious.add(f"copyreg extension {argument}")
                elif (inner := _pickle_in(opcode.name, argument)) and depth < _DEEPEST:
                    inside = scan_pickle_bytes(io.BytesIO(inner), "a string of the file")
                    findings.suspicious |= {f"{one.module}.{one.name} (in a string)" for one in inside.globals}
                    _look_closer(io.BytesIO(inner), findings, depth + 1)


def _pickle_in(opcode: str, argument: object) -> bytes:
    """Return the pickle that an opcode's string contains; empty if there is none."""
    if opcode in _DATA:
        inner = bytes(argument) if isinstance(argument, bytes | bytearray) else str(argument).encode("latin1", "ignore")
        return inner if len(inner) > 10 and is_pickle(inner[:4096]) else b""
    # Text is a pickle only if it has the marker of protocol 2 or later.
    marked = opcode in _TEXT and isinstance(argument, str) and argument[:1] == "\x80"
    inner = str(argument).encode("latin1", "ignore") if marked else b""
    return inner if is_pickle(inner[:4096]) else b""
