"""Quoted paths: write paths of any bytes in the library's text files, percent-encoded, and read them again."""

import os
from urllib.parse import quote, unquote_to_bytes


def quoted(path: str | bytes | os.PathLike[str]) -> str:
    """Return a path as text that is valid in JSON; spaces stay."""
    return quote(os.fsencode(path), safe="/ ")


def unquoted(text: str) -> str:
    """Return the path that was percent-encoded."""
    return os.fsdecode(unquote_to_bytes(text))
