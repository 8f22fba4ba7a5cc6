"""Scan: look into the files that can run code when they are loaded, once for each blob and scanner."""

from collections.abc import Iterable, Iterator

from preheat.library.library import Library
from preheat.library.verdicts import Verdicts
from preheat.scan.scan import may_run_code, scan, scanner
from preheat.snapshot import File
from preheat.verdict import Verdict


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
