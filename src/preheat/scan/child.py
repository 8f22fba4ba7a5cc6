"""Child: the process that looks into one file, says what it saw as JSON, and ends. `python -m preheat.scan.child`."""

import contextlib
import logging
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from preheat.verdict import CLEAN, DANGEROUS, SUSPICIOUS, UNSCANNED

# More than any honest pickle needs: the tensors of a checkpoint lie beside it, in the same zip or behind it.
_MOST_MEMORY = 2 << 30
_MOST_NAMES = 20
_TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt")
# What picklescan does not look into, though a loader might: it would take them for no pickle, and for harmless.
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x78\x01": "zlib",
    b"\x78\x5e": "zlib",
    b"\x78\x9c": "zlib",
    b"\x78\xda": "zlib",
}
_PICKLE_STARTS = tuple(bytes((0x80, version)) for version in range(2, 6))
_UNREAD = re.compile(r"Invalid file|could not parse .*\.(pkl|pickle|joblib|dill) as pickle")


class _Heard(logging.Handler):
    """Remember what the scanner warned of: it tells that it could not read something in no other way."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take in a warning."""
        self.words.append(record.getMessage())


def look(path: Path, suffix: str) -> dict[str, Any]:
    """Look into a file; return the fields of a report."""
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        return {"level": CLEAN}
    kind = next((kind for magic, kind in _PACKED.items() if start.startswith(magic)), "")
    if start[257:262] == b"ustar":
        kind = "tar"
    if kind:
        return _unscanned(f"it is packed as {kind}, which the scanner does not look into")
    return _ask(path, suffix, start)


def _ask(path: Path, suffix: str, start: bytes) -> dict[str, Any]:
    # Of the extra `scan`: this module is importable without it.
    from picklescan.scanner import SafetyLevel, scan_bytes  # type: ignore[import-untyped] # it has no types

    heard = _Heard()
    log = logging.getLogger("picklescan")
    log.addHandler(heard)
    log.propagate = False
    with open(path, "rb") as file:
        result = scan_bytes(file, f"the file{suffix}", suffix or None)
    dangerous = _names(one for one in result.globals if one.safety is SafetyLevel.Dangerous)
    suspicious = _names(one for one in result.globals if one.safety is SafetyLevel.Suspicious)
    if dangerous:
        return {"level": DANGEROUS, "found": dangerous}
    unread = any(_UNREAD.search(words) for words in heard.words)
    broken = start.startswith(_PICKLE_STARTS) and any("could not parse" in words for words in heard.words)
    if result.scan_err or unread or broken:
        return _unscanned("the scanner could not read all of it") | {"found": suspicious}
    return {"level": SUSPICIOUS if suspicious else CLEAN, "found": suspicious}


def _names(found: Any) -> list[str]:
    """List what is called, for a line of ours: whoever made the file chose these words."""
    names = sorted({f"{one.module}.{one.name}" for one in found})
    clear = ["".join(letter if letter.isprintable() else "?" for letter in name)[:100] for name in names]
    return clear[:_MOST_NAMES] + ([f"and {len(clear) - _MOST_NAMES} more"] if len(clear) > _MOST_NAMES else [])


def _unscanned(why: str) -> dict[str, Any]:
    return {"level": UNSCANNED, "why": why}


def main() -> None:
    """Say what is in the file that the words name."""
    # Where there is no such limit, there is none.
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        report = look(Path(sys.argv[1]), sys.argv[2])
    except Exception as error:  # noqa: BLE001 - whatever the file did to the scanner, it is not known to be harmless
        report = _unscanned(f"the scanner failed: {type(error).__name__}")
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
