"""Scan: look into the files that can run code when they are loaded, once for each blob and scanner."""

from collections.abc import Iterable, Iterator

from preheat.errors import CheckFailed
from preheat.events import Listener, Scanned
from preheat.library.library import Library
from preheat.library.verdicts import Verdicts
from preheat.scan.scan import may_run_code, scan, scanner
from preheat.snapshot import File
from preheat.verdict import DANGEROUS, UNSCANNED, Verdict

REFUSE, WARN, ALLOW = "refuse", "warn", "allow"


def look_into(files: Iterable[File], library: Library, unsafe: str, on_event: Listener) -> None:
    """Tell what the scanner says of `files`; with `refuse`, raise CheckFailed for one that is not to be trusted."""
    if unsafe == ALLOW:
        return
    unscanned = []
    for file, verdict in scan_files(files, library):
        if verdict.level == UNSCANNED:
            unscanned.append(verdict)
        elif verdict.level == DANGEROUS or unsafe == REFUSE:
            on_event(Scanned(file.path, verdict.level, str(verdict)))
        if unsafe == REFUSE and verdict.unsafe:
            raise CheckFailed(f"{file.path} is refused: {verdict}", hint="--unsafe-files warn, if you trust its author")
    if unscanned:
        what = f"{len(unscanned)} file{'s' if len(unscanned) > 1 else ''} that can run code when loaded"
        on_event(Scanned(what, UNSCANNED, str(unscanned[0])))


def scan_files(files: Iterable[File], library: Library) -> Iterator[tuple[File, Verdict]]:
    """Give the verdict on each of `files` that is in the library and could run code; keep it there.

    A file that the present scanner has looked into before is not looked into again. Without a scanner nothing is kept,
    since a verdict of before says more than none.
    """
    verdicts, by = Verdicts(library.root), scanner()
    for file in files:
        if not library.has(file.digest) or not may_run_code(library.path(file.digest), file.path):
            continue
        verdict = verdicts.find(file.digest)
        if verdict is None or (by and verdict.scanner != by):
            verdict = scan(library.path(file.digest), file.path)
            if by:
                verdicts.keep(file.digest, verdict)
        yield file, verdict
