"""Scan verdict: a scanner's findings for a file that can run code when it is loaded."""

from dataclasses import dataclass

CLEAN, SUSPICIOUS, DANGEROUS, UNSCANNED = "clean", "suspicious", "dangerous", "unscanned"
LEVELS = (CLEAN, SUSPICIOUS, DANGEROUS, UNSCANNED)


@dataclass(frozen=True, slots=True)
class ScanVerdict:
    """The verdict of `scanner` (name and version) on a file.

    Levels: `clean`: the file calls nothing, or only functions that every checkpoint calls. `suspicious`: it calls
    functions on neither of the scanner's lists, as many honest checkpoints do, or it contains code. `dangerous`: it
    calls functions that no checkpoint should call. `unscanned`: the scanner could not read it. `found`: unusual
    functions that it calls. `why`: other findings, or why it was not scanned. A scanner is only as good as its lists:
    `clean` is no guarantee.
    """

    level: str
    scanner: str = ""
    found: tuple[str, ...] = ()
    why: str = ""

    @property
    def unsafe(self) -> bool:
        """Whether it is not clean, so that the scan policy `refuse` rejects it."""
        return self.level != CLEAN

    def __str__(self) -> str:
        match self.level:
            case "unscanned":
                return f"not scanned: {self.why}"
            case "clean":
                return "clean"
            case _:
                calls = (f"it calls {', '.join(self.found)}",) if self.found else ()
                return f"{self.level}: {'; '.join((*calls, *((self.why,) if self.why else ())))}"
