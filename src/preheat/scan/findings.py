"""Findings: collect what the scan of a file finds, and make the report."""

from dataclasses import dataclass, field
from typing import Any

from preheat.core.scan_verdict import CLEAN, DANGEROUS, SUSPICIOUS, UNSCANNED

_MOST_NAMES = 20


@dataclass(slots=True)
class ScanFindings:
    """Names that a file calls, by level; `holds` describes other code, `unread` the parts that cannot be scanned."""

    dangerous: set[str] = field(default_factory=set)
    suspicious: set[str] = field(default_factory=set)
    holds: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)

    @property
    def report(self) -> dict[str, Any]:
        """The fields of the report: the worst level counts; unreadable is worse than suspicious."""
        if self.dangerous:
            return {"level": DANGEROUS, "found": _listed(self.dangerous)}
        if self.unread:
            return {"level": UNSCANNED, "why": "; ".join(_listed(self.unread, 3)), "found": _listed(self.suspicious)}
        if self.suspicious or self.holds:
            why = f"it contains {', '.join(_listed(self.holds, 3))}" if self.holds else ""
            return {"level": SUSPICIOUS, "found": _listed(self.suspicious), "why": why}
        return {"level": CLEAN}


def _listed(words: set[str], most: int = _MOST_NAMES) -> list[str]:
    """Return printable, shortened names for one line: the file's author chose them."""
    clear = sorted("".join(letter if letter.isprintable() else "?" for letter in word)[:100] for word in words)
    return clear[:most] + ([f"and {len(clear) - most} more"] if len(clear) > most else [])
