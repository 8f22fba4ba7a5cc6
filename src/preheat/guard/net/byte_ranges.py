"""Byte ranges: parse the headers of a request for part of a file, or for a file that has changed; pure."""

from __future__ import annotations

import re


def read_range(header: str, size: int) -> tuple[int, int] | None:
    """Parse a Range header (RFC 9110 section 14.1.2) for a file of `size` bytes.

    Return an empty range if it cannot be satisfied, None if it is invalid or has several ranges.
    """
    match = re.fullmatch(r"\s*bytes\s*=\s*([0-9]{0,18})-([0-9]{0,18})\s*", header, re.IGNORECASE)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


def matches_etag(condition: str, etag: str) -> bool:
    """Return whether an If-None-Match header matches the file (RFC 9110 section 13.1.2)."""
    tags = [tag.strip() for tag in condition.split(",")]
    return "*" in tags or etag in [tag[2:] if tag.startswith("W/") else tag for tag in tags]
