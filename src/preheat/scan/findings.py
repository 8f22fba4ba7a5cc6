"""Findings: collect what the scan of a file finds, and make the report."""

from dataclasses import dataclass, field
from typing import Any

from preheat.core.scan_verdict import CLEAN, DANGEROUS, SUSPICIOUS, UNSCANNED

_MOST_NAMES = 20


@dataclass(slots=True)
class ScanFindings:
    """What the scan of a file found.

    `dangerous` and `suspicious` are the names of functions and classes that the file imports or calls. `holds`
    describes other code in the file. `unread` describes the parts that could not be scanned, and why.
    """

    dangerous: set[str] = field(default_factory=set)
    suspicious: set[str] = field(default_factory=set)
    holds: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)

    @property
    def report(self) -> dict[str, Any]:
        """The fields of the report. Its level is the worst of: dangerous, unscanned, suspicious, clean."""
        if self.dangerous:
            return {"level": DANGEROUS, "found": _listed(self.dangerous)}
        if self.unread:
            return {"level": UNSCANNED, "why": "; ".join(_listed(self.unread, 3)), "found": _listed(self.suspicious)}
        if self.suspicious or self.holds:
            why = f"it contains {', '.join(_listed(self.holds, 3))}" if self.holds else ""
            return {"level": SUSPICIOUS, "found": _listed(self.suspicious), "why": why}
        return {"level": CLEAN}


def _listed(words: set[str], most: int = _MOST_NAMES) -> list[str]:
    """Return the words sorted, printable and shortened, since the author of the scanned file may have chosen them."""
    clear = sorted("".join(letter if letter.isprintable() else "?" for letter in word)[:100] for word in words)
    return clear[:most] + ([f"and {len(clear) - most} more"] if len(clear) > most else [])
