"""Scan verdict: what a scanner found in a file that can run code when it is loaded."""

from dataclasses import dataclass

CLEAN, SUSPICIOUS, DANGEROUS, UNSCANNED = "clean", "suspicious", "dangerous", "unscanned"
LEVELS = (CLEAN, SUSPICIOUS, DANGEROUS, UNSCANNED)


@dataclass(frozen=True, slots=True)
class ScanVerdict:
    """How a file looked to `scanner`: its name and version.

    `clean`: it calls nothing, or what every checkpoint calls. `suspicious`: it calls names on neither of the scanner's
    lists, as many honest checkpoints do, or it holds code. `dangerous`: it calls what no checkpoint should.
    `unscanned`: the scanner could not read it. `found` names what it calls beyond the ordinary; `why` says what else it
    holds, or why it was not scanned. A scanner knows what its lists know: clean is no promise.
    """

    level: str
    scanner: str = ""
    found: tuple[str, ...] = ()
    why: str = ""

    @property
    def unsafe(self) -> bool:
        """Whether `refuse` refuses it: it is anything but clean."""
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
