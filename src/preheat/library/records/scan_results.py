"""Scan results: the findings of scanners, stored by blob digest."""

from pathlib import Path

import msgspec

from preheat.core.digest import Digest
from preheat.core.scan_verdict import LEVELS, ScanVerdict
from preheat.disk.temporary_file import write_whole
from preheat.library.blobs.disk_errors import disk_trouble
from preheat.library.small_files import read_small


class _Form(msgspec.Struct, frozen=True, omit_defaults=True):
    level: str
    scanner: str = ""
    found: list[str] = []
    why: str = ""


class Verdicts:
    """Scan verdicts, one small JSON file per blob: `verdicts/ALGORITHM/FF/HEX.json` in the library.

    A verdict outlives its blob, because it stays valid if the same bytes are downloaded again.
    """

    def __init__(self, library: Path) -> None:
        self._root = library / "verdicts"

    def find(self, digest: Digest) -> ScanVerdict | None:
        """Return the verdict on a blob; None if it was not scanned, or its file is invalid."""
        try:
            form = msgspec.json.decode(read_small(self._path(digest)), type=_Form)
        except (OSError, msgspec.DecodeError, ValueError, RecursionError):
            return None
        return ScanVerdict(form.level, form.scanner, tuple(form.found), form.why) if form.level in LEVELS else None

    def keep(self, digest: Digest, verdict: ScanVerdict) -> None:
        """Store a verdict; it replaces an earlier one."""
        form = _Form(verdict.level, verdict.scanner, list(verdict.found), verdict.why)
        try:
            write_whole(self._path(digest), msgspec.json.encode(form) + b"\n")
        except OSError as error:
            raise disk_trouble(error, self._root.parent) from error

    def _path(self, digest: Digest) -> Path:
        return self._root / digest.algorithm / digest.hex[:2] / f"{digest.hex}.json"
