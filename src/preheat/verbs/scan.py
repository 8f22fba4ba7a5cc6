"""Scan: check files that can run code when they are loaded, once for each blob and scanner."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from preheat.core.errors import CheckFailed, LibraryError
from preheat.core.events import Listener, Scanned
from preheat.core.scan_verdict import DANGEROUS, SUSPICIOUS, UNSCANNED, ScanVerdict
from preheat.core.snapshot import File
from preheat.library.blobs.disk_errors import disk
from preheat.library.library import Library
from preheat.library.records.scan_results import Verdicts
from preheat.scan.scan_file import PATIENCE_S, look_at_text, may_run_code, scan, scanner

_LATE = ScanVerdict(UNSCANNED, why="the scan of the files before it took more than 15 minutes")
REFUSE, WARN, ALLOW = "refuse", "warn", "allow"
_MOST_NAMED = 3
_MOST_S = 900.0  # for all files together


def scan_and_report(files: Iterable[File], library: Library, unsafe: str, on_event: Listener) -> None:
    """Report files that can run code when they are loaded; `unsafe` is REFUSE, WARN or ALLOW (no scan).

    With REFUSE, raise CheckFailed for the first unsafe file. With WARN, emit one event for each dangerous file, one for
    all suspicious files, and one for all files that could not be scanned.
    """
    if unsafe == ALLOW:
        return
    others: dict[str, list[tuple[str, ScanVerdict]]] = {SUSPICIOUS: [], UNSCANNED: []}
    for file, verdict in scan_files(files, library):
        if unsafe == REFUSE and verdict.unsafe:
            on_event(Scanned(file.path, verdict.level, str(verdict)))
            raise CheckFailed(f"{file.path} is refused: {verdict}", hint="--unsafe-files warn, if you trust its author")
        if verdict.level == DANGEROUS:
            on_event(Scanned(file.path, verdict.level, str(verdict)))
        elif verdict.level in others:
            others[verdict.level].append((file.path, verdict))
    for level, found in others.items():
        if found:
            on_event(Scanned(_names([path for path, _ in found]), level, str(found[0][1])))


def scan_files(files: Iterable[File], library: Library) -> Iterator[tuple[File, ScanVerdict]]:
    """Yield a verdict for each of `files` that is in the library and can run code; cache verdicts by digest.

    A blob is scanned once for each scanner version. Without a scanner, verdicts are not cached, so that they do not
    replace earlier ones. After 15 minutes for all files together, the remaining ones are not scanned.
    """
    verdicts, until = Verdicts(library.root), time.monotonic() + _MOST_S
    for file in files:
        if not library.has(file.digest):
            continue
        path = library.location(file.digest)
        looked = _look(file, path, library)
        if looked is None:
            continue
        text, runs_code = looked
        if text is not None:
            yield file, text
        if not runs_code:
            continue
        verdict, by = verdicts.find(file.digest), scanner(file.path)
        if verdict is None or (by and verdict.scanner != by):
            left_s = until - time.monotonic()
            verdict = scan(Path(path), file.path, min(left_s, PATIENCE_S)) if left_s > 0 else _LATE
            # Only what another scan would find again; "not scanned" may be due to the memory or time that was left.
            if verdict.scanner and (verdict.level != UNSCANNED or left_s >= PATIENCE_S):
                verdicts.keep(file.digest, verdict)
        if text is None or verdict.level != SUSPICIOUS:  # a script is suspicious by its name already
            yield file, verdict


def _look(file: File, path: str, library: Library) -> tuple[ScanVerdict | None, bool] | None:
    """Return the verdict on a file's text, and whether it may run code; None if it is no longer in the library."""
    while True:
        try:
            with disk(path):
                return look_at_text(path, file.path, file.size), may_run_code(path, file.path)
        except LibraryError:
            if Path(path).exists():
                raise
            if not library.holds(file.digest):
                return None


def _names(paths: list[str]) -> str:
    """Format a list of paths: the first three, and the number of the others."""
    named, rest = ", ".join(paths[:_MOST_NAMED]), len(paths) - _MOST_NAMED
    return f"{named} and {rest} more" if rest > 0 else named
