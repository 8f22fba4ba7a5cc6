"""Verdict: what a scanner found in a file that can run code when it is loaded."""

from dataclasses import dataclass

CLEAN, SUSPICIOUS, DANGEROUS, UNSCANNED = "clean", "suspicious", "dangerous", "unscanned"
LEVELS = (CLEAN, SUSPICIOUS, DANGEROUS, UNSCANNED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a file looked to `scanner`: its name and version.

    `clean`: it calls nothing, or what every checkpoint calls. `suspicious`: it calls what is on neither of the
    scanner's lists, as many honest checkpoints do. `dangerous`: it calls what no checkpoint should. `unscanned`:
    nobody knows. `found` names what it calls beyond the ordinary; `why` says why it was not scanned. A scanner knows
    what its lists know: clean is no promise.
    """

    level: str
    scanner: str = ""
    found: tuple[str, ...] = ()
    why: str = ""

    @property
    def unsafe(self) -> bool:
        """Whether to keep away from it unless its author is trusted: it is dangerous, or nobody knows."""
        return self.level in (DANGEROUS, UNSCANNED)

    def __str__(self) -> str:
        match self.level:
            case "unscanned":
                return f"not scanned: {self.why}"
            case "clean":
                return "clean"
            case _:
                return f"{self.level}: it calls {', '.join(self.found)}"
