"""Report file: check that a report can be written before the work begins, and write it at the end."""

import os
from pathlib import Path

from preheat.core.errors import PreheatError, UsageError
from preheat.disk.temporary_file import put, tidy


def writable_report(words: str, example: str) -> Path:
    """Return the absolute path of a report; raise UsageError if it cannot be written. `example`: what to type."""
    path = Path(words).absolute()
    if path.is_dir() or not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise UsageError(f"{path} cannot be written", hint=f"--report {example}")
    return path


def write_report(path: Path, text: str, hint: str = "--report FILE, in another folder") -> None:
    """Write a report atomically. Raise PreheatError, with the `hint`."""
    try:
        tidy(path)
        put(path, lambda aside: aside.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise PreheatError(f"{path} cannot be written: {error.strerror}", hint=hint) from error
